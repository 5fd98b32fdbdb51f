"""Where commands get tools from: the lock file, or the servers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import say_asking
from orchestrator.errors import CallError, ConfigError, Problem

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile
    from orchestrator.workflow.model import Workflow

DEFAULT_SERVERS = Path("servers.toml")


@dataclass(frozen=True, slots=True)
class KnownTools:
    """What is known of the tools of a workflow."""

    findings: list[Problem]  # in the workflow
    tools: Mapping[str, Tool] = field(default_factory=dict)  # by `server:tool`
    servers: Mapping[str, Server] = field(default_factory=dict)  # empty if they are unknown


def known_of(options: argparse.Namespace, workflow: Workflow) -> KnownTools:
    """What is known of a workflow's tools; calls none of them.

    Raises:
        ConfigError: The servers' file is wrong, and is needed or was named.
        WorkflowError: The lock file is wrong.
    """
    from orchestrator.preflight import allowed_tools, check_against, findings, unknown_servers

    servers = configured_servers(options)
    if servers is None:
        unchecked = _unchecked(f"there is no {DEFAULT_SERVERS}")
        return KnownTools([unchecked, *findings(workflow, {}, {})])
    lock = lock_of(options)
    if lock is None and not options.offline:
        return _asked(workflow, servers)
    # A configuration that could not be read offline makes no server unknown.
    unknown = unknown_servers(workflow, servers) if servers else []
    if lock is None:
        unchecked = _unchecked("--offline, and there is no lock file")
        return KnownTools([unchecked, *unknown, *findings(workflow, servers, {})], {}, servers)
    named = [name for name in workflow.plan.servers if name in servers and name in lock]
    tools = allowed_tools(servers, {name: lock.of(name) for name in named})
    return KnownTools([*unknown, *check_against(workflow, servers, lock)], tools, servers)


def _unchecked(why: str) -> Problem:
    return Problem("tools_not_checked", f"tools were not checked ({why})", severity="note")


def configured_servers(options: argparse.Namespace) -> dict[str, Server] | None:
    """The settings of the servers; None if there is no file.

    Raises:
        ConfigError: The file is wrong. Offline, that matters only if it was named.
    """
    from orchestrator.servers.config import load_config

    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return None
    try:
        return load_config(path)
    except ConfigError:
        if options.servers is not None or not options.offline:
            raise
        return {}


def lock_of(options: argparse.Namespace) -> Lockfile | None:
    """The lock file beside the servers' file; None if there is none, or with `--no-lock`."""
    if options.no_lock:
        return None
    from orchestrator.servers.lockfile import Lockfile

    return Lockfile.beside(options.servers or DEFAULT_SERVERS)


def _asked(workflow: Workflow, servers: Mapping[str, Server]) -> KnownTools:
    say_asking()  # before the imports: loading the SDK takes most of the time
    from orchestrator.cli.run import in_event_loop
    from orchestrator.client import Orchestrator

    async def ask() -> KnownTools:
        async with Orchestrator(servers) as orchestrator:
            found = await orchestrator.findings(workflow)
            named = [name for name in workflow.plan.servers if name in servers]
            tools = [tool for name in named for tool in await orchestrator.tools(name)]
            return KnownTools(found, {tool.target: tool for tool in tools}, servers)

    return in_event_loop(ask)


def named_servers(options: argparse.Namespace, servers: Mapping[str, Server]) -> dict[str, Server]:
    """The servers that the command line names; all of them if it names none.

    Raises:
        ConfigError: A server does not exist; with all such names.
    """
    from orchestrator.servers.problems import unknown_server

    names = list(dict.fromkeys(options.server)) or list(servers)
    if problems := [unknown_server(name, servers) for name in names if name not in servers]:
        raise ConfigError("servers", problems)
    return {name: servers[name] for name in names}


def list_tools(
    servers: Mapping[str, Server], *, denied: bool = False
) -> tuple[list[Tool], dict[str, CallError]]:
    """Start servers and list their tools; and why some servers have none, by server."""
    say_asking()
    from orchestrator.cli.run import in_event_loop
    from orchestrator.client import Orchestrator

    async def ask() -> tuple[list[Tool], dict[str, CallError]]:
        async with Orchestrator(servers) as orchestrator:
            tools = await orchestrator.tools(denied=denied)
            failures = {name: orchestrator.failure(name) for name in servers}
            return tools, {name: failure for name, failure in failures.items() if failure}

    return in_event_loop(ask)
