"""`orchestrator tools` and `orchestrator catalog`: the tools of the servers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain, say_asking
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, lock_of
from orchestrator.documents.encode import to_json
from orchestrator.errors import ConfigError, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    found, failures = _tools_and_failures(options)
    if options.json:
        print(to_json([tool_document(tool) for tool in found], indent=2))
    else:
        from orchestrator.cli.tables import print_tools

        print_tools(found)
    return _exit_code(failures)


def catalog(options: argparse.Namespace) -> int:
    """`orchestrator catalog`."""
    from orchestrator.report.prompt import catalog_document, catalog_text

    found, failures = _tools_and_failures(options, lock_of(options))
    if options.json:
        print(to_json(catalog_document(found, guide=options.guide), indent=2))
    else:
        print(catalog_text(found, guide=options.guide), end="")
    return _exit_code(failures)


def _exit_code(failures: Iterable[OrchestratorError]) -> int:
    for failure in failures:
        complain(failure)
    return 1 if failures else 0


def _tools_and_failures(
    options: argparse.Namespace, lock: Lockfile | None = None
) -> tuple[list[Tool], list[OrchestratorError]]:
    """The tools of the servers that are named, or of all, and why some servers have none.

    Servers in the lock are not started.

    Raises:
        ConfigError: A named server does not exist; with all such names.
    """
    from orchestrator.preflight import allowed_tools
    from orchestrator.servers.config import load_config
    from orchestrator.servers.problems import unknown_server

    servers = load_config(options.servers or DEFAULT_SERVERS)
    names = list(dict.fromkeys(options.server)) or list(servers)
    if problems := [unknown_server(name, servers) for name in names if name not in servers]:
        raise ConfigError("servers", problems)
    locked = {name: lock.of(name) for name in names if lock is not None and name in lock}
    known = list(allowed_tools(servers, locked).values())
    # Starting a server costs a second; what the lock has is known without.
    wanted = {name: servers[name] for name in names if name not in locked}
    if not wanted:
        return known, []
    listed, failures = _list_tools(wanted)
    return [*known, *listed], failures


def _list_tools(servers: Mapping[str, Server]) -> tuple[Sequence[Tool], list[OrchestratorError]]:
    """Start these servers and list their tools."""
    say_asking()  # before the imports: loading the SDK takes most of the time
    from orchestrator.cli.run import in_event_loop
    from orchestrator.client import Orchestrator

    async def ask() -> tuple[Sequence[Tool], list[OrchestratorError]]:
        async with Orchestrator(servers) as orchestrator:
            tools = await orchestrator.tools()
            failures = map(orchestrator.failure, servers)
            return tools, [failure for failure in failures if failure is not None]

    return in_event_loop(ask)


def tool_document(tool: Tool) -> dict[str, Any]:
    """A tool as a JSON object."""
    return {
        "tool": tool.target,
        "title": tool.title,
        "description": tool.description,
        "input_schema": dict(tool.input_schema),
        "output_schema": dict(tool.output_schema) if tool.output_schema else None,
        "annotations": {
            "read_only": tool.read_only,
            "idempotent": tool.idempotent,
            "destructive": tool.destructive,
            "open_world": tool.open_world,
        },
    }
