"""All that is kept of a run, read from the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.documents.text import quoted
from orchestrator.engine.outcome import Waiting
from orchestrator.engine.result import TaskResult
from orchestrator.errors import JournalError
from orchestrator.journal.hiding import mask
from orchestrator.journal.history import PART, PAUSED, reading
from orchestrator.journal.location import Location
from orchestrator.journal.records import Key, Record, Records
from orchestrator.journal.store import Database, UnreadableError
from orchestrator.workflow.plan import Plan

Restore = Callable[[str], str]
"""Makes JSON text of the file what it was: `mask` for what is shown, or `Hiding.restore`."""


def records_of(
    db: Database, run: str, which: str = "", restore: Restore = mask, values: Sequence[str] = ()
) -> Records:
    """What is kept of a run."""
    columns = "kind, path, item, fallback, number, at, payload"
    rows = db.execute(
        f"select {columns} from record where run=? {which}", (run, *values)
    ).fetchall()
    return Records(
        {
            Key(kind, path, item, bool(fallback), number): Record(at, payload and restore(payload))
            for kind, path, item, fallback, number, at, payload in rows
        }
    )


def replies_of(journal: Location, run: str, restore: Restore) -> Records:
    """The replies to questions of a run. Raises `JournalError`."""
    with reading(journal) as db:
        return records_of(db, run, "and kind >= 'reply' and kind < 'replz'", restore)


def trace_of(journal: Location, run: str) -> str:
    """What named a run in the first process that traced it; "" if none did."""
    with reading(journal) as db:
        return records_of(db, run, "and kind='trace'").trace()


@dataclass(frozen=True, slots=True)
class KeptDocuments:
    """All that is kept of a run.

    Attributes:
        request: The workflow, its inputs and settings.
        result: The result document without tasks; None if it has not ended.
        tasks: The tasks that have settled.
        records: All records.
    """

    request: dict[str, Any]
    result: dict[str, Any] | None
    tasks: dict[str, TaskResult]
    records: Records


def results_of(kept: KeptDocuments, plan: Plan, status: str) -> Mapping[str, TaskResult]:
    """The tasks of a run that have settled, in the order of the file; of a paused run all."""
    if status != PAUSED:
        return kept.tasks
    return {
        name: kept.tasks.get(name) or TaskResult(name, Waiting(), task.generation)
        for name, task in plan.tasks.items()
    }


def check_whole(run: str, origin: str | None, text: str) -> None:
    """Refuse a part of a run, of which nothing is kept on its own.

    Raises:
        JournalError: It is one.
    """
    if text.startswith(f'{{"{PART}"'):
        part = json.loads(text)[PART]
        last = part["first"] + len(part["items"]) - 1
        items = f"items {part['first']:,} to {last:,} of its task {quoted(part['task'])}"
        raise JournalError(f"{run} is a part of run {origin} ({items}): name that run instead")


def request_of(
    text: str, records: Callable[[], Records], restore: Restore = mask
) -> dict[str, Any]:
    """What a run was asked for; the tasks of a plan that did not become complete are records.

    Raises:
        UnreadableError: Something else has written it.
        JournalError: `restore` raises it.
    """
    try:
        request: dict[str, Any] = json.loads(restore(text))
        parts = request["workflow"]["tasks"], request["inputs"], request["settings"]
    except (ValueError, KeyError, TypeError) as error:
        why = f"what the run was asked for cannot be read ({type(error).__name__}: {error})"
        raise UnreadableError(f'{why}: "orchestrator cancel" ends it') from None
    if not parts[0]:
        request["workflow"]["tasks"] = records().added()
    return request


def planned(request: Mapping[str, Any]) -> list[str]:
    """The tasks of a run that was asked for, in the order of its file."""
    workflow = request["workflow"]
    return [each["id"] for each in (*workflow["tasks"], *workflow.get("finally", ()))]


def check_complete(run: str, request: Mapping[str, Any]) -> None:
    """Refuse to go on with a plan that has no tasks, or whose tasks wait for its end.

    Raises:
        JournalError: It is such a plan.
    """
    if not request["workflow"]["tasks"]:
        why = f"run {run} has no tasks: its plan ended before the first one came"
        raise JournalError(f"{why}; run the workflow again")
    if request.get("hold"):
        why = f"the plan of run {run} did not become complete, and what writes was to wait for that"
        raise JournalError(f'{why}: run the whole plan with "orchestrator fork {run} --file FILE"')


def check_outputs(run: str, request: Mapping[str, Any]) -> None:
    """Refuse to go on from a run of which no outputs are kept. Raises `JournalError`."""
    if not request.get("outputs", True):
        why = f"no outputs of run {run} are kept ([journal] outputs = false)"
        raise JournalError(f"{why}, so nothing can go on from it: run the workflow again")


def kept_request(journal: Location, run: str, restore: Restore = mask) -> dict[str, Any]:
    """The workflow, inputs and settings of a run that there is.

    Raises:
        JournalError: The journal cannot be read.
    """
    with reading(journal) as db:
        query = "select request, origin from run where id=?"
        text, origin = db.execute(query, (run,)).fetchone()
        check_whole(run, origin, text)
        added = partial(records_of, db, run, "and kind='added'", restore)
        return request_of(text, added, restore)


def documents_of(journal: Location, run: str, restore: Restore = mask) -> KeptDocuments:
    """All that is kept of a run that there is.

    Raises:
        JournalError: The journal cannot be read.
    """
    with reading(journal) as db:
        query = "select request, result, origin from run where id=?"
        request, result, origin = db.execute(query, (run,)).fetchone()
        check_whole(run, origin, request)
        records = records_of(db, run, restore=restore)
    asked = request_of(request, lambda: records, restore)
    settled = records.settled("", {})
    # They settled in another order, and were kept in that.
    tasks = {task: settled[task] for task in planned(asked) if task in settled}
    return KeptDocuments(asked, result and _result_of(restore(result), tasks), tasks, records)


def _result_of(text: str, tasks: Mapping[str, TaskResult]) -> dict[str, Any]:
    """A result document, with the outputs in it that are kept with their tasks alone."""
    document: dict[str, Any] = json.loads(text)
    for name, task in document.pop("joined", {}).items():
        if name:
            document["output"][name] = tasks[task].output
        else:
            document["output"] = tasks[task].output
    return document
