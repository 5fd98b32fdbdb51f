"""Packages that a command such as npx or uvx fetches and runs, and whether their version is fixed.

Without a version each start runs the latest release, which anybody who can publish may change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

_SUFFIX = re.compile(r"\.(?:exe|cmd|bat|ps1)$", re.IGNORECASE)
# The words that run a package of npm or of PyPI.
_OF_NPM = (
    ("npx",),
    ("bunx",),
    ("pnpx",),
    ("npm", "exec"),
    ("npm", "x"),
    ("pnpm", "dlx"),
    ("yarn", "dlx"),
    ("bun", "x"),
)
_OF_PYPI = (("uvx",), ("uv", "tool", "run"), ("pipx", "run"))
_NAMES_A_PACKAGE = frozenset({"-p", "--package", "--from", "--spec"})
# Options whose value is a word of its own.
_FROM_NPM = {"-c", "--call", "-w", "--workspace", "--registry", "--prefix", "--cache"}
_FROM_PYPI = {"--with", "--python", "--index", "--index-url", "--extra-index-url", "-f"}
_FROM_PYPI |= {"--default-index", "--find-links", "--with-requirements", "--directory"}
_FROM_PYPI |= {"--project", "--cache-dir", "--env-file", "--constraints", "--overrides"}
_WITH_VALUE = _FROM_NPM | _FROM_PYPI | {"--userconfig", "--pip-args"}
_EXACT = re.compile(r"[v=]?\d+(?:\.\d+)+(?:[-+.]?[A-Za-z0-9][\w.+-]*)?")
_COMMIT = re.compile(r"[#@][0-9a-f]{7,40}(?:#.*|&.*)?$")
_PATH = re.compile(r"(?:[.~]?/|\.\.?(?:[/\\]|$)|[A-Za-z]:[/\\]|file:)")
_NPM = re.compile(r"(@?[^@]+)(?:@(.+))?")
_PYPI = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?)\s*(?:(===?|@)\s*(.+))?")


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is fetched and run.

    Attributes:
        spec: As the command has it.
        is_pinned: Whether every start runs the same version of it.
        pinned: How a version of it is written.
    """

    spec: str
    is_pinned: bool
    pinned: str


def package_of(command: str | None, args: Sequence[str]) -> Package | None:
    """The package that a command fetches and runs; None if that is none, or one on this machine."""
    if command is None:
        return None
    words = [_SUFFIX.sub("", PurePath(command.replace("\\", "/")).name).lower(), *args]
    if words[:1] == ["cmd"]:  # on Windows, npx is a script
        words = [word for word in words[1:] if word.lower() not in ("/c", "/s", "/d")]
    for runners, package in ((_OF_NPM, _of_npm), (_OF_PYPI, _of_pypi)):
        for runner in runners:
            if tuple(words[: len(runner)]) == runner:
                is_uv = runner[0] in ("uvx", "uv")
                spec = _spec(words[len(runner) :], {"-p"} if is_uv else set())
                return package(spec) if spec and not _PATH.match(spec) else None
    return None


def _spec(words: Sequence[str], with_value: set[str]) -> str:
    """What is named as a package: by an option, or else the first word that is none."""
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            return word
        if option in _NAMES_A_PACKAGE - with_value:
            return value if equals else "".join(left[:1])
        if option in _WITH_VALUE | with_value and not equals:
            left[:1] = []
    return ""


def _of_npm(spec: str) -> Package:
    if ":" in spec or spec.count("/") > spec.startswith("@"):  # a URL or a repository
        return Package(spec, bool(_COMMIT.search(spec)) or spec.endswith(".tgz"), f"{spec}#COMMIT")
    found = _NPM.fullmatch(spec)
    name, version = found.groups() if found else (spec, None)
    return Package(spec, bool(version and _EXACT.fullmatch(version)), f"{name}@1.2.3")


def _of_pypi(spec: str) -> Package:
    if "://" in spec:
        is_file = spec.partition("#")[0].endswith((".whl", ".tar.gz", ".zip"))
        return Package(spec, is_file or bool(_COMMIT.search(spec)), f"{spec}@COMMIT")
    found = _PYPI.fullmatch(spec)
    name, _, version = found.groups() if found else (re.split(r"[<>=!~ @]", spec)[0], "", None)
    return Package(spec, bool(version and _EXACT.fullmatch(version)), f"{name}==1.2.3")
