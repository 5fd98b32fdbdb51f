"""Reads a file of environment variables, as VS Code's `envFile` names one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.documents.files import read_text
from orchestrator.errors import ConfigError, Problem

_LINE = re.compile(r"(?:export\s+)?([^\s=#]+)\s*=\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_OPEN = re.compile(rf"(?!{_QUOTED.pattern})['\"]", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file with a `NAME=VALUE` a line; other lines are ignored.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or its name is no path.
    """
    return _parse(path.read_text(encoding="utf-8-sig"))[0]


def variables_of(files: Iterable[Path]) -> dict[str, str]:
    """The variables of some files, of two with the same name the last.

    Raises:
        ConfigError: One cannot be read, or has a line that is no variable.
    """
    found: dict[str, str] = {}
    for path in files:
        variables, wrong = _parse(read_text(path, ConfigError))
        if wrong:
            # In the message, as the line itself is not shown: it may be a secret.
            expected = "expected NAME=VALUE, # COMMENT or an empty line"
            hint = "a value of several lines is written with \\n in double quotes"
            messages = (f"line {number}: {expected}" for number in wrong)
            problems = [Problem("malformed_document", each, hint=hint) for each in messages]
            raise ConfigError(str(path), problems)
        found |= variables
    return found


def _parse(text: str) -> tuple[dict[str, str], list[int]]:
    """The variables in a text, and the numbers of the lines that are none."""
    made: dict[str, str] = {}
    wrong: list[int] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if match := _LINE.fullmatch(line):
            made[match[1]] = _value(match[2])
        if line and not line.startswith("#") and (match is None or _OPEN.match(match[2])):
            wrong.append(number)
    return made, wrong


def _value(text: str) -> str:
    if quoted := _QUOTED.match(text):
        plain, escaped = quoted.groups()
        return plain or _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), escaped or "")
    return _COMMENT.sub("", text).strip()
