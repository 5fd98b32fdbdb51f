"""Where commands get tools from: the lock file, or the servers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import say_asking
from orchestrator.cli.streams import conceal
from orchestrator.daemon import where
from orchestrator.errors import CallError, ConfigError, Problem

if TYPE_CHECKING:
    from orchestrator.client import Orchestrator
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile
    from orchestrator.servers.pool import ServerPool
    from orchestrator.workflow.model import Workflow

DEFAULT_SERVERS = Path(where.DEFAULT_SERVERS)


@dataclass(frozen=True, slots=True)
class KnownTools:
    """What is known of the tools of a workflow."""

    findings: list[Problem]  # in the workflow
    tools: Mapping[str, Tool]  # by `server:tool`
    servers: Mapping[str, Server]  # empty if they are unknown


def known_of(options: argparse.Namespace, workflow: Workflow) -> KnownTools:
    """What is known of a workflow's tools; calls none of them."""
    return known_of_all(options, [workflow])[0]


def known_of_all(options: argparse.Namespace, workflows: Sequence[Workflow]) -> list[KnownTools]:
    """What is known of the tools of some workflows, whose servers are started once for all."""
    servers, lock = configured_servers(options), None
    why = f"there is no {DEFAULT_SERVERS}"
    if servers is not None:
        why = "--offline, and there is no lock file"
        lock = lock_of(options)
        if lock is None and not options.offline and workflows:
            return _asked(options, workflows, servers)
    if servers is None or lock is None:
        return [_unchecked(workflow, servers or {}, why) for workflow in workflows]
    return [_locked(workflow, servers, lock) for workflow in workflows]


def _unchecked(workflow: Workflow, servers: Mapping[str, Server], why: str) -> KnownTools:
    from orchestrator.preflight import findings, tool_problems, unknown_servers

    message = f"tools were not checked ({why})"
    unchecked = [Problem("tools_not_checked", message, severity="note")]
    # A configuration that could not be read offline makes no server unknown.
    unknown = unknown_servers(workflow, servers) if servers else []
    found = [*unknown, *tool_problems(workflow, servers, {}), *findings(workflow, servers, {})]
    return KnownTools([*(unchecked if workflow.plan.servers else ()), *found], {}, servers)


def _locked(workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile) -> KnownTools:
    from orchestrator.preflight import allowed_tools, check_against, unknown_servers

    unknown = unknown_servers(workflow, servers) if servers else []
    named = [name for name in workflow.plan.servers if name in servers and name in lock]
    tools = allowed_tools(servers, {name: lock.of(name) for name in named})
    return KnownTools([*unknown, *check_against(workflow, servers, lock)], tools, servers)


def read_servers(options: argparse.Namespace) -> dict[str, Server]:
    """The settings of the servers, whose secrets no output shows from now on."""
    from orchestrator.servers.config_file import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS, env_files=options.env_file)
    conceal(servers)
    return servers


def servers_for(options: argparse.Namespace, workflow: Workflow) -> dict[str, Server]:
    """The settings of the servers; none if there is no file, and the workflow names no server."""
    return read_servers(options) if workflow.plan.servers else servers_if_any(options)


def servers_if_any(options: argparse.Namespace) -> dict[str, Server]:
    """The settings of the servers; none if there is no file, and none was named."""
    if options.servers is None and not DEFAULT_SERVERS.exists():
        return {}
    return read_servers(options)


def configured_servers(options: argparse.Namespace) -> dict[str, Server] | None:
    """The settings of the servers; None if there is no file."""
    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return None
    try:
        return read_servers(options)
    except ConfigError:
        # Offline, a wrong file matters only if it was named.
        if options.servers is not None or not options.offline:
            raise
        return {}


def lock_of(options: argparse.Namespace) -> Lockfile | None:
    """The lock file beside the servers' file; None if there is none, or with `--no-lock`."""
    if options.no_lock:
        return None
    from orchestrator.servers.lockfile import Lockfile

    return Lockfile.beside(options.servers or DEFAULT_SERVERS)


def _asked(
    options: argparse.Namespace, workflows: Sequence[Workflow], servers: Mapping[str, Server]
) -> list[KnownTools]:
    say_asking()  # before the imports: loading the SDK takes most of the time
    import anyio

    from orchestrator.cli.pool import pool_of
    from orchestrator.cli.signals import with_servers

    async def ask(orchestrator: Orchestrator) -> list[KnownTools]:
        known: dict[int, KnownTools] = {}

        async def add(index: int, workflow: Workflow) -> None:
            known[index] = await known_by(orchestrator, workflow)

        async with anyio.create_task_group() as group:  # a server that several name starts once
            for index, workflow in enumerate(workflows):
                group.start_soon(add, index, workflow)
        return [known[index] for index in range(len(workflows))]

    async def known_by(orchestrator: Orchestrator, workflow: Workflow) -> KnownTools:
        found = await orchestrator.findings(workflow)
        named = [name for name in workflow.plan.servers if name in servers]
        # One that has failed would be started again.
        ready = [name for name in named if orchestrator.failure(name) is None]
        tools = [tool for name in ready for tool in await orchestrator.tools(name)]
        return KnownTools(found, {tool.target: tool for tool in tools}, servers)

    return with_servers(pool_of(options, servers, None), ask)


def named_servers(options: argparse.Namespace, servers: Mapping[str, Server]) -> dict[str, Server]:
    """The servers that the command line names; all of them if it names none."""
    from orchestrator.servers.problems import unknown_server

    names = list(dict.fromkeys(options.server)) or list(servers)
    if problems := [unknown_server(name, servers) for name in names if name not in servers]:
        raise ConfigError("servers", problems)
    return {name: servers[name] for name in names}


def list_tools(
    pool: ServerPool, *, denied: bool = False
) -> tuple[list[Tool], dict[str, CallError]]:
    """Start servers and list their tools; and why some servers have none, by server."""
    say_asking()
    from orchestrator.cli.signals import with_servers

    async def ask(orchestrator: Orchestrator) -> tuple[list[Tool], dict[str, CallError]]:
        tools = await orchestrator.tools(denied=denied)
        failures = {name: orchestrator.failure(name) for name in pool.servers}
        return tools, {name: failure for name, failure in failures.items() if failure}

    return with_servers(pool, ask)
