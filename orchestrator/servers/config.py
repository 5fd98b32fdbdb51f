"""servers.toml and `mcpServers` JSON: which servers there are, and how to reach them.

The rule of this file: it is the only one that reads environment variables, and what came from one
is never shown again.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.documents.parse import DocumentError, malformed, parse_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Code, ConfigError, Problem
from orchestrator.servers.redaction import describe, hideable, redact, secrets_of

__all__ = ["Server", "describe", "load_config"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Protocol = Literal["auto", "legacy", "2026-07-28"]
Location = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_RATE = r"^[1-9][0-9]{0,6}/(s|min|h)$"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SERVER_NAME = re.compile(r"[^:\s]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class ToolSettings(BaseModel):
    """What is said of single tools of a server."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_concurrency: int = Field(ge=1)


class Server(BaseModel):
    """A server: a program spoken to over its stdin and stdout, or a URL of streamable HTTP."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )

    name: str = ""
    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 30.0
    max_concurrency: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    tools: dict[str, ToolSettings] = Field(default_factory=dict)
    sessions: int = Field(1, ge=1, le=64)
    max_result_bytes: int = Field(64 * 1024 * 1024, ge=1)
    rate: Annotated[str, Field(pattern=_RATE)] | None = None
    protocol: Protocol = "auto"
    writes: Literal["serial", "parallel"] = "serial"
    elicitation: Literal["none", "defaults"] = "none"
    required: bool = False
    allow: list[str] | None = None
    deny: list[str] = Field(default_factory=list)

    target: Any = Field(None, exclude=True)
    shown: str = Field("", exclude=True)
    secrets: tuple[str, ...] = Field((), exclude=True)

    @property
    def is_single_use(self) -> bool:
        """Whether it is a transport of the user's own, which cannot be opened a second time."""
        return hasattr(self.target, "__aenter__")

    @property
    def starts(self) -> tuple[int, float] | None:
        """Its `rate`: how many calls may start in how many seconds."""
        if self.rate is None:
            return None
        count, _, unit = self.rate.partition("/")
        return int(count), _SECONDS[unit]

    @property
    def description(self) -> str:
        """What it is started with, for messages; empty for one in memory."""
        return self.shown or describe({"url": self.url, "command": self.command, "args": self.args})

    def redact(self, value: Any) -> Any:
        """A text, or a JSON value, without any of the server's secrets."""
        return redact(value, self._hidden)

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        found = secrets_of(url=self.url, args=self.args, env=self.env, headers=self.headers)
        return hideable([*self.secrets, *found])


_INTERNAL = frozenset({"name", "target", "shown", "secrets"})
FIELDS = tuple(name for name in Server.model_fields if name not in _INTERNAL)
DEFAULTS = (
    "timeout_s",
    "start_timeout_s",
    "max_concurrency",
    "sessions",
    "protocol",
    "writes",
    "max_result_bytes",
)
TOOL_FIELDS = tuple(ToolSettings.model_fields)


def load_config(
    path: str | Path, environment: Mapping[str, str] | None = None
) -> dict[str, Server]:
    """The servers by name, from a servers.toml or a `mcpServers` JSON file.

    Args:
        path: The file. `cwd` in it is relative to its directory.
        environment: The variables that `${VAR}` may name; by default the process's.

    Raises:
        ConfigError: The file cannot be read, or is wrong; with every mistake in it.
    """
    path = Path(path)
    reader = _ConfigReader(path.parent, os.environ if environment is None else environment)
    servers = reader.servers(_read(path))
    if reader.problems:
        raise ConfigError(str(path), reader.problems)
    return servers


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return parse_json(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as failure:
        message = f"cannot be read: {failure.strerror or failure}"
        hint = "name another with --servers FILE" if isinstance(failure, FileNotFoundError) else ""
        problem = Problem("unreadable_file", message, hint=hint)
    except UnicodeDecodeError as failure:
        problem = Problem("unreadable_file", f"is not UTF-8: byte {failure.start}")
    except DocumentError as failure:
        problem = malformed(failure)
    except RecursionError:
        problem = Problem("malformed_document", "is nested too deep")
    except ValueError as failure:  # of TOML, or an integer of more digits than Python takes
        problem = Problem("malformed_document", f"is no TOML: {failure}")
    raise ConfigError(str(path), [problem])


class _ConfigReader:
    """Makes servers of the data of a file, and collects everything that is wrong with it."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = environment
        self.problems: list[Problem] = []

    def servers(self, data: Any) -> dict[str, Server]:
        data = data if isinstance(data, dict) else {}
        desktop = "mcpServers" in data
        at = "mcpServers" if desktop else "servers"
        defaults = {} if desktop else self._tables(data)
        table = data.get(at)
        if not isinstance(table, dict) or not table:
            hint = "write [servers.NAME] with a command or a url"
            self.problems.append(Problem("no_servers", "names no servers", pointer(at), hint=hint))
            return {}
        made = {
            name: self._server(name, given, defaults, (at, name), desktop)
            for name, given in table.items()
        }
        return {name: server for name, server in made.items() if server is not None}

    def _tables(self, data: dict[str, Any]) -> dict[str, Any]:
        """What is in [defaults], as far as it is right; a table that is none is a problem."""
        for name in data:
            if name not in ("servers", "defaults", "$schema"):
                message, near = (
                    f"there is no table {name!r}",
                    nearest(name, ("servers", "defaults")),
                )
                hint = "" if near else f"a server is written [servers.{name}]"
                self.problems.append(
                    Problem("unknown_field", message, pointer(name), None, near, hint)
                )
        given = data.get("defaults", {})
        if not isinstance(given, dict):
            self._wrong(f"has to be a table, not {given!r}", ("defaults",), "wrong_type")
            return {}
        defaults = self._expand(given, ("defaults",), [])
        for name in given.keys() - set(DEFAULTS):
            del defaults[name]
            message, near = f"[defaults] has no {name!r}", nearest(name, DEFAULTS)
            hint = "" if near else f"known are {', '.join(DEFAULTS)}"
            at = pointer("defaults", name)
            self.problems.append(Problem("unknown_field", message, at, None, near, hint))
        wrong = self._validate(defaults, ("defaults",), [])
        return {} if wrong is None else defaults

    def _server(
        self, name: str, given: Any, defaults: Mapping[str, Any], at: Location, desktop: bool
    ) -> Server | None:
        before = len(self.problems)
        if not _SERVER_NAME.fullmatch(name):
            self._wrong(f"a server's name has no ':' and no blank, unlike {name!r}", at)
        if not isinstance(given, dict):
            self._wrong(f"has to be a table, not {given!r}", at, "wrong_type")
            return None
        fields = {key: value for key, value in given.items() if not desktop or key in FIELDS}
        secrets: list[str] = []
        expanded = {**defaults, **self._expand(fields, at, secrets)}
        server = self._validate(expanded, at, secrets)
        self._consistent(expanded, at)
        if server is None or len(self.problems) > before:
            return None
        cwd = str((self.directory / server.cwd).resolve()) if server.cwd else None
        shown, hidden = describe(fields), tuple(secrets)
        return server.model_copy(
            update={"name": name, "cwd": cwd, "shown": shown, "secrets": hidden}
        )

    def _validate(
        self, fields: Mapping[str, Any], at: Location, secrets: list[str]
    ) -> Server | None:
        """The server of these fields; None, and problems, if their types are wrong."""
        for name in sorted(_INTERNAL & fields.keys()):
            self._wrong(f"there is no field {name!r}", (*at, name), "unknown_field")
        data = {name: value for name, value in fields.items() if name not in _INTERNAL}
        try:
            return Server.model_validate(data)
        except ValidationError as error:
            for problem in problems_of(error, data, {"": FIELDS, "tools": TOOL_FIELDS}):
                message = redact(problem.message, hideable(secrets))
                path = pointer(*at) + problem.path
                found = replace(problem, message=message, path=path, replacement=())
                self.problems.append(found)
            return None

    def _consistent(self, fields: Mapping[str, Any], at: Location) -> None:
        """What no type says: that the fields fit together."""
        url, command = fields.get("url"), fields.get("command")
        if (command is None) == (url is None):
            both = "both a command and a url" if url is not None else "neither a command nor a url"
            self._wrong(f"has {both}: give one", at)
        elif isinstance(url, str):
            self._check_url(url, (*at, "url"))
            for name in {"args", "env", "cwd"} & fields.keys():
                self._wrong(f"{name!r} belongs to a command, not to a url", (*at, name))
        elif "headers" in fields:
            self._wrong("'headers' belong to a url, not to a command", (*at, "headers"))
        if command == "":
            self._wrong("is empty: name a program", (*at, "command"))
        self._check_headers(fields.get("headers"), (*at, "headers"))

    def _check_url(self, url: str, at: Location) -> None:
        try:
            parts = urlsplit(url)
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none, or half an IPv6 address
            right = False
        if not right and all(problem.path != pointer(*at) for problem in self.problems):
            self._wrong("has to be a URL like https://example.com/mcp", at)

    def _check_headers(self, headers: Any, at: Location) -> None:
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if not _HEADER_NAME.fullmatch(name):
                self._wrong("is no name of a header", (*at, name))
            if isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
                message = "has a line break or another character that no header may have"
                self._wrong(message, (*at, name))  # and never the value: it may be a secret

    def _expand(self, value: Any, at: Location, secrets: list[str]) -> Any:
        """The value with `${VAR}` and `${VAR:-default}` replaced wherever a text stands."""
        match value:
            case str():
                return _VARIABLE.sub(lambda match: self._variable(match, at, secrets), value)
            case list():
                return [self._expand(item, (*at, i), secrets) for i, item in enumerate(value)]
            case dict():
                return {key: self._expand(item, (*at, key), secrets) for key, item in value.items()}
        return value

    def _variable(self, match: re.Match[str], at: Location, secrets: list[str]) -> str:
        name, default = match[1], match[2]
        value = self.environment.get(name or "")
        if value:
            secrets.append(value)
        elif name is None:
            message = "has a '${' that is neither ${VAR} nor ${VAR:-default}"
            self._wrong(message, at, "malformed_variable")
        elif value is None and default is None:
            message = f"the environment variable {name} is not set"
            hint = f"set it, or write ${{{name}:-default}}"
            problem = Problem("missing_variable", message, pointer(*at), hint=hint)
            self.problems.append(problem)
        return value or default or ""

    def _wrong(self, message: str, at: Location, code: Code = "wrong_value") -> None:
        self.problems.append(Problem(code, message, pointer(*at)))


def servers_of(given: Mapping[str, Any]) -> dict[str, Server]:
    """The servers by name.

    Raises:
        ConfigError: One is of no known kind.
    """
    return {name: _server(name, target) for name, target in given.items()}


def _server(name: str, target: Any) -> Server:
    """A server from whatever `mcp.Client` takes."""
    match target:
        case Server():
            return target
        case str():
            return Server(name=name, url=target, shown=describe({"url": target}))
    kind = type(target).__name__
    if kind == "StdioServerParameters":
        shown = describe({"command": target.command, "args": target.args})
        return Server(
            name=name,
            command=target.command,
            args=target.args,
            env=target.env or {},
            cwd=str(target.cwd) if target.cwd else None,
            shown=shown,
        )
    if target is None or isinstance(target, int | float | list | dict | bytes):
        message = (
            f"server {name!r} is {target!r}: it has to be a URL, parameters or a server object"
        )
        raise ConfigError("servers", [Problem("wrong_type", message, pointer(name))])
    return Server(name=name, target=target)
