"""servers.toml and `mcpServers` JSON: which servers there are, and how to reach them.

The rule of this file: it is the only one that reads environment variables, and what came from one is
never shown again.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.canonical import problems_of
from orchestrator.documents import DocumentError, parse_json
from orchestrator.errors import ConfigError, Problem, pointer

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Protocol = Literal["auto", "legacy", "2026-07-28"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SERVER_NAME = re.compile(r"[^:\s]+")
_SECRET_OPTION = re.compile(r"(?i)(key|token|secret|passw|auth|credential)")
_REDACTED = "***"


class Server(BaseModel):
    """A server: a program spoken to over its stdin and stdout, or a URL of streamable HTTP."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )

    name: str = ""
    command: str | None = Field(None, min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 30.0
    max_concurrency: int | None = Field(None, ge=1)
    sessions: int = Field(1, ge=1, le=64)
    rate: str | None = None
    protocol: Protocol = "auto"
    writes: Literal["serial", "parallel"] = "serial"
    required: bool = False
    allow: list[str] | None = None
    deny: list[str] = Field(default_factory=list)

    target: Any = Field(None, exclude=True)
    shown: str = Field("", exclude=True)
    secrets: tuple[str, ...] = Field((), exclude=True)

    def redact(self, text: str) -> str:
        """The text without any of the server's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, _REDACTED)
        return text


_INTERNAL = frozenset({"name", "target", "shown", "secrets"})
FIELDS = tuple(name for name in Server.model_fields if name not in _INTERNAL)
DEFAULTS = ("timeout_s", "start_timeout_s", "max_concurrency", "sessions", "protocol", "writes")
NOT_SUPPORTED_YET = ("rate",)


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
    data = _read(path)
    reader = _Reader(path, os.environ if environment is None else environment)
    servers = reader.servers(data)
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
    except tomllib.TOMLDecodeError as failure:
        problem = Problem("malformed_document", f"is no TOML: {failure}")
    except DocumentError as failure:
        problem = Problem("malformed_document", str(failure))
    raise ConfigError(str(path), [problem])


class _Reader:
    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self.environment = environment
        self.problems: list[Problem] = []

    def servers(self, data: Any) -> dict[str, Server]:
        if isinstance(data, dict) and "mcpServers" in data:
            table, at = data["mcpServers"], "mcpServers"
            desktop = True
        else:
            table, at = data.get("servers") if isinstance(data, dict) else None, "servers"
            desktop = False
            self._unknown_tables(data)
        if not isinstance(table, dict) or not table:
            hint = "write [servers.NAME] with a command or a url"
            self.problems.append(Problem("no_servers", "names no servers", pointer(at), hint=hint))
            return {}
        defaults = data.get("defaults", {}) if not desktop else {}
        made = {
            name: self._server(name, given, defaults, (at, name), desktop)
            for name, given in table.items()
        }
        return {name: server for name, server in made.items() if server is not None}

    def _unknown_tables(self, data: Any) -> None:
        for name in data if isinstance(data, dict) else ():
            if name not in ("servers", "defaults", "$schema"):
                message = f"there is no table {name!r}"
                hint = f"a server is written [servers.{name}]"
                self.problems.append(Problem("unknown_field", message, pointer(name), hint=hint))
        defaults = data.get("defaults", {}) if isinstance(data, dict) else {}
        for name in defaults if isinstance(defaults, dict) else ():
            if name not in DEFAULTS:
                message = f"[defaults] has no {name!r}"
                hint = f"known are {', '.join(DEFAULTS)}"
                at = pointer("defaults", name)
                self.problems.append(Problem("unknown_field", message, at, hint=hint))

    def _server(
        self, name: str, given: Any, defaults: Any, at: tuple[str, ...], desktop: bool
    ) -> Server | None:
        before = len(self.problems)
        if not _SERVER_NAME.fullmatch(name):
            self._wrong(f"a server's name has no ':' and no blank, unlike {name!r}", at)
        if not isinstance(given, dict):
            self._wrong(f"has to be a table, not {given!r}", at)
            return None
        fields = {key: value for key, value in given.items() if not desktop or key in FIELDS}
        known = {key: value for key, value in dict(defaults).items() if key in DEFAULTS}
        secrets: list[str] = []
        merged = {**known, **self._expand(fields, at, secrets)}
        internal = _INTERNAL & fields.keys()
        for field in sorted(internal):
            self._wrong(f"there is no field {field!r}", (*at, field))
        try:
            server = Server(**{key: merged[key] for key in merged if key not in internal})
        except ValidationError as error:
            for problem in problems_of(error, merged, {"": FIELDS}):
                moved = Problem(
                    problem.code,
                    problem.message,
                    pointer(*at) + problem.path,
                    None,
                    problem.alternatives,
                    problem.hint,
                )
                self.problems.append(moved)
            return None
        self._consistent(server, at)
        if len(self.problems) > before:
            return None
        named = [value for name, value in server.env.items() if _SECRET_OPTION.search(name)]
        hidden = (*secrets, *named, *server.headers.values())
        cwd = str((self.path.parent / server.cwd).resolve()) if server.cwd else None
        return server.model_copy(
            update={
                "name": name,
                "cwd": cwd,
                "shown": describe(fields),
                "secrets": tuple({secret for secret in hidden if len(secret) >= 4}),
            }
        )

    def _consistent(self, server: Server, at: tuple[str, ...]) -> None:
        if (server.command is None) == (server.url is None):
            both = "both a command and a url" if server.url else "neither a command nor a url"
            self._wrong(f"has {both}: give one", at)
        if server.url is not None:
            parts = urlsplit(server.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                self._wrong("has to be a URL like https://example.com/mcp", (*at, "url"))
            for field in ("args", "env", "cwd"):
                if getattr(server, field):
                    self._wrong(f"{field!r} belongs to a command, not to a url", (*at, field))
        elif server.headers:
            self._wrong("'headers' belong to a url, not to a command", (*at, "headers"))
        for field in NOT_SUPPORTED_YET:
            if getattr(server, field) is not None:
                problem = Problem(
                    "not_supported", f"{field!r} is not supported yet", pointer(*at, field)
                )
                self.problems.append(problem)

    def _expand(self, value: Any, at: tuple[str | int, ...], secrets: list[str]) -> Any:
        """The value with `${VAR}` and `${VAR:-default}` replaced wherever a text stands."""
        match value:
            case str():
                return _VARIABLE.sub(lambda match: self._variable(match, at, secrets), value)
            case list():
                return [self._expand(item, (*at, i), secrets) for i, item in enumerate(value)]
            case dict():
                return {key: self._expand(item, (*at, key), secrets) for key, item in value.items()}
        return value

    def _variable(self, match: re.Match[str], at: tuple[str | int, ...], secrets: list[str]) -> str:
        name, default = match[1], match[2]
        value = self.environment.get(name)
        if value:
            secrets.append(value)
            return value
        if default is not None:
            return default
        if value is None:
            message = f"the environment variable {name} is not set"
            hint = f"set it, or write ${{{name}:-default}}"
            problem = Problem("missing_variable", message, pointer(*at), hint=hint)
            self.problems.append(problem)
        return ""

    def _wrong(self, message: str, at: tuple[str, ...]) -> None:
        self.problems.append(Problem("wrong_value", message, pointer(*at)))


def describe(fields: Mapping[str, Any]) -> str:
    """What a server is started with, for messages: as the file has it, secrets redacted."""
    if url := fields.get("url"):
        parts = urlsplit(str(url))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return " ".join(_redacted([str(fields.get("command")), *map(str, fields.get("args", []))]))


def _redacted(words: list[str]) -> Iterator[str]:
    hide_next = False
    for word in words:
        option, equals, _ = word.partition("=")
        secret = bool(_SECRET_OPTION.search(option)) and word.startswith("-")
        if hide_next and not word.startswith("-") and not _VARIABLE.fullmatch(word):
            yield _REDACTED
        else:
            yield f"{option}={_REDACTED}" if secret and equals else word
        hide_next = secret and not equals
