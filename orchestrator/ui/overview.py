"""The list of runs: found, and with how far each of them has come that goes on."""

from __future__ import annotations

from typing import Any

from orchestrator.journal import history
from orchestrator.journal.history import RUNNING, KnownRun, reading
from orchestrator.journal.location import Location, store_of

PAGE = 50
MAX_PAGE = 500
_PROGRESS = """select {tasks} + coalesce({last}, 0),
    (select count(*) from record where run=id and kind='task' and instr(path, '/')=0)
    from run where id=?"""


def listed(
    journal: Location, *, status: str = "", workflow: str = "", text: str = "", before: str = ""
) -> dict[str, Any]:
    """A page of the runs; `next` is the run before which the next page begins.

    Raises:
        JournalError: The journal cannot be read.
    """
    if not store_of(journal).exists():  # it is made by the first run
        return {"runs": [], "next": None, "workflows": []}
    found = history.page(
        journal,
        status=status or None,
        workflow=workflow or None,
        text=text,
        before=before or None,
        limit=PAGE + 1,
    )
    shown = found[:PAGE]
    return {
        "runs": [_row(journal, run) for run in shown],
        "next": shown[-1].id if len(found) > PAGE else None,
        "workflows": [] if before else history.names(journal),
    }


def sign(journal: Location) -> object:
    """What changes whenever the list may have changed."""
    return store_of(journal).sign()


def _row(journal: Location, run: KnownRun) -> dict[str, Any]:
    row = run.to_dict()
    if run.status == RUNNING:
        with reading(journal) as db:
            tasks, last = (
                db.sql.array_length("request", "workflow", part) for part in ("tasks", "finally")
            )
            query = _PROGRESS.format(tasks=tasks, last=last)
            total, settled = db.execute(query, (run.id,)).fetchone()
        row["progress"] = [settled, max(total, settled)]
    return row
