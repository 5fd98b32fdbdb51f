"""Packages that a command such as npx, uvx or docker fetches and runs, and whether their version
is fixed.

Without a version each start runs the latest release, which anybody who can publish may change.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

_SUFFIX = re.compile(r"\.(?:exe|cmd|bat|ps1)$", re.IGNORECASE)
MAX_DEPTH = 8  # of commands inside of commands
_SHELLS = ("sh", "bash", "zsh", "dash", "ash", "ksh", "fish")
_SCRIPT = re.compile(r"-[a-z]*c")
_BETWEEN = frozenset({"&&", "||", ";", "|", "&", "(", ")"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_BEFORE = ("exec", "nohup", "command", "sudo")  # what comes before a command, and is none
_PYTHON = re.compile(r"py|python[\d.]*")
_NAMES_A_PACKAGE = frozenset({"-p", "--package", "--from", "--spec"})
_ADDS_A_PACKAGE = frozenset({"--with"})
# Options whose value is a word of its own.
_FROM_NPM = {
    "-c",
    "--call",
    "-w",
    "--workspace",
    "--registry",
    "--prefix",
    "--cache",
    "-C",
    "--dir",
}
_FROM_PYPI = {"--python", "--index", "--index-url", "--extra-index-url", "-f", "--with-editable"}
_FROM_PYPI |= {"--default-index", "--find-links", "--with-requirements", "--directory", "--group"}
_FROM_PYPI |= {"--project", "--cache-dir", "--env-file", "--constraints", "--overrides", "--extra"}
_FROM_DENO = {"--config", "--import-map", "--lock", "--cert", "--location", "--seed"}
_FROM_DOCKER = {"--context", "--host", "-H", "--log-level", "--connection"}  # before `run`
_WITH_VALUE = _FROM_NPM | _FROM_PYPI | _FROM_DENO | _FROM_DOCKER | {"--userconfig", "--pip-args"}
# Of docker, most options have a value; these have none.
_DOCKER_FLAGS = {"--rm", "--init", "--interactive", "--tty", "--detach", "--privileged", "--quiet"}
_DOCKER_FLAGS |= {"--read-only", "--publish-all", "--no-healthcheck", "--oom-kill-disable"}
_DOCKER_FLAGS |= {"--sig-proxy", "--disable-content-trust", "--debug", "--tls", "--tlsverify"}
_DOCKER_LETTERS = "itdPqD"
_MOVING_TAGS = ("latest", "stable", "main", "master", "edge", "nightly", "next", "dev", "beta")
_EXACT = re.compile(r"[v=]?\d+(?:\.\d+)+(?:[-+.]?[A-Za-z0-9][\w.+-]*)?")
_COMMIT = re.compile(r"[#@][0-9a-f]{7,40}(?:#.*|&.*)?$")
_PATH = re.compile(r"(?:[.~]?/|\.\.?(?:[/\\]|$)|[A-Za-z]:[/\\]|file:)")
_NPM = re.compile(r"(@?[^@]+)(?:@(.+))?")
_PYPI = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?)\s*(?:(===?|@)\s*(.+))?")
_IMAGE = re.compile(r"(.+?)(?::([\w][\w.-]*))?(?:@sha256:[0-9a-f]+)?")


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


def packages_of(command: str | None, args: Sequence[str]) -> list[Package]:
    """The packages that a command fetches and runs, without those on this machine."""
    found: dict[str, Package] = {}
    for words in _commands([command, *args]) if command else ():
        for runner, specs, package in _RUNNERS:
            if (rest := _after(runner, words)) is not None:
                names = [spec for spec in specs(rest) if spec and not _PATH.match(spec)]
                found |= {spec: package(spec) for spec in names}
                break
    return list(found.values())


def _commands(words: Sequence[str], depth: int = 0) -> Iterator[list[str]]:
    """The commands in a command: those that a shell or `env` runs."""
    if depth > MAX_DEPTH:
        return
    left = list(words)
    while left and (_ASSIGNMENT.match(left[0]) or left[0] in _BEFORE):
        left.pop(0)
    if not left:
        return
    name = _SUFFIX.sub("", PurePath(left[0].replace("\\", "/")).name).lower()
    rest = left[1:]
    if name == "env":
        yield from _of_env(rest, depth + 1)
    elif name in _SHELLS:
        yield from _of_shell(rest, depth + 1)
    elif name == "cmd":  # on Windows, npx is a script
        words = [word for word in rest if word.lower() not in ("/c", "/s", "/d")]
        yield from _commands(words[0].split() if len(words) == 1 else words, depth + 1)
    elif _PYTHON.fullmatch(name) and rest[:1] == ["-m"]:
        yield rest[1:]
    else:
        yield [name, *rest]


def _of_env(words: list[str], depth: int) -> Iterator[list[str]]:
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-S", "--split-string") and words:
            words[:1] = _split(words[0])
        elif option in ("-u", "--unset", "-C", "--chdir"):
            words[:1] = []
    yield from _commands(words, depth)


def _of_shell(words: Sequence[str], depth: int) -> Iterator[list[str]]:
    at = next((at for at, word in enumerate(words) if _SCRIPT.fullmatch(word)), len(words))
    command: list[str] = []
    for word in [*_split("".join(words[at + 1 : at + 2])), ";"]:
        if word in _BETWEEN:
            yield from _commands(command, depth)
            command = []
        else:
            command.append(word)


def _split(script: str) -> list[str]:
    """The words of a line of a shell; none if it is not one."""
    lexer = shlex.shlex(script.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    with suppress(ValueError):
        return list(lexer)
    return []


def _after(runner: Sequence[str], words: Sequence[str]) -> list[str] | None:
    """What follows the words of a runner, with options that stand between them; None if they are
    others."""
    options: list[str] = []
    left = list(words)
    for number, expected in enumerate(runner):
        while number and left and left[0].startswith("-"):
            takes = left[0] in _WITH_VALUE and "=" not in left[0]
            options += left[: 1 + takes]
            left[: 1 + takes] = []
        if not left or left.pop(0) != expected:
            return None
    return options + left


def _named(words: Sequence[str], *, is_uv: bool = False, is_script: bool = False) -> list[str]:
    """What is named as a package: by options, or else the first word that is none; by `--with`
    also."""
    named: list[str] = []
    added: list[str] = []
    first = ""
    left = list(words)
    while left and not first:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if word == "--":
            first = "".join(left[:1])
        elif not word.startswith("-"):
            first = word
        elif option in _NAMES_A_PACKAGE | _ADDS_A_PACKAGE and not (is_uv and option == "-p"):
            value = value if equals else "".join(left[:1])
            left[: 0 if equals else 1] = []
            (added if option in _ADDS_A_PACKAGE else named).append(value)
        elif (option in _WITH_VALUE or (is_uv and option == "-p")) and not equals:
            left[:1] = []
    split = [spec.strip() for given in added for spec in given.split(",")]
    return [*(named or ([] if is_script else [first])), *split]


def _of_uv(words: Sequence[str]) -> list[str]:
    return _named(words, is_uv=True)


def _with_uv(words: Sequence[str]) -> list[str]:
    """Of `uv run`, whose first word is a script or a command."""
    return _named(words, is_uv=True, is_script=True)


def _of_deno(words: Sequence[str]) -> list[str]:
    return [spec for spec in _named(words) if spec.startswith(("npm:", "jsr:"))]


def _image(words: Sequence[str]) -> list[str]:
    """The image that docker runs: the first word that is no option and no value of one."""
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            return [word]
        if word.startswith("--"):
            takes = word not in _DOCKER_FLAGS and "=" not in word
        else:  # as in -it, -ie NAME, -eNAME=value
            value = word[1:].lstrip(_DOCKER_LETTERS)
            takes = len(value) == 1
        left[: int(takes)] = []
    return []


def _npm_package(spec: str) -> Package:
    if spec.startswith(("npm:", "jsr:")):
        kind, _, name = spec.partition(":")
        inside = _npm_package(name.lstrip("/"))
        return Package(spec, inside.is_pinned, f"{kind}:{inside.pinned}")
    if ":" in spec or spec.count("/") > spec.startswith("@"):  # a URL or a repository
        return Package(spec, bool(_COMMIT.search(spec)) or spec.endswith(".tgz"), f"{spec}#COMMIT")
    found = _NPM.fullmatch(spec)
    name, version = found.groups() if found else (spec, None)
    return Package(spec, bool(version and _EXACT.fullmatch(version)), f"{name}@1.2.3")


def _pypi_package(spec: str) -> Package:
    if "://" in spec:
        is_file = spec.partition("#")[0].endswith((".whl", ".tar.gz", ".zip"))
        return Package(spec, is_file or bool(_COMMIT.search(spec)), f"{spec}@COMMIT")
    found = _PYPI.fullmatch(spec)
    name, _, version = found.groups() if found else (re.split(r"[<>=!~ @]", spec)[0], "", None)
    return Package(spec, bool(version and _EXACT.fullmatch(version)), f"{name}==1.2.3")


def _image_package(spec: str) -> Package:
    found = _IMAGE.fullmatch(spec)
    name, tag = found.groups() if found else (spec, None)
    is_pinned = "@sha256:" in spec or (tag is not None and tag not in _MOVING_TAGS)
    return Package(spec, is_pinned, f"{name}:1.2.3")


_Specs = Callable[[Sequence[str]], list[str]]
_OF_NPM = ("npx", "bunx", "pnpx", "npm exec", "npm x", "pnpm dlx", "yarn dlx", "bun x")
_OF_DOCKER = ("docker run", "docker container run", "podman run", "nerdctl run")
_RUNNERS: tuple[tuple[Sequence[str], _Specs, Callable[[str], Package]], ...] = (
    *((name.split(), _named, _npm_package) for name in _OF_NPM),
    (["deno", "run"], _of_deno, _npm_package),
    (["uvx"], _of_uv, _pypi_package),
    (["uv", "tool", "run"], _of_uv, _pypi_package),
    (["uv", "run"], _with_uv, _pypi_package),
    (["pipx", "run"], _named, _pypi_package),
    *((name.split(), _image, _image_package) for name in _OF_DOCKER),
)
