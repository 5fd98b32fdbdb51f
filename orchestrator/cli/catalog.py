"""`orchestrator tools` and `orchestrator catalog`: the tools of the servers."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.pool import pool_of
from orchestrator.cli.streams import json_text, write, write_json
from orchestrator.cli.tool_sources import list_tools, lock_of, named_servers, read_servers
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.notation import tool_text
from orchestrator.schema.tool import NEEDS_TASK, NO_TASKS

if TYPE_CHECKING:
    from orchestrator.errors import CallError
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile

MAX_LISTED = 10


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    targets = [name for name in options.server if ":" in name]
    options.server = [name.partition(":")[0] for name in options.server]
    found, failures = _tools_and_failures(options)
    if targets:
        found = _named(targets, found, {str(each.error.details.get("server")) for each in failures})
    if options.names:
        write("".join(f"{tool.target}\n" for tool in found), end="")
    elif targets and not options.json:
        write("\n".join(map(_in_full, found)), end="")
    elif options.json:
        write_json([_tool_document(tool) for tool in found])
    else:
        from orchestrator.cli.tables import print_tools

        print_tools(found)
    return _exit_code(failures)


def _named(targets: Sequence[str], found: Sequence[Tool], down: Collection[str]) -> list[Tool]:
    """The tools that are named; those of a server that did not start are missing.

    Raises:
        WorkflowError: A server that started does not have one, or it is not allowed.
    """
    known = {tool.target: tool for tool in found}
    problems = []
    for target in targets:
        if target not in known and target.partition(":")[0] not in down:
            near = nearest(target, known)
            problems.append(
                Problem("unknown_tool", f"unknown tool {quoted(target)}", "", None, near)
            )
    if problems:
        raise WorkflowError("usage", problems)
    return [known[target] for target in targets if target in known]


_NEEDS = {
    NEEDS_TASK: "a task of MCP, as which it is called",
    NO_TASKS: "a task of MCP, which its server does not offer: it cannot be called",
}


def _in_full(tool: Tool) -> str:
    """All that a server says of a tool."""
    shown = _tool_document(tool)
    effects = [hint for hint, holds in shown["annotations"].items() if holds]
    lines = [tool_text(tool), *filter(None, (tool.title, tool.description.strip()))]
    lines.append(f"effects: {', '.join(effects) or 'not declared'}")
    if tool.tasks:
        lines.append(f"needs: {_NEEDS[tool.tasks]}")
    for name in ("input_schema", "output_schema"):
        schema = shown[name]
        text = "not declared" if schema is None else json_text(schema, 2)
        lines.append(f"{name.replace('_', ' ')}: {text}")
    return "\n".join(f"{line}\n" for line in lines)


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

    servers = read_servers(options)
    wanted = named_servers(options, servers)
    locked = {name: lock.of(name) for name in wanted if lock is not None and name in lock}
    known = list(allowed_tools(servers, locked).values())
    # Starting a server costs a second; what the lock has is known without.
    unlocked = {name: server for name, server in wanted.items() if name not in locked}
    asked, failures = list_tools(pool_of(options, unlocked, None)) if unlocked else ([], {})
    shown = [_redacted(tool, servers[tool.server]) for tool in (*known, *asked)]
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
        "tasks": tool.tasks or None,
    }
