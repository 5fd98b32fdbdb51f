"""`orchestrator runs`, and where the journal is. It imports little, so that a list is instant."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.streams import write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, read_servers
from orchestrator.documents.text import duration
from orchestrator.journal import history
from orchestrator.journal.history import KnownRun

if TYPE_CHECKING:
    from orchestrator.servers.config import JournalTable

VARIABLE = "ORCHESTRATOR_JOURNAL"
MB = 1_000_000


def path_of(options: argparse.Namespace, table: JournalTable | None) -> Path:
    """The file: what the command line names, the environment, servers.toml, the user's own."""
    if options.journal is not None:
        return Path(options.journal)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if table is not None and table.path is not None:
        return (options.servers or DEFAULT_SERVERS).parent / Path(table.path).expanduser()
    import platformdirs

    return platformdirs.user_state_path("orchestrator", appauthor=False) / "runs.db"


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
    found = history.runs(
        path, status=options.status, workflow=options.workflow, limit=options.limit
    )
    if options.json:
        write_json([run.to_dict() for run in found])
        return 0
    from orchestrator.cli.rows import print_rows

    columns = ("run", "workflow", "status", "started", "took", "resumed")
    print_rows(columns, map(_row, found))
    print(f"{path}: {path.stat().st_size / MB:,.1f} MB", file=sys.stderr)
    return 0


def _row(run: KnownRun) -> tuple[str, ...]:
    took = "" if run.duration_ms is None else duration(run.duration_ms)
    resumed = f"{run.resumed}x" if run.resumed else ""
    if run.origin is not None:
        resumed = f"{resumed} {run.kind} of {run.origin}".strip()
    return run.id, run.workflow, run.status, _time(run.started), took, resumed


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
