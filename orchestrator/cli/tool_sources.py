"""Where `validate` and `plan` get the tools of a workflow: from the lock file or the servers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import say_asking
from orchestrator.errors import ConfigError, Problem

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile
    from orchestrator.workflow.model import Workflow

DEFAULT_SERVERS = Path("servers.toml")


@dataclass(frozen=True, slots=True)
class KnownTools:
    """What is known of the tools of a workflow.

    Attributes:
        findings: The findings in the workflow.
        tools: The known tools, by `server:tool`.
        servers: The settings of the servers, by name; empty if they are unknown.
    """

    findings: list[Problem] = field(default_factory=list)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    servers: Mapping[str, Server] = field(default_factory=dict)


def known_of(options: argparse.Namespace, workflow: Workflow) -> KnownTools:
    """What is known of a workflow's tools; calls none of them.

    Raises:
        ConfigError: The servers' file is wrong, and is needed or was named.
        WorkflowError: The lock file is wrong.
    """
    from orchestrator.preflight import findings, unknown_servers

    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return KnownTools([_unchecked(f"there is no {path}"), *findings(workflow, {}, {})])
    servers = _servers(options, path)
    lock = lock_of(options)
    if lock is None and not options.offline:
        return _asked(workflow, servers)
    # A configuration that could not be read offline makes no server unknown.
    unknown = unknown_servers(workflow, servers) if servers else []
    if lock is None:
        unchecked = _unchecked("--offline, and there is no lock file")
        return KnownTools([unchecked, *unknown, *findings(workflow, servers, {})], servers=servers)
    known = _locked(workflow, servers, lock)
    return replace(known, findings=[*unknown, *known.findings])


def _unchecked(why: str) -> Problem:
    return Problem("tools_not_checked", f"tools were not checked ({why})", severity="note")


def check_servers(options: argparse.Namespace) -> None:
    """Raise `ConfigError` if the servers' file is wrong, and is needed or was named."""
    path = options.servers or DEFAULT_SERVERS
    if options.servers is not None or path.exists():
        _servers(options, path)


def lock_of(options: argparse.Namespace) -> Lockfile | None:
    """The lock file beside the servers' file; None if there is none, or with `--no-lock`."""
    if options.no_lock:
        return None
    from orchestrator.servers.lockfile import Lockfile

    return Lockfile.beside(options.servers or DEFAULT_SERVERS)


def _servers(options: argparse.Namespace, path: Path) -> dict[str, Server]:
    """The settings of the servers. Offline, a wrong file matters only if it was named."""
    from orchestrator.servers.config import load_config

    try:
        return load_config(path)
    except ConfigError:
        if options.servers is not None or not options.offline:
            raise
        return {}


def _locked(workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile) -> KnownTools:
    from orchestrator.preflight import allowed_tools, check_against

    named = [name for name in workflow.plan.servers if name in servers and name in lock]
    tools = allowed_tools(servers, {name: lock.of(name) for name in named})
    return KnownTools(check_against(workflow, servers, lock), tools, servers)


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
