"""`orchestrator tools` and `orchestrator catalog`: the tools of the servers."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.streams import conceal, write, write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, list_tools, lock_of, named_servers

if TYPE_CHECKING:
    from orchestrator.errors import CallError
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    found, failures = _tools_and_failures(options)
    if options.json:
        write_json([_tool_document(tool) for tool in found])
    else:
        from orchestrator.cli.tables import print_tools

        print_tools(found)
    return _exit_code(failures)


def catalog(options: argparse.Namespace) -> int:
    """`orchestrator catalog`."""
    from orchestrator.report.prompt import catalog_document, catalog_text

    found, failures = _tools_and_failures(options, lock_of(options))
    if options.json:
        write_json(catalog_document(found, guide=options.guide))
    else:
        write(catalog_text(found, guide=options.guide), end="")
    return _exit_code(failures)


def _tools_and_failures(
    options: argparse.Namespace, lock: Lockfile | None = None
) -> tuple[list[Tool], Collection[CallError]]:
    """The tools of the servers that are named, or of all, and why some servers have none."""
    from orchestrator.preflight import allowed_tools
    from orchestrator.servers.config_file import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)
    conceal(servers)
    wanted = named_servers(options, servers)
    locked = {name: lock.of(name) for name in wanted if lock is not None and name in lock}
    known = list(allowed_tools(servers, locked).values())
    # Starting a server costs a second; what the lock has is known without.
    unlocked = {name: server for name, server in wanted.items() if name not in locked}
    listed, failures = list_tools(unlocked) if unlocked else ([], {})
    shown = [_redacted(tool, servers[tool.server]) for tool in (*known, *listed)]
    return shown, failures.values()


def _redacted(tool: Tool, server: Server) -> Tool:
    """A tool as it may be shown: its server may have put its own secrets into what it says."""
    said = ("title", "description", "input_schema", "output_schema")
    return replace(tool, **{field: server.redact(getattr(tool, field)) for field in said})


def _exit_code(failures: Collection[CallError]) -> int:
    for failure in failures:
        complain(failure)
    return 1 if failures else 0


def _tool_document(tool: Tool) -> dict[str, Any]:
    hints = ("read_only", "idempotent", "destructive", "open_world")
    return {
        "tool": tool.target,
        "title": tool.title,
        "description": tool.description,
        "input_schema": dict(tool.input_schema),
        "output_schema": dict(tool.output_schema) if tool.output_schema else None,
        "annotations": {hint: getattr(tool, hint) for hint in hints},
    }
