"""What `show` and `cancel` do with a part of a run: some items of a task, carried on their own."""

from __future__ import annotations

import argparse
import shlex

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import worker_command
from orchestrator.cli.streams import write_json
from orchestrator.cluster.waiting import why
from orchestrator.documents.text import quoted
from orchestrator.errors import UnknownTaskError
from orchestrator.journal.history import INTERRUPTED, RUNNING, KnownRun, reading
from orchestrator.journal.kept_run import take_back
from orchestrator.journal.location import Location
from orchestrator.journal.part import Part


def show_part(options: argparse.Namespace, journal: Location, run: KnownRun) -> int:
    """Print how a part is. What became of its items is shown with the run that it is a part of."""
    with reading(journal) as db:
        (text,) = db.execute("select request from run where id=?", (run.id,)).fetchone()
        part = Part.from_request(str(run.origin), text)
        of_items = "from record where run=? and kind='item' and path=? and item>=? and item<?"
        values = part.of, part.task, part.first, part.end
        (settled,) = db.execute(f"select count(*) {of_items}", values).fetchone()
    command = f"orchestrator show {part.of}"
    task = f"{command} {shlex.quote(part.task)}"
    if options.task is not None:
        why_not = f"{run.id} is a part of run {part.of}, which has its tasks"
        raise UnknownTaskError(f"{why_not}: {command} {shlex.quote(options.task)}")
    waits = why(journal, run, worker_command(options)).text
    about = {name: getattr(part, name) for name in ("of", "task", "first")}
    number = {"items": len(part.items), "items_settled": settled}
    times = {name: getattr(run, name) for name in ("resumed", "started", "ended")}
    # What is kept is how long after the beginning of the whole run it ended.
    took_ms = None if run.ended is None else round((run.ended - run.started) * 1000, 3)
    times["duration_ms"] = took_ms
    document = {"run_id": run.id, **about, **number, "status": run.status, **times}
    write_json(document | ({"waits": waits} if waits else {}))
    if waits:
        complain(f"it waits: {waits}")
    which = f"items {part.first:,} to {part.end - 1:,} of task {quoted(part.task)}"
    complain(f"a part of run {part.of}, {which}; what became of them: {task}")
    return 0


def end_part(journal: Location, run: KnownRun) -> None:
    """End a part that no process carries; its run, which looks at it, then ends its task."""
    take_back(journal, run.id, RUNNING if run.status == INTERRUPTED else run.status)
