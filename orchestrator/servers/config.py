"""Reads servers.toml and `mcpServers` JSON files: which servers there are and how to reach them.

Only this module reads environment variables. No message shows a value that came from one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.documents.files import read_text
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, malformed, parse_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import Location, problems_of
from orchestrator.errors import Code, ConfigError, Problem
from orchestrator.servers.redaction import SECRET_NAME, description, forms_of, redact, secrets_of
from orchestrator.transport.parameters import HttpParameters, StdioParameters

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Protocol = Literal["auto", "legacy", "2026-07-28"]

_TABLES = ("servers", "defaults", "$schema")
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_RATE = r"^[1-9][0-9]{0,6}/(s|min|h)$"
_SERVER_NAME = re.compile(r"[^:\s]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ToolSettings(_Settings):
    """The settings of single tools of a server."""

    max_concurrency: int = Field(ge=1)


class Defaults(_Settings):
    """The settings that `[defaults]` may give for all servers."""

    timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 30.0
    max_concurrency: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    sessions: int = Field(1, ge=1, le=64)
    protocol: Protocol = "auto"
    writes: Literal["serial", "parallel"] = "serial"
    max_result_bytes: int = Field(64 * 1024 * 1024, ge=1)


class Settings(Defaults):
    """The settings that a file may give for one server."""

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    tools: dict[str, ToolSettings] = Field(default_factory=dict)
    rate: Annotated[str, Field(pattern=_RATE)] | None = None
    elicitation: Literal["none", "defaults"] = "none"
    required: bool = False
    allow: list[str] | None = None
    deny: list[str] = Field(default_factory=list)


FIELDS = tuple(Settings.model_fields)
DEFAULTS = tuple(Defaults.model_fields)


class Server(Settings):
    """A server: a program with MCP over its stdin and stdout, or a URL of streamable HTTP."""

    name: str = ""
    target: Any = Field(None, exclude=True)
    shown: str = Field("", exclude=True)
    secrets: tuple[str, ...] = Field((), exclude=True)  # the values of variables
    tokens: tuple[str, ...] = Field((), exclude=True)  # of those with the name of a secret

    @property
    def is_single_use(self) -> bool:
        """Whether it is a transport of the user's own, which cannot be opened a second time."""
        return hasattr(self.target, "__aenter__")

    @property
    def starts(self) -> tuple[int, float] | None:
        """Its `rate`: how many calls may start in how many seconds."""
        count, _, unit = (self.rate or "").partition("/")
        return (int(count), {"s": 1.0, "min": 60.0, "h": 3600.0}[unit]) if unit else None

    @property
    def parameters(self) -> StdioParameters | HttpParameters | None:
        """What its transport needs to know; None for one that is given as an object."""
        limit = self.max_result_bytes
        if self.command is not None:
            return StdioParameters(self.command, self.args, self.env, self.cwd, limit, self.name)
        return None if self.url is None else HttpParameters(self.url, self.headers, limit)

    @property
    def description(self) -> str:
        """Its command or URL, for messages; empty for a server in memory."""
        return self.shown or description(dict(self))

    def redact(self, value: Any) -> Any:
        """A JSON value of a message or a log without any of the server's secrets.

        The values of all variables count as secrets here.
        """
        return redact(value, self.hidden, cut=True)

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """What no message shows, in all its forms."""
        return forms_of([*self.secrets, *self._named])

    @cached_property
    def known_secrets(self) -> tuple[str, ...]:
        """What no output has, in all its forms: secrets by their names and places.

        The value of a variable such as HOME is none of them: the data of tools may contain it.
        """
        return forms_of([*self.tokens, *self._named])

    @property
    def _named(self) -> Iterator[str]:
        return secrets_of(url=self.url, args=self.args, env=self.env, headers=self.headers)

    def __repr__(self) -> str:
        return f"Server({self.name!r}, {self.description!r})"

    __str__ = __repr__


def load_config(
    path: str | Path, environment: Mapping[str, str] | None = None
) -> dict[str, Server]:
    """The servers by name, from a servers.toml or a `mcpServers` JSON file.

    `cwd` is relative to the directory of the file; `${VAR}` names variables of the environment, by
    default that of the process.

    Raises:
        ConfigError: The file cannot be read or is wrong, with every problem in it.
    """
    path = Path(path)
    reader = _Reader(os.environ if environment is None else environment)
    servers = reader.servers(_parse(path), path.parent)
    if reader.problems:
        raise ConfigError(str(path), reader.problems)
    return servers


def _parse(path: Path) -> Any:
    text = read_text(path, ConfigError, "name another file with --servers FILE")
    try:
        return parse_json(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except DocumentError as failure:
        problem = malformed(failure)
    except RecursionError:
        problem = Problem("malformed_document", "is nested too deep")
    except ValueError as failure:  # of TOML, or an integer of more digits than Python takes
        problem = Problem("malformed_document", f"is not valid TOML: {failure}")
    raise ConfigError(str(path), [problem])


class _Reader:
    """Makes servers of the data of a file and collects the problems in it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[Problem] = []
        self._values: list[str] = []  # of the variables in what was read last

    def servers(self, data: Any, directory: Path) -> dict[str, Server]:
        data = data if isinstance(data, dict) else {}
        at = "mcpServers" if "mcpServers" in data else "servers"
        defaults = self._defaults(data) if at == "servers" else {}
        table = data.get(at)
        if not isinstance(table, dict) or not table:
            hint = "write [servers.NAME] with a command or a url"
            self._add("no_servers", "defines no servers", (at,), hint)
            return {}
        made: dict[str, Server] = {}
        for name, given in table.items():
            if at == "mcpServers" and isinstance(given, dict):
                given = {field: value for field, value in given.items() if field in FIELDS}
            fields = self._checked(Settings, given, (at, name))
            reported = {problem.path for problem in self.problems}
            for message, path in _conflicts(name, fields if isinstance(fields, dict) else {}):
                if pointer(at, name, *path) not in reported:
                    self._add("wrong_value", message, (at, name, *path))
            if not self.problems:  # otherwise no server is used
                cwd = str((directory / fields["cwd"]).resolve()) if fields.get("cwd") else None
                own = {"name": name, "cwd": cwd, "shown": description(given)}
                made[name] = Server(
                    **defaults | fields | own, secrets=tuple(self._values), tokens=self._tokens()
                )
        return made

    def _defaults(self, data: Mapping[str, Any]) -> dict[str, Any]:
        for name in (name for name in data if name not in _TABLES):
            near = nearest(name, _TABLES[:2])
            hint = "" if near else f"write [servers.{name}]"
            message, at = f"unknown table {quoted(name)}", pointer(name)
            self.problems.append(Problem("unknown_field", message, at, None, near, hint))
        return self._checked(Defaults, data.get("defaults", {}), ("defaults",))

    def _checked(self, model: type[BaseModel], given: Any, at: Location) -> dict[str, Any]:
        """The fields with their variables expanded, checked against a model."""
        self._values = []
        expanded: dict[str, Any] = self._expand(given, at)
        wrong = _problems(model, expanded)
        # Messages quote the file, not what variables hold.
        quoting = {problem.path: problem for problem in _problems(model, given)} if wrong else {}
        for problem in wrong:
            shown, path = quoting.get(problem.path, problem), pointer(*at) + problem.path
            self.problems.append(replace(shown, path=path, replacement=()))
        return expanded

    def _expand(self, value: Any, at: Location) -> Any:
        """The value with `${VAR}` and `${VAR:-default}` replaced in every string."""
        match value:
            case str():
                return _VARIABLE.sub(lambda match: self._variable(match, at), value)
            case list():
                return [self._expand(item, (*at, index)) for index, item in enumerate(value)]
            case dict():
                return {key: self._expand(item, (*at, key)) for key, item in value.items()}
        return value

    def _variable(self, match: re.Match[str], at: Location) -> str:
        name, default = match[1], match[2]
        value = self.environment.get(name or "")
        if value:
            self._values.append(value)
        elif name is None:
            self._add("malformed_variable", 'expected ${VAR} or ${VAR:-default} at "${"', at)
        elif value is None and default is None:
            hint = f"set it, or write ${{{name}:-default}}"
            self._add("missing_variable", f"environment variable {name} is not set", at, hint)
        return value or default or ""

    def _tokens(self) -> tuple[str, ...]:
        named = (value for name, value in self.environment.items() if SECRET_NAME.search(name))
        return tuple(value for value in named if value in self._values)

    def _add(self, code: Code, message: str, at: Location, hint: str = "") -> None:
        self.problems.append(Problem(code, message, pointer(*at), hint=hint))


def _problems(model: type[BaseModel], given: Any) -> list[Problem]:
    try:
        model.model_validate(given)
    except ValidationError as error:
        known = {"": tuple(model.model_fields), "tools": tuple(ToolSettings.model_fields)}
        return problems_of(error, given, known)
    return []


def _conflicts(name: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Location]]:
    """What types do not express: the form of names, and which fields fit together."""
    if not _SERVER_NAME.fullmatch(name):
        yield f'expected a server name without ":" and blanks, got {quoted(name)}', ()
    url, command, headers = fields.get("url"), fields.get("command"), fields.get("headers")
    if (command is None) == (url is None):
        yield f"expected a command or a url, got {'neither' if url is None else 'both'}", ()
    elif url is not None:
        if isinstance(url, str) and not _is_url(url):
            yield 'expected a URL like "https://example.com/mcp"', ("url",)
        for field in [each for each in ("args", "env", "cwd") if each in fields]:
            yield f'"{field}" is for a command, and this server has a url', (field,)
    elif headers is not None:
        yield '"headers" is for a url, and this server has a command', ("headers",)
    if command == "":
        yield "expected a program, got an empty string", ("command",)
    for header, value in headers.items() if isinstance(headers, dict) else ():
        if not _HEADER_NAME.fullmatch(header):
            yield f"expected a header name, got {quoted(header)}", ("headers", header)
        if isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
            yield "contains a character that no header may contain", ("headers", header)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # not a port, or half an IPv6 address
        return False


def servers_of(given: Mapping[str, Any]) -> dict[str, Server]:
    """The servers by name, each from a `Server` or whatever `mcp.Client` takes.

    Raises:
        ConfigError: One is of no known kind.
    """
    return {name: _server(name, target) for name, target in given.items()}


def _server(name: str, target: Any) -> Server:
    match target:
        case Server():
            return target
        case str():
            return Server(name=name, url=target)
        case None | int() | float() | list() | dict() | bytes():
            message = f"expected a URL, StdioServerParameters or server, got {describe(target)}"
            raise ConfigError("servers", [Problem("wrong_type", message, pointer(name))])
    if type(target).__name__ != "StdioServerParameters":  # by name: the SDK loads slowly
        return Server(name=name, target=target)
    command, args, cwd = target.command, target.args, target.cwd and str(target.cwd)
    return Server(name=name, command=command, args=args, env=target.env or {}, cwd=cwd or None)
