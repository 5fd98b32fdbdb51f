"""Reads a file of environment variables, as VS Code's `envFile` names one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.documents.files import read_text
from orchestrator.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?([^\s=#]+)\s*=\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file with a `NAME=VALUE` a line; other lines are ignored.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or its name is no path.
    """
    made = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if match := _LINE.fullmatch(line.strip()):
            made[match[1]] = _value(match[2])
    return made


def variables_of(files: Iterable[Path]) -> dict[str, str]:
    """The variables of some files, of two with the same name the last.

    Raises:
        ConfigError: One cannot be read.
    """
    found: dict[str, str] = {}
    for path in files:
        read_text(path, ConfigError)  # or an error that says why not
        found |= read_env_file(path)
    return found


def _value(text: str) -> str:
    if quoted := _QUOTED.match(text):
        plain, escaped = quoted.groups()
        return plain or _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), escaped or "")
    return _COMMENT.sub("", text).strip()
