"""One task or item of a run: what it was called with, what came of it, and how it went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.engine.outcome import Failure
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.settled import Settled
from orchestrator.errors import UnknownTaskError
from orchestrator.journal import glance
from orchestrator.journal.hiding import mask
from orchestrator.journal.history import KnownRun, reading
from orchestrator.journal.kept import documents_of
from orchestrator.journal.location import Location
from orchestrator.journal.records import NO_ITEM, Key, Records
from orchestrator.journal.store import Database
from orchestrator.report.run_failure import arguments_of
from orchestrator.ui.values import part_at
from orchestrator.ui.view import Asked, asked_of, task_of
from orchestrator.workflow.inputs import with_input_defaults
from orchestrator.workflow.plan import TaskPlan

MAX_EVENTS = 500
# What can be shown of a task, besides what `detail` has.
PARTS = ("arguments", "output", "error", "definition")


@dataclass(frozen=True, slots=True)
class Place:
    """A task of a run, or an item of it.

    Attributes:
        within: What it is inside of, such as `outer[3]/`.
        task: The task.
        item: The item, or None.
    """

    within: str
    task: TaskPlan
    item: int | None

    @classmethod
    def of(cls, asked: Asked, path: str) -> Place:
        """The place with a path. Raises `UnknownTaskError`."""
        above, _, last = path.rpartition("/")
        within = above and f"{above}/"
        if (plan := asked.plan(within)) is None:
            raise UnknownTaskError("the run has no tasks yet")
        return cls(within, *task_of(plan, last))

    @property
    def path(self) -> str:
        """The path of the task."""
        return self.within + self.task.id


class Looked:
    """A task that is looked at, with what is kept of it.

    Args:
        db: The journal.
        run: The run.
        path: The task, or an item, such as `outer[3]/inner`.

    Raises:
        UnknownTaskError: There is none.
    """

    def __init__(self, db: Database, run: KnownRun, path: str) -> None:
        self._db, self._run = db, run
        self._asked = asked_of(db, run.id)
        self.place = Place.of(self._asked, path)
        self.records = glance.records_at(db, run.id, [self.place.path])
        self.result = self._result()

    def _result(self) -> TaskResult | ItemResult | None:
        place = self.place
        if place.item is not None:
            return self.records.item(place.path, place.item, {})
        return self.records.settled(place.within, {}).get(place.task.id)

    def arguments(self) -> dict[str, Any] | None:
        """What it is called with; None if that cannot be told."""
        return self._arguments(self.place)

    def _arguments(self, place: Place) -> dict[str, Any] | None:
        request = self._asked.request
        if not place.within:
            inputs: Mapping[str, Any] | None = request["inputs"]
            name = self._run.workflow
        else:
            above = Place.of(self._asked, place.within[:-1])
            inner, given = above.task.inner, self._arguments(above)
            assert inner is not None
            inputs = None if given is None else with_input_defaults(inner.inputs, given)
            name = inner.name
        if inputs is None:
            return None
        about = {"id": self._run.id, "workflow": name}
        settled = Settled(inputs, about | {"started_at": request["settings"]["started_at"]})
        paths = [place.within + each for each in place.task.dependencies]
        needed = glance.records_at(self._db, self._run.id, paths)
        for result in needed.settled(place.within, settled.scope.wrapped).values():
            settled.add(result)
        return arguments_of(place.task, place.item, settled.scope)

    def value(self, part: str) -> Any:
        """A part of it, of `PARTS`."""
        if part == "definition":
            return _definition(self._asked.request["workflow"], self.place)
        if part == "arguments":
            return self.arguments()
        if self.result is None:
            return None
        if part == "error":
            return None if self.result.error is None else self.result.error.to_dict()
        return self.result.output


def detail(journal: Location, run: KnownRun, path: str) -> dict[str, Any]:
    """What the page shows of a task or an item.

    Raises:
        JournalError: The journal cannot be read.
        UnknownTaskError: There is no such task.
    """
    with reading(journal) as db:
        looked = Looked(db, run, path)
        arguments = looked.arguments()
        state = _state(db, run.id, looked)
        place, result = looked.place, looked.result
        shown = {part: part_at(looked.value(part)) for part in ("output", "error", "definition")}
    error = None if result is None else result.error
    return {
        "path": path,
        "within": place.within,
        "id": place.task.id,
        "item": place.item,
        "kind": place.task.kind,
        "target": place.task.target,
        "after": list(place.task.dependencies),
        "each": place.task.policies.for_each is not None and place.item is None,
        "inner": place.task.inner is not None,
        "state": state,
        "arguments": None if arguments is None else part_at(arguments),
        **shown,
        "words": list((error.details or {}).get("stderr", ())) if error else [],
        "waits": [] if result is None else list(_waits(result)),
        "events": list(_events(looked.records, place.item))[:MAX_EVENTS],
    }


def _state(db: Database, run: str, looked: Looked) -> dict[str, Any] | None:
    place, result = looked.place, looked.result
    if place.item is None:
        return glance.states(db, run, place.within, [place.task.id]).get(place.task.id)
    if result is None:
        return None
    document = result.to_dict()
    document["recovered"] = not isinstance(result.outcome, Failure) and result.error is not None
    return {name: value for name, value in document.items() if name != "tasks"}


def _waits(result: TaskResult | ItemResult) -> Iterator[dict[str, Any]]:
    for what, since_ms, waited_ms in result.waits:
        yield {"for": str(what), "since_ms": since_ms, "waited_ms": waited_ms}


def _events(records: Records, item: int | None) -> Iterator[dict[str, Any]]:
    """What was kept of it, in the order in which that happened."""
    number = NO_ITEM if item is None else item
    found = [(records[key].at, key) for key in records if key.item in (NO_ITEM, number)]
    for at, key in sorted(found):
        if key.kind == "item" and key.item != number:
            continue
        event = {"at": at, "kind": key.kind.partition(" ")[0], "number": key.number}
        event |= {"fallback": True} if key.fallback else {}
        yield event | _about(records, key)


def _about(records: Records, key: Key) -> dict[str, Any]:
    if records[key].payload is None:
        return {}
    document = records.payload(key)
    error = document.get("error") or {}
    kept = {
        name: document[name]
        for name in ("wait_s", "status", "message", "refused")
        if name in document
    }
    return kept | ({"error": f"{error['kind']}: {error['message'][:500]}"} if error else {})


def _definition(workflow: Mapping[str, Any], place: Place) -> Any:
    """The task as the canonical workflow has it."""
    for level in [*place.within.split("/")[:-1], place.task.id]:
        name = level.partition("[")[0]
        tasks = [*workflow["tasks"], *workflow.get("finally", ())]
        task = next((each for each in tasks if each["id"] == name), None)
        if task is None or level == place.task.id:
            return task
        workflow = task.get("workflow") or {"tasks": []}
    return None


def items(journal: Location, run: KnownRun, path: str) -> list[dict[str, Any]]:
    """The items of a `for_each` that have settled. Raises as `detail` does."""
    with reading(journal) as db:
        place = Place.of(asked_of(db, run.id), path)
        return glance.items(db, run.id, place.path)


def value(journal: Location, run: KnownRun, path: str, part: str) -> Any:
    """A part of a task, of `PARTS`; of the run itself, if the path is empty.

    Raises:
        JournalError: The journal cannot be read.
        UnknownTaskError: There is no such task.
    """
    with reading(journal) as db:
        if path:
            return Looked(db, run, path).value(part)
        return _of_run(db, journal, run, part)


def _of_run(db: Database, journal: Location, run: KnownRun, part: str) -> Any:
    if part == "output":
        (text,) = db.execute("select result from run where id=?", (run.id,)).fetchone()
        document = json.loads(mask(text)) if text else {"output": None}
        if "joined" not in document:
            return document["output"]
        return (documents_of(journal, run.id).result or {})["output"]
    request = asked_of(db, run.id).request
    return request["inputs"] if part == "arguments" else request["workflow"]
