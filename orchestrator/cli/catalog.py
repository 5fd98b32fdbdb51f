"""`orchestrator catalog`, and where the tools of the servers come from.

The rule of this file: `found_tools` is the one place that is asked for tools to be shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import complain, say_asking
from orchestrator.documents.encode import to_json
from orchestrator.errors import ConfigError, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile


def found_tools(
    servers: Mapping[str, Server], names: Sequence[str], lock: Lockfile | None = None
) -> tuple[list[Tool], list[OrchestratorError]]:
    """The tools of these servers, of all of them if none is named, and why some have none.

    Those that a lock has are taken from it; only the others are started.

    Raises:
        ConfigError: There is no such server; with all that there are not.
    """
    from orchestrator.servers.problems import unknown_server

    if problems := [unknown_server(name, servers) for name in names if name not in servers]:
        raise ConfigError("servers", problems)
    from orchestrator.preflight import allowed_tools

    chosen = list(dict.fromkeys(names or servers))
    locked = {name: lock.of(name) for name in chosen if lock is not None and name in lock}
    known = list(allowed_tools(servers, locked).values())
    wanted = {name: servers[name] for name in chosen if name not in locked}
    if not wanted:
        return known, []

    say_asking()
    from orchestrator.cli.run import in_event_loop
    from orchestrator.client import Orchestrator

    async def ask() -> tuple[list[Tool], list[OrchestratorError]]:
        async with Orchestrator(wanted) as orchestrator:
            tools = [*known, *await orchestrator.tools()]
            failures = map(orchestrator.failure, wanted)
            return tools, [failure for failure in failures if failure is not None]

    return in_event_loop(ask)


def catalog(options: argparse.Namespace) -> int:
    """`orchestrator catalog`."""
    from orchestrator.cli.tool_sources import DEFAULT_SERVERS, lock_of
    from orchestrator.report.prompt import catalog_document, catalog_text
    from orchestrator.servers.config import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)
    tools, failures = found_tools(servers, options.server, lock_of(options))
    if options.json:
        print(to_json(catalog_document(tools, guide=options.guide), indent=2))
    else:
        print(catalog_text(tools, guide=options.guide), end="")
    for failure in failures:
        complain(failure)
    return 1 if failures else 0
