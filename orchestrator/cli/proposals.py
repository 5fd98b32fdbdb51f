"""What may follow in a line of `orchestrator call`, when somebody presses the key for it.

Nothing is started for that: names and values come from a warm pool, the names of tools also from a
lock file. What goes wrong, or takes longer than a moment, proposes nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.pool import pool_of, warm_place
from orchestrator.cli.streams import write
from orchestrator.cli.tool_sources import lock_of, read_servers
from orchestrator.errors import CallError, OrchestratorError
from orchestrator.schema.requests import prompt_tool

if TYPE_CHECKING:
    from orchestrator.client import Orchestrator
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile

LIMIT_S = 1.0  # for what a pool says
WHOLE_LIMIT_S = 3.0
MAX_PROPOSED = 500
MAX_LENGTH = 200
# What a shell takes as it is: a server's words become part of a command line.
_PLAIN = re.compile(r"[\w@%+:,./{}-]+")
_VALUED = ("--servers", "--env-file", "--timeout")


@dataclass(slots=True)
class Line:
    """A line of `call` as far as it is written."""

    last: str  # the word that is being written
    kind: str = "tool"
    target: str = ""
    given: dict[str, str] = field(default_factory=dict)
    options: argparse.Namespace = field(
        default_factory=lambda: argparse.Namespace(
            servers=None, env_file=[], no_pool=False, no_lock=False
        )
    )


def propose(line: str) -> int:
    """Print what may follow, a line each; nothing if that is not known."""
    with _bounded(), suppress(OrchestratorError, OSError, ValueError), redirect_stderr(StringIO()):
        if (parsed := parsed_line(line)) is not None:
            found = {word: None for word in _words(parsed) if word.startswith(parsed.last)}
            plain = [word for word in found if len(word) <= MAX_LENGTH and _is_plain(word)]
            if "=" in parsed.last and len(plain) == 1 < len(found):  # a shell would fill it in
                plain = []
            write("".join(f"{word}\n" for word in plain[:MAX_PROPOSED]), end="")
    return 0


@contextmanager
def _bounded() -> Iterator[None]:
    """End the process without a word if all of it takes too long."""
    if not hasattr(signal, "setitimer"):  # on Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, WHOLE_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_plain(word: str) -> bool:
    if "{" in word and "," in word:  # several words to a shell
        return False
    return all(_PLAIN.fullmatch(part) for part in word.split("=", 1) if part)


def parsed_line(line: str) -> Line | None:
    """A line of `orchestrator call`; None for any other. A ValueError if a quote is open."""
    words = shlex.split(line)
    last = words.pop() if words and not line[-1:].isspace() else ""
    if words[1:2] != ["call"]:
        return None
    found, rest = Line(last), iter(words[2:])
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _VALUED:
            value = value if equals else next(rest, "")
            if name == "--servers":
                found.options.servers = Path(value)
            elif name == "--env-file":
                found.options.env_file.append(Path(value))
        elif word in ("--prompt", "--read"):
            found.kind = word[2:]
        elif word in ("--no-pool", "--no-lock"):
            setattr(found.options, word[2:].replace("-", "_"), True)
        elif not found.target:
            found.target = word
        elif equals:
            found.given[name] = value
    return found


def _words(line: Line) -> list[str]:
    lock = lock_of(line.options) if line.kind == "tool" else None
    is_up = not line.options.no_pool and warm_place(line.options) is not None
    if lock is None and not is_up:
        return []
    servers = read_servers(line.options)
    words = [] if lock is None else list(_of_tools(line, _locked(servers, lock)))
    return words if words or not is_up else _asked(line, servers)


def _locked(servers: Mapping[str, Server], lock: Lockfile) -> dict[str, Mapping[str, Any]]:
    """The schemas of the arguments of all tools in a lock file, by `server:tool`."""
    from orchestrator.preflight import allowed_tools

    listed = {name: lock.of(name) for name in servers if name in lock}
    tools = allowed_tools(servers, listed)
    return {target: tool.input_schema for target, tool in tools.items()}


def _of_tools(line: Line, schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What may follow of tools with these arguments."""
    if not line.target:
        yield from schemas
        return
    members = schemas.get(line.target, {}).get("properties")
    for name, schema in members.items() if isinstance(members, dict) else ():
        if line.last.startswith(f"{name}="):
            yield from (f"{name}={value}" for value in _values_in(schema))
        elif name not in line.given:
            yield f"{name}="


def _values_in(schema: Any) -> list[str]:
    """The values that a schema lists."""
    if not isinstance(schema, dict):
        return []
    if schema.get("type") == "boolean":
        return ["true", "false"]
    listed = schema.get("enum")
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def _asked(line: Line, servers: Mapping[str, Server]) -> list[str]:
    """What a warm pool says."""
    from orchestrator.cli.signals import with_servers
    from orchestrator.daemon.warm_pool import WarmPool

    name = line.target.partition(":")[0]
    wanted = {name: servers[name]} if name in servers else {} if name else dict(servers)
    pool = pool_of(line.options, wanted, None)
    if not isinstance(pool, WarmPool):
        return []

    async def ask(orchestrator: Orchestrator) -> list[str]:
        # Others have another configuration, or are in no pool: they would be started.
        return await said(orchestrator, line, filter(pool.is_warm, wanted))

    return with_servers(pool, ask)


async def said(orchestrator: Orchestrator, line: Line, servers: Iterable[str]) -> list[str]:
    """What may follow, as far as these servers say it within a moment."""
    import anyio

    found: list[str] = []
    with anyio.move_on_after(LIMIT_S):
        async with anyio.create_task_group() as group:
            for server in servers:
                group.start_soon(_of_server, orchestrator, line, server, found)
    return found


async def _of_server(orchestrator: Orchestrator, line: Line, server: str, found: list[str]) -> None:
    with suppress(CallError):
        if line.kind == "tool":
            tools = {tool.target: tool.input_schema for tool in await orchestrator.tools(server)}
            found += _of_tools(line, tools)
        elif line.target and "=" in line.last:
            name, _, value = line.last.partition("=")
            target = f"{line.kind} {line.target}"
            values = await orchestrator.complete(target, name, value, line.given)
            found += (f"{name}={value}" for value in values)
        elif line.kind == "prompt":
            prompts = await orchestrator.offered(server, "prompts") or []
            tools = {f"{server}:{each['name']}": each for each in prompts}
            found += _of_tools(
                line, {at: prompt_tool(server, each).input_schema for at, each in tools.items()}
            )
        elif line.target:
            from orchestrator.servers.uri_templates import variables_of

            names = variables_of(line.target.partition(":")[2])
            found += (f"{name}=" for name in names if name not in line.given)
        else:
            resources = await orchestrator.offered(server, "resources") or []
            templates = await orchestrator.offered(server, "resource_templates") or []
            found += (f"{server}:{each['uri']}" for each in resources)
            found += (f"{server}:{each['uriTemplate']}" for each in templates)
