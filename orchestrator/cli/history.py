"""`orchestrator runs`, and where the journal is. It imports little, so that a list is instant."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, read_servers
from orchestrator.cli.watch import watch
from orchestrator.documents.text import duration, seconds, visible
from orchestrator.errors import JournalError
from orchestrator.journal import history
from orchestrator.journal.history import KnownRun
from orchestrator.journal.location import Address, Location, location_of, store_of

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.journal.orders import Order
    from orchestrator.servers.config import JournalTable

VARIABLE = "ORCHESTRATOR_JOURNAL"
MB = 1_000_000
COLUMNS = ("run", "workflow", "status", "started", "took", "resumed")


def path_of(options: argparse.Namespace, table: JournalTable | None) -> Location:
    """Where it is: what the command line names, the environment, servers.toml, the user's own."""
    if options.journal is not None:
        return location_of(options.journal)
    if named := os.environ.get(VARIABLE):
        return location_of(named)
    if table is not None and table.path is not None:
        location = location_of(table.path)
        if isinstance(location, Address):
            return location
        return (options.servers or DEFAULT_SERVERS).parent / location.expanduser()
    import platformdirs

    return platformdirs.user_state_path("orchestrator", appauthor=False) / "runs.db"


def database_of(location: Location, what: str, option: str = "--database") -> Address:
    """The database that a journal is in; `what` needs one.

    Raises:
        JournalError: It is a file.
    """
    if not isinstance(location, Address):
        why = f"{what} a journal in PostgreSQL, and {location} is a file"
        raise JournalError(f"{why}: name one with {option} postgresql://USER@HOST/DATABASE")
    return location


def configured(options: argparse.Namespace) -> JournalTable | None:
    """What servers.toml says of the journal; None if it says nothing."""
    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return None
    with suppress(OSError, UnicodeError):  # which reading it as a whole tells
        if "journal" not in path.read_text(encoding="utf-8"):
            return None
    from orchestrator.servers.config import ServerTable

    servers = read_servers(options)
    return servers.journal if isinstance(servers, ServerTable) else None


def runs(options: argparse.Namespace) -> int:
    """`orchestrator runs`."""
    if options.action == "prune":
        from orchestrator.cli.journal import prune

        return prune(options)
    path = path_of(options, configured(options))
    if options.watch:
        return _watch(options, path)
    found = _found(options, path)
    start = worker_command(options)
    if options.json:
        orders = _orders(path, found)
        write_json([_document(path, run, orders.get(run.id), start) for run in found])
        return 0
    from orchestrator.cli.rows import new_console

    new_console().print(_table(found))
    for line in waiting(path, found, start):
        print(line, file=sys.stderr)
    print(size_of(path), file=sys.stderr)
    return 0


def worker_command(options: argparse.Namespace) -> str:
    """The command that starts a worker for the database that the options name."""
    from orchestrator.cluster.waiting import START

    if options.journal is None:
        return START
    return f"{START} --database {shlex.quote(str(location_of(options.journal)))}"


def waiting(journal: Location, runs: Sequence[KnownRun], start: str) -> list[str]:
    """Why those of these runs wait that no process carries, with what was asked of the queue.

    Equal reasons are one line.
    """
    from orchestrator.cluster.waiting import why
    from orchestrator.journal.asked import wants

    by_reason: dict[str, list[str]] = {}
    orders = _orders(journal, runs)
    for run in runs:
        if text := why(journal, run, start).text:
            asked = wants(replace(orders[run.id], due=0.0)) if run.id in orders else []
            text += f" ({', '.join(asked)})" if asked else ""
            by_reason.setdefault(text, []).append(run.id)
    return [
        f"{ids[0]}{f' and {len(ids) - 1:,} more wait' if ids[1:] else ' waits'}: {text}"
        for text, ids in by_reason.items()
    ]


def _document(journal: Location, run: KnownRun, order: Order | None, start: str) -> dict[str, Any]:
    """A run as JSON, with what was asked of the queue for it and why it waits."""
    from orchestrator.cluster.waiting import why

    more = {"order": order and order.to_dict(), "waits": why(journal, run, start).text}
    return run.to_dict() | {name: each for name, each in more.items() if each}


def size_of(journal: Location) -> str:
    """Where a journal is, and how large."""
    return f"{journal}: {store_of(journal).size() / MB:,.1f} MB"


def _found(options: argparse.Namespace, path: Location) -> list[KnownRun]:
    return history.runs(path, status=options.status, workflow=options.workflow, limit=options.limit)


def _watch(options: argparse.Namespace, path: Location) -> int:
    """Show the runs as they come and end, until an interrupt; each change is a line in a pipe."""
    known: dict[str, KnownRun] = {}

    def tell() -> None:
        for run in reversed(_found(options, path)):
            if known.get(run.id) != run:
                known[run.id] = run
                line = json.dumps(run.to_dict()) if options.json else "  ".join(row_of(run))
                write(visible(line).rstrip())

    return watch(lambda: _table(_found(options, path)), tell, in_lines=options.json)


def _table(runs: Sequence[KnownRun]) -> Table:
    """The runs; no cell takes two lines, and a column without anything is left out."""
    from orchestrator.cli.rows import cells, new_table

    rows = list(map(row_of, runs))
    shown = len(COLUMNS) if any(row[-1] for row in rows) else len(COLUMNS) - 1
    table = new_table(*COLUMNS[:shown])
    for column in table.columns[:1] + table.columns[2:5]:
        column.no_wrap = True
    table.columns[-1].ratio = 1 if shown == len(COLUMNS) else None
    for row in rows:
        table.add_row(*cells(row[:shown]))
    return table


def _orders(journal: Location, runs: Sequence[KnownRun]) -> dict[str, Order]:
    """What was asked of the queue for these runs, by their ids."""
    if not isinstance(journal, Address):
        return {}
    from orchestrator.journal.orders import asked_of

    return asked_of(journal, runs)


def row_of(run: KnownRun) -> tuple[str, ...]:
    """A run as `COLUMNS` show it."""
    took = "" if run.duration_ms is None else duration(run.duration_ms)
    if run.status == history.RUNNING:
        took = f"{seconds(max(0.0, time.time() - run.started))} so far"
    resumed = f"{run.resumed}x" if run.resumed else ""
    if run.origin is not None:
        resumed = f"{resumed} {run.kind} of {run.origin}".strip()
    return run.id, run.workflow, run.status, _time(run.started), took, resumed


def _time(moment: float) -> str:
    """Today the time, else the day: `runs` is about what happened lately."""
    at = datetime.fromtimestamp(moment).astimezone()
    is_today = at.date() == datetime.now(at.tzinfo).date()
    return at.strftime("%H:%M:%S" if is_today else "%Y-%m-%d")
