"""`orchestrator call`: one tool, resource or prompt."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.pool import pool_of
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import lock_of, read_servers
from orchestrator.cli.values import values_of
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import alternatives, quoted
from orchestrator.errors import CallError, InvalidArgumentsError, Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.client import Orchestrator
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.pool import ServerPool

MAX_SHOWN = 8  # proposed values of an argument


def call(options: argparse.Namespace) -> int:
    """`orchestrator call`."""
    from orchestrator.check.assignable import undeclared
    from orchestrator.cli.exporting import exporting
    from orchestrator.cli.signals import with_servers

    server, _, name = options.target.partition(":")
    if not server or not name:
        wanted = "uri" if options.read else "prompt" if options.prompt else "tool"
        message = f"expected server:{wanted}, got {quoted(options.target)}"
        raise WorkflowError("usage", [Problem("usage", message)])
    kind = "read " if options.read else "prompt " if options.prompt else ""
    known: list[Tool] = []
    values: dict[str, Any] = {}

    def arguments(tool: Tool) -> dict[str, Any]:
        # The schema decides whether `n=12` is a number or a string.
        given = values_of(options.arguments, partial(_schema_of, tool.input_schema))
        for message in undeclared(given, tool.input_schema):
            complain(f"warning: {tool.target}: {message}")
        known.append(tool)
        values.update(given)
        return given

    async def ask(orchestrator: Orchestrator) -> Any:
        target = f"{kind}{options.target}"
        try:
            return await orchestrator.call(target, arguments, options.timeout)
        except CallError as error:
            if kind and known and error.kind in ("invalid_arguments", "protocol_error"):
                raise await _with_values(error, orchestrator, target, known[0], values) from None
            raise

    with exporting():
        output = with_servers(_shared_pool(options), ask)
    if isinstance(output, str) and not options.json:
        write(output)
    else:
        write_json(output)
    return 0


def _shared_pool(options: argparse.Namespace) -> ServerPool:
    """The servers, with what grants their limits that all processes share, if they have any."""
    pool = pool_of(options, servers := read_servers(options), lock_of(options))
    if any(pool.unshared):
        from orchestrator.cli.journal import journal_path
        from orchestrator.durable import share

        share(pool, journal_path(options, servers))
    return pool


async def _with_values(
    error: CallError,
    orchestrator: Orchestrator,
    target: str,
    tool: Tool,
    given: Mapping[str, Any],
) -> CallError:
    """The error of a prompt or a resource, with the values that its server proposes."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    hints = []
    for name in tool.declared:
        others = {other: text for other, text in texts.items() if other != name}
        try:
            proposed = await orchestrator.complete(target, name, "", others)
        except CallError:  # the first error says more
            break
        if not proposed or texts.get(name) in proposed:
            continue
        shown = [quoted(value, 40) for value in proposed[:MAX_SHOWN]]
        more = [] if len(proposed) <= MAX_SHOWN else ["others"]
        near = nearest(texts[name], proposed)[:1] if name in texts else ()
        meant = f" (did you mean {quoted(near[0], 40)}?)" if near else ""
        hints.append(f"{name} can be {alternatives([*shown, *more])}{meant}")
    said = f"{error}. {'; '.join(hints)}" if hints else str(error)
    if isinstance(error, InvalidArgumentsError):
        return InvalidArgumentsError(said, **error.error.details)
    return CallError(error.kind, said, retryable=error.error.retryable, **error.error.details)


def _schema_of(schema: Mapping[str, Any], argument: str) -> Any:
    """The schema of one argument, with the definitions that it may refer to."""
    found = schema.get("properties", {}).get(argument)
    shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return {**shared, **found} if isinstance(found, dict) else found
