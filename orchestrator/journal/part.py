"""A part of a run that this process carries: some items of a `for_each`, as a run of its own.

What becomes of the items is kept with the run that they are a part of, under the lease of the part:
so nothing is kept twice, and a process that lost the part writes no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anyio import to_thread

from orchestrator.engine.result import TaskResult
from orchestrator.errors import JournalError
from orchestrator.journal.history import PART, PAUSED, QUEUED, RUNNING, reading
from orchestrator.journal.kept import Restore, records_of, replies_of
from orchestrator.journal.location import Location
from orchestrator.journal.recorder import RunRecorder
from orchestrator.journal.records import NO_ITEM, Key, Record, Records
from orchestrator.journal.store import Database
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.part import read_by_items

MAX_KNOWN = 4  # runs of whose parts a process remembers what they need
HALT = "halt"  # the kind of the record that keeps items from beginning
_ROW = "select kind, path, item, fallback, number, at, payload from record where run=?"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run.

    Attributes:
        of: The run.
        task: The task whose items they are.
        first: The number of the first item.
        items: The items.
        most_items: How many of them may be in flight at a time; 0 for any number.
        most_calls: How many calls.
    """

    of: str
    task: str
    first: int
    items: list[Any]
    most_items: int
    most_calls: int

    @property
    def end(self) -> int:
        """The number of the item behind the last one."""
        return self.first + len(self.items)

    @classmethod
    def from_request(cls, of: str, text: str) -> Part:
        """The part that the row of its run asks for."""
        return cls(of, **json.loads(text)[PART])

    def has(self, key: Key) -> bool:
        """Whether a record belongs to its items, not to its run alone."""
        if key.path == self.task:
            return key.item != NO_ITEM
        return key.path.startswith(f"{self.task}[")


@dataclass(frozen=True, slots=True)
class Needs:
    """What the parts of a task have in common.

    Attributes:
        asked: What the whole run was asked for: its workflow, inputs and settings.
        workflow: The workflow.
        results: The tasks that the calls of its items read.
        wrapped: The outputs of these that servers had wrapped, by identity.
        tools: How the tools were defined when the run began.
    """

    asked: Mapping[str, Any]
    workflow: Workflow
    results: Mapping[str, TaskResult]
    wrapped: dict[int, Any]
    tools: Mapping[Key, Record]


class Known:
    """What the parts that a process carries need of their runs, as long as it carries more."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], Needs] = {}

    def needs(self, db: Database, part: Part, restore: Restore) -> Needs:
        """What a part needs."""
        key = part.of, part.task
        found = self._latest.pop(key, None)
        self._latest[key] = found = found or _needs_of(db, part, restore)
        if len(self._latest) > MAX_KNOWN:
            self._latest.pop(next(iter(self._latest)), None)
        return found


def _needs_of(db: Database, part: Part, restore: Restore) -> Needs:
    (text,) = db.execute("select request from run where id=?", (part.of,)).fetchone()
    asked = json.loads(restore(text))
    workflow = Workflow.load(asked["workflow"])
    known: dict[Key, Record] = {}
    for task in read_by_items(workflow.plan.tasks[part.task]):
        for kind in ("task", "item"):
            known.update(_rows(db, "and kind=? and path=?", (part.of, kind, task), restore))
    wrapped: dict[int, Any] = {}
    results = Records(known).settled("", wrapped)
    tools = records_of(db, part.of, "and kind='tool'", restore)
    return Needs(asked, workflow, results, wrapped, tools)


def records_of_part(db: Database, run: str, part: Part, needs: Needs, restore: Restore) -> Records:
    """What is kept of a part: of the run that carries it, and of its items."""
    has_inside = needs.workflow.plan.tasks[part.task].inner is not None
    of_items = records_of_items(db, part, restore, inside=has_inside)
    replies = records_of(db, part.of, "and kind >= 'reply' and kind < 'replz'", restore)
    own = records_of(db, run, restore=restore)
    return Records({**needs.tools, **replies, **of_items, **own})


def records_of_items(
    db: Database, part: Part, restore: Restore, *, kinds: Iterable[str] = (), inside: bool = True
) -> Records:
    """What is kept of its items; of some kinds of records only, or without what is inside."""
    found: dict[Key, Record] = {}
    for kind in kinds or list(_kinds(db, part.of)):
        where, of = "and kind=? and path", (part.of, kind)
        own = f"{where}=? and item>=? and item<?"
        found.update(_rows(db, own, (*of, part.task, part.first, part.end), restore))
        for index in range(part.first, part.end) if inside else ():
            within = f"{part.task}[{index}]"
            bounds = within, f"{within[:-1]}^"  # which comes right after "]"
            found.update(_rows(db, f"{where}>=? and path<?", (*of, *bounds), restore))
    return Records(found)


def _rows(
    db: Database, where: str, values: tuple[Any, ...], restore: Restore
) -> Iterator[tuple[Key, Record]]:
    of_key = slice(0, 5)
    for row in db.execute(f"{_ROW} {where}", values).fetchall():
        kind, path, item, fallback, number = row[of_key]
        at, payload = row[5:]
        key = Key(kind, path, item, bool(fallback), number)
        yield key, Record(at, payload and restore(payload))


def _kinds(db: Database, run: str) -> Iterator[str]:
    """The kinds of records that a run has: a step in an index for each."""
    kind = ""
    while True:
        query = "select min(kind) from record where run=? and kind>?"
        (kind,) = db.execute(query, (run, kind)).fetchone()
        if kind is None:
            return
        yield kind


def is_over(db: Database, run: str) -> bool:
    """Whether a run has ended, so that nothing of it begins any more."""
    row = db.execute("select status from run where id=?", (run,)).fetchone()
    return row is None or row[0] not in (RUNNING, QUEUED, PAUSED)


class PartRecorder(RunRecorder):
    """Keeps a part of a run; see `Recorder`.

    Attributes:
        part: The part.
        needs: What it needs of the run.
        is_orphan: Whether the run has ended meanwhile.
        halted: Why no further item begins; None: they do.
    """

    part: Part
    needs: Needs
    is_orphan = False
    halted: str | None = None

    def _run_of(self, key: Key) -> str:
        return self.part.of if self.part.has(key) else self._lease.run

    async def look(self) -> None:
        """See what has become of the run."""
        try:
            of = self._writer.location, self.part
            self.is_orphan, self.halted = await to_thread.run_sync(_looked, *of)
        except JournalError:
            return  # `error` says why

    async def read_replies(self) -> None:
        """Take over the replies that other processes have written."""
        try:
            of = self._writer.location, self.part.of, self.hiding.restore
            self._records.update(await to_thread.run_sync(replies_of, *of))
        except JournalError:
            return  # `error` says why


def _looked(location: Location, part: Part) -> tuple[bool, str | None]:
    with reading(location) as db:
        found = dict(_rows(db, "and kind=? and path=?", (part.of, HALT, part.task), str))
        reason = next((Records(found).payload(key)["reason"] for key in found), None)
        return is_over(db, part.of), reason
