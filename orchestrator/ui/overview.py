"""The list of runs: found, and with how far each of them has come that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.journal import history
from orchestrator.journal.history import RUNNING, KnownRun, reading
from orchestrator.ui.view import files_of, stamp

PAGE = 50
MAX_PAGE = 500
_PROGRESS = """select json_array_length(request, '$.workflow.tasks')
    + coalesce(json_array_length(request, '$.workflow.finally'), 0),
    (select count(*) from record where run=id and kind='task' and instr(path, '/')=0)
    from run where id=?"""


def listed(
    journal: Path, *, status: str = "", workflow: str = "", text: str = "", before: str = ""
) -> dict[str, Any]:
    """A page of the runs; `next` is the run before which the next page begins.

    Raises:
        JournalError: The journal cannot be read.
    """
    if not journal.exists():  # it is made by the first run
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


def sign(journal: Path) -> object:
    """What changes whenever the list may have changed."""
    carried = journal.with_name(f"{journal.name}.runs")  # a run that is killed writes nothing
    return *map(stamp, files_of(journal)), stamp(carried)


def _row(journal: Path, run: KnownRun) -> dict[str, Any]:
    row = run.to_dict()
    if run.status == RUNNING:
        with reading(journal) as db:
            total, settled = db.execute(_PROGRESS, (run.id,)).fetchone()
        row["progress"] = [settled, max(total, settled)]
    return row
