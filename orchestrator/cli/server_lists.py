"""`orchestrator servers`, `resources` and `prompts`: what the servers are and offer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.cli import FAILED
from orchestrator.cli.diagnostics import complain, say_asking
from orchestrator.cli.pool import pool_of
from orchestrator.cli.streams import write_json
from orchestrator.cli.tool_sources import named_servers, read_servers
from orchestrator.documents.text import duration, quoted
from orchestrator.errors import CallError

if TYPE_CHECKING:
    from orchestrator.auth.status import LoginStatus
    from orchestrator.client import Orchestrator
    from orchestrator.inspection import ServerState
    from orchestrator.servers.config import Server
    from orchestrator.servers.offers import Entry, Kind

Offered = dict["Kind", "list[Entry] | None"]
ARGUMENTS = "arguments"


def servers(options: argparse.Namespace) -> int:
    """`orchestrator servers`."""
    from orchestrator.cli.signals import with_servers
    from orchestrator.servers.config import ServerTable
    from orchestrator.servers.pool import ServerPool

    configured = read_servers(options)
    wanted = named_servers(options, configured)
    off = configured.off if isinstance(configured, ServerTable) and not options.server else {}
    say_asking()

    async def ask(orchestrator: Orchestrator) -> list[ServerState]:
        return await orchestrator.states()

    states = with_servers(ServerPool(wanted), ask)
    logins = {each.name: _login(wanted[each.name], each.failure) for each in states}
    documents = [_state(each, wanted[each.name], logins[each.name]) for each in states]
    documents += [{"server": name, "state": "disabled", "error": why} for name, why in off.items()]
    if options.json:
        write_json(documents)
    else:
        from orchestrator.cli.rows import print_rows

        columns = ["server", "state", "start", "protocol", "tools", "started with"]
        rows = [_row(document) for document in documents]
        if shown := {name: login.until for name, login in logins.items() if login is not None}:
            columns.insert(-1, "login")
            for row in rows:
                row.insert(-1, shown.get(row[0], ""))
        if any(document.get("trust") == "untrusted" for document in documents):
            columns.insert(-1, "trust")
            for row, document in zip(rows, documents, strict=True):
                is_marked = document.get("trust") == "untrusted"
                row.insert(-1, "untrusted" if is_marked else "")
        print_rows(columns, rows)
        for document in documents:
            if document["error"] is not None:
                complain(_sentence(document))
    return FAILED if any(each.failure for each in states) else 0


def _login(server: Server, failure: CallError | None) -> LoginStatus | None:
    """The login to a server; None if it needs none, as far as is known."""
    if not server.logs_in:
        return None
    from orchestrator.auth.status import LoginStatus
    from orchestrator.auth.store import LoginStore
    from orchestrator.auth.vaults import UnusableLoginError

    try:
        login = LoginStore().read(server.subject)
    except UnusableLoginError as error:
        return LoginStatus("logged_out", reason=f"its login cannot be used: {error}")
    wants = failure is not None and failure.error.details.get("login_required")
    if login is None and server.oauth is None and not wants:
        return None
    return LoginStatus.of(server.subject, login)


def _state(state: ServerState, server: Server, login: LoginStatus | None) -> dict[str, Any]:
    failure = state.failure
    return {
        "server": state.name,
        "state": "ready" if failure is None else "failed",
        "startup_ms": round(state.startup_ms, 1),
        "protocol": state.protocol or None,
        "tools": state.tools if failure is None else None,
        "login": None if login is None else login.to_dict(),
        "trust": server.trust,
        "started_with": server.description,
        "error": None if failure is None else str(failure),
    }


def _row(document: Mapping[str, Any]) -> list[str]:
    took = document.get("startup_ms")
    return [
        document["server"],
        document["state"],
        "" if took is None else duration(took),
        document.get("protocol") or "",
        "" if document.get("tools") is None else str(document["tools"]),
        document.get("started_with", ""),
    ]


def _sentence(document: Mapping[str, Any]) -> str:
    if document["state"] == "disabled":
        return f"server {quoted(document['server'])} is disabled: {document['error']}"
    return str(document["error"])


def resources(options: argparse.Namespace) -> int:
    """`orchestrator resources`."""
    return _list(options, ("resources", "resource_templates"), ("uri", "name", "type"))


def prompts(options: argparse.Namespace) -> int:
    """`orchestrator prompts`."""
    return _list(options, ("prompts",), ("prompt", ARGUMENTS))


def _list(options: argparse.Namespace, kinds: Sequence[Kind], columns: Sequence[str]) -> int:
    from orchestrator.cli.signals import with_servers

    wanted = named_servers(options, read_servers(options))
    say_asking()
    found: dict[str, Offered] = {}
    failures: dict[str, CallError] = {}

    async def add(orchestrator: Orchestrator, server: str) -> None:
        try:
            found[server] = {kind: await orchestrator.offered(server, kind) for kind in kinds}
        except CallError as error:
            failures[server] = error

    async def ask(orchestrator: Orchestrator) -> None:
        async with anyio.create_task_group() as group:
            for server in wanted:
                group.start_soon(add, orchestrator, server)

    with_servers(pool_of(options, wanted, None), ask)
    listed = {server: wanted[server].redact(found[server]) for server in wanted if server in found}
    if options.json:
        write_json([{"server": server, **offered} for server, offered in listed.items()])
    else:
        from orchestrator.cli.rows import print_rows

        rows = [
            _entry(server, entry, columns)
            for server, offered in listed.items()
            for entries in offered.values()
            for entry in entries or ()
        ]
        print_rows((*columns, "description"), rows)
        for server, offered in listed.items():
            if offered[kinds[0]] is None:
                complain(f"server {quoted(server)} has no {kinds[0]}")
    for error in failures.values():
        complain(error)
    return FAILED if failures else 0


def _entry(server: str, entry: Entry, columns: Sequence[str]) -> list[str]:
    name = str(entry.get("name", ""))
    known = {
        "uri": f"{server}:{entry.get('uri') or entry.get('uriTemplate', '')}",
        "name": str(entry.get("title") or name),
        "type": str(entry.get("mimeType", "")),
        "prompt": f"{server}:{name}",
        ARGUMENTS: ", ".join(
            f"{each.get('name')}{'' if each.get('required') else '?'}"
            for each in entry.get("arguments") or ()
        ),
    }
    first_line = str(entry.get("description", "")).strip().partition("\n")[0]
    return [*(known[column] for column in columns), first_line]
