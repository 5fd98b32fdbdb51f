"""`orchestrator catalog`, and where the tools of the servers come from.

The rule of this file: `found_tools` is the one place that is asked for tools to be shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.encoding import to_json
from orchestrator.errors import ConfigError, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.calls import Tool
    from orchestrator.config import Server


def found_tools(
    servers: Mapping[str, Server], names: Sequence[str]
) -> tuple[list[Tool], list[OrchestratorError]]:
    """The tools of these servers, of all of them if none is named, and why some have none.

    Raises:
        ConfigError: There is no such server; with all that there are not.
    """
    from orchestrator.cli.running import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.planning import unknown_server

    if problems := [unknown_server(name, servers) for name in names if name not in servers]:
        raise ConfigError("servers", problems)
    wanted = {name: servers[name] for name in names or servers}

    async def ask() -> tuple[list[Tool], list[OrchestratorError]]:
        async with Orchestrator(wanted) as orchestrator:
            tools = await orchestrator.tools()
            failures = map(orchestrator.failure, wanted)
            return tools, [failure for failure in failures if failure is not None]

    return in_event_loop(ask)


def catalog(options: argparse.Namespace) -> int:
    """`orchestrator catalog`."""
    from orchestrator.briefing import catalog_document, catalog_text
    from orchestrator.cli.commands import DEFAULT_SERVERS
    from orchestrator.config import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)
    tools, failures = found_tools(servers, options.server)
    if options.json:
        print(to_json(catalog_document(tools, guide=options.guide), indent=2))
    else:
        print(catalog_text(tools, guide=options.guide), end="")
    for failure in failures:
        print(f"orchestrator: {failure}", file=sys.stderr)
    return 1 if failures else 0
