"""What is configured of a server: the fields of servers.toml, and servers given in Python."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.auth.settings import OAuth, Subject
from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import pointer
from orchestrator.errors import ConfigError, Problem
from orchestrator.servers.locking import LockTables, Scope
from orchestrator.servers.redaction import (
    description,
    forms_of,
    named_forms,
    redact,
    secrets_of,
)
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.workflow.budget import Budget

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Protocol = Literal["auto", "legacy", "2026-07-28"]

# 0 is no limit, as it is for a run.
Limit = Annotated[int, Field(ge=0), AfterValidator(lambda most: most or None)]
RateText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}/(s|min|h)$")]
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ToolSettings(_Settings):
    """The settings of single tools of a server."""

    max_concurrency: Limit | None = None
    rate: RateText | None = None
    idempotency_argument: str | None = Field(default=None, min_length=1)

    @property
    def rate_limit(self) -> tuple[int, float] | None:
        """Its `rate`: how many calls may start in how many seconds."""
        return _rate_limit(self.rate)


class Defaults(_Settings):
    """The settings that `[defaults]` may give for all servers."""

    timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 30.0
    max_concurrency: Limit | Literal["auto"] | None = None
    sessions: int = Field(default=1, ge=1, le=64)
    protocol: Protocol = "auto"
    writes: Literal["serial", "parallel"] = "serial"
    scope: Scope = "process"
    trust: Literal["trusted", "untrusted"] = "trusted"
    max_result_bytes: int = Field(default=64 * 1024 * 1024, ge=1)


class JournalTable(_Settings):
    """What `[journal]` says: where runs are kept, how long, how many, and whether with outputs."""

    path: str | None = None
    keep_days: float = Field(default=30, gt=0, allow_inf_nan=False)
    keep_runs: int = Field(default=1000, ge=1)
    outputs: bool = True


class TrustedTask(_Settings):
    """A task that the operator answers for, although the words of strangers reach it."""

    workflow: str = Field(min_length=1)
    task: str = Field(min_length=1)  # with those that it is inside of, as in `outer/inner`
    because: str = Field(min_length=1)


def _rate_limit(rate: str | None) -> tuple[int, float] | None:
    count, _, unit = (rate or "").partition("/")
    return (int(count), _UNITS_S[unit]) if unit else None


class Settings(Defaults):
    """The settings that a file may give for one server."""

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    inherit_env: list[str] = Field(default_factory=list)
    cwd: str | None = None
    url: str | None = None
    transport: Literal["streamable-http", "sse"] = "streamable-http"
    headers: dict[str, str] = Field(default_factory=dict)
    oauth: OAuth | None = None
    tools: dict[str, ToolSettings] = Field(default_factory=dict)
    rate: RateText | None = None
    elicitation: Literal["none", "defaults", "ask"] = "none"
    subscribe: list[str] = Field(default_factory=list)
    required: bool = False
    approve: list[str] | Literal["destructive"] = Field(default_factory=list)
    sensitive: list[str] = Field(default_factory=list)
    allow: list[str] | None = None
    deny: list[str] = Field(default_factory=list)


FIELDS = tuple(Settings.model_fields)
DEFAULTS = tuple(Defaults.model_fields)


class Server(Settings):
    """A server: a program with MCP over its stdin and stdout, or a URL."""

    name: str = ""
    target: Any = Field(default=None, exclude=True)
    shown: str = Field(default="", exclude=True)
    secrets: tuple[str, ...] = Field(default=(), exclude=True)  # the values of variables
    tokens: tuple[str, ...] = Field(default=(), exclude=True)  # of those with the name of a secret
    # Why it cannot be started: another program's file may have mistakes that are not ours to fix.
    unusable: str = Field(default="", exclude=True)

    @property
    def is_single_use(self) -> bool:
        """Whether it is a transport of the user's own, which cannot be opened a second time."""
        return hasattr(self.target, "__aenter__")

    @property
    def rate_limit(self) -> tuple[int, float] | None:
        """Its `rate`: how many calls may start in how many seconds."""
        return _rate_limit(self.rate)

    def settings_of(self, tool: str) -> tuple[str, ToolSettings]:
        """The first pattern that matches a tool, and its settings; both empty if none does."""
        matching = (item for item in self.tools.items() if fnmatch.fnmatchcase(tool, item[0]))
        return next(matching, ("", ToolSettings()))

    @property
    def parameters(self) -> StdioParameters | HttpParameters | None:
        """What its transport needs to know; None for one that is given as an object."""
        limit = self.max_result_bytes
        if self.command is not None:
            return StdioParameters(self.command, self.args, self.env, self.cwd, limit, self.name)
        if self.url is None:
            return None
        return HttpParameters(self.url, self.headers, limit, self.is_sse)

    @property
    def is_sse(self) -> bool:
        """Whether it speaks the HTTP+SSE of protocol 2024-11-05."""
        return self.transport == "sse"

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
    def identity(self) -> str:
        """What its data may depend on, as a hash, since it has secrets: where and who it is."""
        fields = ["command", "args", "env", "cwd", "url", "headers"]
        fields += ["transport"] if self.is_sse else []
        told = {field: getattr(self, field) for field in fields}
        if self.oauth is not None:
            told["oauth"] = self.oauth.model_dump(mode="json")
        return hashlib.sha256(to_json(told).encode()).hexdigest()

    @property
    def logs_in(self) -> bool:
        """Whether logins are for it: it has a URL, and no proof of who we are in its headers."""
        return self.url is not None and "authorization" not in map(str.lower, self.headers)

    @property
    def subject(self) -> Subject:
        """Whose login, if it is one that logs in."""
        assert self.url is not None
        return Subject(self.name, self.url, self.oauth or OAuth())

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

    def named_secrets(self, server: str) -> Iterator[tuple[str, str]]:
        """All of `known_secrets`, each by the name of the server and the field that it is in."""
        yield from named_forms(f"{server}.url", secrets_of(url=self.url))
        yield from named_forms(f"{server}.args", secrets_of(args=self.args))
        for name, value in self.env.items():
            yield from named_forms(f"{server}.env.{name}", secrets_of(env={name: value}))
        for name, value in self.headers.items():
            yield from named_forms(f"{server}.headers.{name}", secrets_of(headers={name: value}))
        for number, secret in enumerate(self._of_oauth):
            yield from named_forms(f"{server}.oauth.{number}", [secret])
        for number, token in enumerate(self.tokens):
            yield from named_forms(f"{server}.variables.{number}", [token])

    @property
    def _named(self) -> Iterator[str]:
        yield from secrets_of(url=self.url, args=self.args, env=self.env, headers=self.headers)
        yield from self._of_oauth

    @property
    def _of_oauth(self) -> Iterator[str]:
        return iter(()) if self.oauth is None else self.oauth.secrets

    def __repr__(self) -> str:
        return f"Server({self.name!r}, {self.description!r})"

    __str__ = __repr__


class ServerTable(dict[str, Server]):
    """Servers by name.

    Attributes:
        off: The servers that their file leaves out, each with the field that says so and the file.
        journal: What it says of the runs that are kept.
        budget: What a run may spend.
        trusted: The tasks that their operator answers for.
        locking: What it says of the locks of tasks.
        others: Why there are no others, if they do not come from a file of servers.
    """

    off: Mapping[str, str] = MappingProxyType({})
    journal: JournalTable = JournalTable()
    budget: Budget | None = None
    trusted: tuple[TrustedTask, ...] = ()
    locking: LockTables = LockTables()
    others: str = ""

    @classmethod
    def like(cls, given: Mapping[str, Any], servers: Mapping[str, Server]) -> Self:
        """These servers, and what a table that they are made of leaves out."""
        made = cls(servers)
        if isinstance(given, ServerTable):
            made.off, made.journal, made.budget = given.off, given.journal, given.budget
            made.others, made.trusted = given.others, given.trusted
            made.locking = given.locking
        return made


def locking_of(servers: Mapping[str, Server]) -> LockTables:
    """What the file of these servers says of the locks of tasks, if they come from one."""
    return servers.locking if isinstance(servers, ServerTable) else LockTables()


def secrets_in(servers: Iterable[Server]) -> tuple[str, ...]:
    """What no output of these servers has, in all its forms; see `Server.known_secrets`."""
    return tuple(dict.fromkeys(form for server in servers for form in server.known_secrets))


def secrets_by_name(servers: Mapping[str, Server]) -> dict[str, str]:
    """The same, by server and field; see `Server.named_secrets`."""
    return {name: form for at, server in servers.items() for name, form in server.named_secrets(at)}


def servers_of(given: Mapping[str, Any]) -> dict[str, Server]:
    """The servers by name, each from a `Server` or whatever `mcp.Client` takes.

    Raises:
        ConfigError: One is of no known kind.
    """
    return ServerTable.like(given, {name: _server(name, to) for name, to in given.items()})


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
