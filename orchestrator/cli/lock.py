"""`orchestrator lock`: what the tools of the servers are, written down and compared.

The rule of this file: the lock file changes only where the user has said so, and never without
showing what is different, or that it cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from orchestrator.cli.diagnostics import complain, say_asking
from orchestrator.cli.run import in_event_loop
from orchestrator.client import Orchestrator
from orchestrator.documents.text import counted, visible
from orchestrator.errors import CallError, ConfigError, Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server, load_config
from orchestrator.servers.lockfile import NEWER, Lockfile, ToolDifference, lock_command, lock_path
from orchestrator.servers.problems import unknown_server

FAILED, WRONG = 1, 2
MAX_NAMES = 10
KINDS = ("changed", "added", "removed")

Servers = Mapping[str, Server]


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the servers that were asked list, and why the others of them do not."""

    listed: Lockfile
    failures: Sequence[CallError]


@dataclass(frozen=True, slots=True)
class _Found:
    """What is different from the lock file: in tools, and the servers that are new or gone."""

    tools: Sequence[ToolDifference]
    new: Sequence[str]
    gone: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.tools or self.new or self.gone)

    def __str__(self) -> str:
        kinds = Counter[str](difference.kind for difference in self.tools)
        told = [f"{counted(kinds[kind], 'tool')} {kind}" for kind in KINDS if kinds[kind]]
        servers = (("added", self.new), ("removed", self.gone))
        told += [f"{counted(len(names), 'server')} {how}" for how, names in servers if names]
        return ", ".join(told)


def lock_servers(options: argparse.Namespace, servers_file: Path) -> int:
    """Do what the options say, and give the exit code."""
    servers, path = load_config(servers_file), lock_path(servers_file)
    names = _names(options, servers)
    before, broken = _before(options, servers_file)
    answers = _ask(servers, names)
    for failure in answers.failures:
        complain(failure)
    if before is None:
        return _write_first(servers, path, answers, broken)
    found = _compare(before, answers.listed, servers, of_all=not options.server)
    _show(found, before, answers.listed)
    if found and not options.update:
        accept = lock_command(str(servers_file), "--update", *options.server)
        print(f"{path}: {found}; nothing was written; accept it with: {accept}")
        return FAILED if answers.failures else WRONG
    kept = {name: before.definitions[name] for name in before.definitions if name not in found.gone}
    after = Lockfile({**kept, **answers.listed.definitions})
    if found:
        _save(after, path, servers)
        print(f"{path}: {found}, accepted: {after.counted()}")
    else:
        print(f"{path}: {_unchanged(servers, answers.listed)}")
    return FAILED if answers.failures else 0


def _names(options: argparse.Namespace, servers: Servers) -> list[str]:
    """The servers to ask: those that are named, or all."""
    problems = [unknown_server(name, servers) for name in options.server if name not in servers]
    if problems:
        raise ConfigError("servers", problems)
    return list(dict.fromkeys(options.server)) or list(servers)


def _before(options: argparse.Namespace, servers_file: Path) -> tuple[Lockfile | None, str]:
    """The lock as it is; None if there is none, or one that is to be written anew as a whole.

    Of that one, what is wrong with it.
    """
    try:
        before = Lockfile.beside(servers_file)
    except WorkflowError as error:
        newer = any(problem.hint == NEWER for problem in error.problems)
        if not options.update or options.server or newer:
            raise
        more = f"; and {len(error.problems) - 1:,} more" if len(error.problems) > 1 else ""
        first = error.problems[0]
        return None, f"{first.path}: {first.message}{more}".removeprefix(": ")
    if before is None and options.check:
        hint = f"write it with: {lock_command(str(servers_file))}"
        problem = Problem("unreadable_file", "there is no lock file", hint=hint)
        raise WorkflowError(str(lock_path(servers_file)), [problem])
    return before, ""


def _ask(servers: Servers, names: Sequence[str]) -> _Answers:
    """Start these servers, all at once, and ask for all their tools."""

    async def ask() -> _Answers:
        tools: list[Tool] = []
        async with Orchestrator(servers) as orchestrator:

            async def list_tools(name: str) -> None:
                tools.extend(await orchestrator.tools(name, denied=True))

            async with anyio.create_task_group() as group:
                for name in names:
                    group.start_soon(partial(list_tools, name))
            failed = {name: orchestrator.failure(name) for name in names}
        ready = [name for name in names if failed[name] is None]
        failures = [failure for failure in failed.values() if failure is not None]
        return _Answers(Lockfile.made_of(tools, ready), failures)

    say_asking()
    return in_event_loop(ask)


def _write_first(servers: Servers, path: Path, answers: _Answers, broken: str) -> int:
    """Write the file as a whole; `broken` is why one that was there could not be read."""
    was = f"was unreadable ({visible(broken)})" if broken else ""
    if answers.failures:
        what = f"{was}, and nothing was written" if was else "nothing was written"
        print(f"{path}: {what}: not every server could be asked")
        return FAILED
    _save(answers.listed, path, servers)
    written = f"{was}, written anew" if was else "written"
    print(f"{path}: {written}: {answers.listed.counted()}")
    return 0


def _compare(before: Lockfile, listed: Lockfile, servers: Servers, *, of_all: bool) -> _Found:
    """What is different; which servers are gone is asked only where all of them are meant."""
    both = [name for name in listed.definitions if name in before]
    tools = [
        difference
        for name in both
        for difference in before.differences(name, listed.of(name).values(), servers[name].redact)
    ]
    new = [name for name in listed.definitions if name not in before]
    gone = [name for name in before.definitions if of_all and name not in servers]
    return _Found(tools, new, gone)


def _unchanged(servers: Servers, listed: Lockfile) -> str:
    """That nothing has changed, of those who were asked and did answer."""
    if len(listed.definitions) == len(servers):
        return f"nothing has changed: {listed.counted()}"
    asked = list(listed.definitions)
    if not asked:
        return "no server could be asked"
    names = ", ".join(asked[:MAX_NAMES]) + (", ..." if len(asked) > MAX_NAMES else "")
    return f"nothing has changed in {names} ({len(asked):,} of {len(servers):,} servers asked)"


def _show(found: _Found, before: Lockfile, listed: Lockfile) -> None:
    """Everything that is different, on stdout."""
    for difference in found.tools:
        print("\n".join([*difference.lines(), ""]))
    for name in found.new:
        print(f"{name}: a new server{_with_tools(listed.definitions[name])}\n")
    for name in found.gone:
        print(f"{visible(name)}: gone{_with_tools(before.definitions[name])}\n")


def _with_tools(tools: Mapping[str, object]) -> str:
    shown = ", ".join(visible(name) for name in list(tools)[:MAX_NAMES])
    more = ", ..." if len(tools) > MAX_NAMES else ""
    return f", {counted(len(tools), 'tool')}: {shown}{more}" if tools else ", no tools"


def _save(lock: Lockfile, path: Path, servers: Servers) -> None:
    try:
        lock.save(path)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(str(path), [Problem("unwritable_file", message)]) from None
    for target in _with_secrets(lock, servers):
        message = f"the definition of {visible(target)} holds what came from a variable or a header"
        print(f"orchestrator: warning: {message}, and {path} has it too", file=sys.stderr)


def _with_secrets(lock: Lockfile, servers: Servers) -> Iterator[str]:
    for server, tools in lock.definitions.items():
        for name, definition in tools.items():
            if server in servers and servers[server].redact(definition) != definition:
                yield f"{server}:{name}"
