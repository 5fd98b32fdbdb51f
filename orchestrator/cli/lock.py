"""`orchestrator lock`: writes the tools of the servers to a file, or compares them with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli import FAILED, WRONG
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.impact import check_directory, show_impact
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, list_tools, named_servers, read_servers
from orchestrator.documents.text import counted, listed, visible
from orchestrator.errors import CallError, Problem, WorkflowError
from orchestrator.schema.tool_diff import ToolDifference
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import NEWER, Lockfile, lock_command, lock_path
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.problems import unpinned_package

MAX_NAMES = 10

ServersByName = Mapping[str, Server]


@dataclass(frozen=True, slots=True)
class _Differences:
    """What differs from the lock file: tools and servers."""

    tools: Sequence[ToolDifference]
    added: Sequence[str]
    removed: Sequence[str]
    moved: Sequence[str]  # whose command or URL is another one
    updated: Sequence[str]  # that say another version

    def to_dict(self) -> dict[str, dict[str, list[str]]]:
        """The names of what differs, by kind."""
        tools: dict[str, list[str]] = {kind: [] for kind in ("changed", "added", "removed")}
        for difference in self.tools:
            tools[difference.kind].append(difference.target)
        servers = {"changed": self.moved, "updated": self.updated}
        servers |= {"added": self.added, "removed": self.removed}
        return {"tools": tools, "servers": {kind: list(names) for kind, names in servers.items()}}

    def __str__(self) -> str:
        found = self.to_dict()
        counts = [
            (what.removesuffix("s"), kind, len(names))
            for what in found
            for kind, names in found[what].items()
        ]
        return ", ".join(f"{counted(count, what)} {kind}" for what, kind, count in counts if count)


def lock(options: argparse.Namespace) -> int:
    """`orchestrator lock`. A file changes only with `--update`, and every difference is shown."""
    told: dict[str, Any] = {}
    if not options.json:
        return _lock(options, told)
    with redirect_stdout(sys.stderr):
        code = _lock(options, told)
    write_json(told)
    return code


def _lock(options: argparse.Namespace, told: dict[str, Any]) -> int:
    """Do what `lock` does, and fill in what it tells programs."""
    servers_file = options.servers or DEFAULT_SERVERS
    servers, path = read_servers(options), lock_path(servers_file)
    wanted = named_servers(options, servers)
    check_directory(options.workflows)
    before, broken = _before(options, servers_file)
    asked, failures = _asked(wanted)
    told |= {"file": str(path), "failed": list(failures), "written": False}
    if before is None:
        was = f"was unreadable ({visible(broken)}), " if broken else ""
        if failures:  # a file without some servers would refuse their tools
            write(f"{path}: {was}nothing was written: not every server answered")
            return FAILED
        _save(asked, path, servers)
        told["written"] = True
        write(f"{path}: {was}{'rewritten' if broken else 'written'}: {asked.counted()}")
        return 0
    found = _compare(before, asked, servers, of_all=not options.server)
    told |= found.to_dict()
    _show(found, before, asked)
    after = _joined(before, asked, found.removed)
    if options.workflows is not None and str(found):
        told["workflows"] = show_impact(options.workflows, servers, before, after)
    if not str(found):  # no count to show
        if options.update and after.to_json() != before.to_json():
            _save(after, path, servers)  # the versions of a file that had none
            told["written"] = True
        write(f"{path}: {_no_changes(servers, asked)}")
    elif not options.update:
        accept = lock_command(str(servers_file), "--update", *options.server)
        write(f"{path}: {found}; nothing was written; accept with: {accept}")
        return FAILED if failures else WRONG
    else:
        _save(after, path, servers)
        told["written"] = True
        write(f"{path}: {found}, accepted: {after.counted()}")
    return FAILED if failures else 0


def _asked(wanted: ServersByName) -> tuple[Lockfile, Mapping[str, CallError]]:
    """What the servers list now, and why some do not; says which may be another one tomorrow."""
    pool = ServerPool(wanted)
    tools, failures = list_tools(pool, denied=True)
    for failure in failures.values():
        complain(failure)
    for problem in filter(None, map(unpinned_package, wanted.values())):
        complain(f"warning: {problem}")
    answered = {name: of.description for name, of in wanted.items() if name not in failures}
    return Lockfile.made_of(tools, answered, answered, pool.catalog.versions), failures


def _joined(before: Lockfile, asked: Lockfile, removed: Sequence[str]) -> Lockfile:
    """The lock file with what was asked in place of what it had."""
    kept = {name: of for name, of in before.definitions.items() if name not in removed}
    return Lockfile(
        {**kept, **asked.definitions},
        {**before.started_with, **asked.started_with},
        {**before.versions, **asked.versions},
    )


def _before(options: argparse.Namespace, servers_file: Path) -> tuple[Lockfile | None, str]:
    """The lock file, or None; and what is wrong with it if `--update` replaces a broken one."""
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


def _compare(
    before: Lockfile, asked: Lockfile, servers: ServersByName, *, of_all: bool
) -> _Differences:
    """What differs; a server counts as removed only if all servers are compared."""
    tools = [
        difference
        for name in asked.definitions
        if name in before
        for difference in before.differences(name, asked.of(name).values(), servers[name].redact)
    ]
    added = [name for name in asked.definitions if name not in before]
    removed = [name for name in before.definitions if of_all and name not in servers]
    moved = [name for name, now in asked.started_with.items() if before.moved_from(name, now)]
    known = before.versions
    updated = [name for name, now in asked.versions.items() if known.get(name, now) != now]
    return _Differences(tools, added, removed, moved, updated)


def _no_changes(servers: ServersByName, asked: Lockfile) -> str:
    names = list(asked.definitions)
    if len(names) == len(servers):
        return f"nothing has changed: {asked.counted()}"
    if not names:
        return "no server answered"
    of_all = f"{len(names):,} of {len(servers):,} servers asked"
    return f"nothing has changed in {listed(names, MAX_NAMES)} ({of_all})"


def _show(found: _Differences, before: Lockfile, asked: Lockfile) -> None:
    for difference in found.tools:
        write("\n".join([*difference.lines(), ""]))
    for name in found.moved:
        was, now = before.started_with[name], asked.started_with[name]
        write(f"{visible(name)}: server changed\n  - {visible(was)}\n  + {visible(now)}\n")
    for name in found.updated:
        was, now = before.versions[name], asked.versions[name]
        write(f"{visible(name)}: server updated\n  - {visible(was)}\n  + {visible(now)}\n")
    for file, names, kind in ((asked, found.added, "added"), (before, found.removed, "removed")):
        for name in names:
            tools = [visible(tool) for tool in file.definitions[name]]
            shown = f"{counted(len(tools), 'tool')}: {listed(tools, MAX_NAMES)}"
            write(f"{visible(name)}: server {kind}, {shown if tools else 'no tools'}\n")


def _save(saved: Lockfile, path: Path, servers: ServersByName) -> None:
    try:
        saved.save(path)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(str(path), [Problem("unwritable_file", message)]) from None
    for server, tools in saved.definitions.items():
        for name, definition in tools.items():
            if server in servers and servers[server].redact(definition) != definition:
                message = f"{path} and the definition of {visible(f'{server}:{name}')} contain"
                complain(f"warning: {message} a value from a variable or a header")
