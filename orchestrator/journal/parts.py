"""The parts of a run that this process carries: made, looked at, taken back.

A part is named by its run, its task and its number, so none is made twice, whatever happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from anyio import to_thread

from orchestrator.documents.encode import to_json
from orchestrator.engine.items import Joined
from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult
from orchestrator.journal import glance
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import INTERRUPTED, PART, PAUSED, QUEUED, RUNNING, reading
from orchestrator.journal.kept import Restore, records_of
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.part import HALT, Part, records_of_items
from orchestrator.journal.records import NO_ITEM, WRITE_ONCE, Records
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer

SPREAD = "spread"  # the kind of the record that says how a task is spread
_COLUMNS = "id, workflow, status, kind, origin, epoch, resumed, started, request"
_MARKS = "?, ?, ?, ?, ?, ?, ?, ?, ?"
_PUT = f"insert into run({_COLUMNS}) values({_MARKS}) on conflict do nothing"
# Who may carry the run may carry its parts.
_QUEUE = """insert into queued(run, workflow, servers, priority, labels)
select ?, ?, ?, coalesce(min(priority), 0), coalesce(min(labels), '[]') from queued where run=?
on conflict do nothing"""
_TAKE_BACK = "update run set status='cancelled', epoch=epoch+1, ended=? where id=? and status=?"


class State(NamedTuple):
    """What has become of a part.

    Attributes:
        status: `queued`, `running`, `interrupted`, or how it has ended.
        settled: How many of its items have, if it has not ended.
        failed: The first one of these that failed, if that was asked for.
    """

    status: str
    settled: int
    failed: int | None


class Parts:
    """The parts of a task of a run that this process carries.

    Args:
        writer: Writes to the journal.
        lease: That this process carries the run.
        hiding: Hides the secrets in what is kept.
        name: The name of the workflow.
        task: The task.
        has_inside: Whether its items run workflows.
    """

    def __init__(
        self,
        writer: Writer,
        lease: Lease,
        hiding: Hiding,
        name: str,
        task: str,
        *,
        has_inside: bool,
    ) -> None:
        self._writer, self._lease, self._hiding = writer, lease, hiding
        self._name, self._task, self._has_inside = name, task, has_inside
        self.location: Location = writer.location

    @property
    def is_lost(self) -> bool:
        """Whether another process carries the run now, or nothing can be kept any more."""
        return (self._lease.error or self._writer.error) is not None

    def id_of(self, number: int) -> str:
        """The id of the run that carries a part."""
        return f"{self._lease.run}.{self._task}.{number}"

    async def put(self, parts: Iterable[tuple[int, Part]], servers: list[str]) -> None:
        """Have workers with these servers carry them; returns when that is durable.

        A part that there is stays as it is.
        """
        name, run = f"{self._name}/{self._task}", self._lease.run
        for number, part in parts:
            of = self.id_of(number), name, QUEUED, PART, run, 0, -1, time.time()
            text = self._hiding.hide(to_json(_request(part)))
            self._writer.put(self._lease, _PUT, partial(_values, *of, text))
            row = self.id_of(number), name, to_json(servers), run
            self._writer.put(self._lease, _QUEUE, partial(_values, *row))
        await self._writer.flush()

    async def look(self, size: int, known: Iterable[int], *, stops: bool) -> dict[int, State]:
        """What has become of the parts of this size but for those that are known to have ended.

        `stops` says whether it matters that an item of one that goes on has failed.
        """
        return await to_thread.run_sync(self._look, size, frozenset(known), stops)

    def _look(self, size: int, known: frozenset[int], stops: bool) -> dict[int, State]:
        first = f"{self._lease.run}.{self._task}."
        query = "select id, status from run where id>? and id<? and kind=?"
        found: dict[int, State] = {}
        with reading(self.location) as db:
            for run, status in db.execute(query, (first, f"{first[:-1]}/", PART)).fetchall():
                number = run[len(first) :]
                if not number.isdecimal() or int(number) in known:
                    continue
                if status == RUNNING and not store_of(self.location).is_carried(db, run):
                    status = INTERRUPTED
                state = State(status, 0, None)
                if state.status in (RUNNING, INTERRUPTED, PAUSED):
                    state = State(status, *self._settled(db, int(number) * size, size, stops))
                found[int(number)] = state
        return found

    def _settled(self, db: Database, first: int, size: int, stops: bool) -> tuple[int, int | None]:
        where = "from record where run=? and kind='item' and path=? and item>=? and item<?"
        values = self._lease.run, self._task, first, first + size
        (settled,) = db.execute(f"select count(*) {where}", values).fetchone()
        failed = None
        if stops:
            query = f"select min(item) {where} and {db.sql.text('status')}='error'"
            (failed,) = db.execute(query, values).fetchone()
        return settled, failed

    def read(self, first: int, end: int, wrapped: dict[int, Any]) -> Iterator[ItemResult]:
        """The items that have settled from a number on and before another; see `Read`."""
        part = Part(self._lease.run, self._task, first, [None] * (end - first), 0, 0)
        return read(self.location, part, self._hiding.restore, wrapped, inside=self._has_inside)

    def questions(self) -> list[Question]:
        """The questions of its items that nobody has answered."""
        with reading(self.location) as db:
            asked = glance.questions(db, self._lease.run)
        at = f"{self._task}["
        return [each for each in asked if each.task == self._task or each.task.startswith(at)]

    def halt(self, reason: str) -> None:
        """Keep further items from beginning."""
        text = to_json({"reason": reason})
        values = self._lease.run, HALT, self._task, NO_ITEM, False, 0, time.time(), text
        self._writer.put(self._lease, WRITE_ONCE, lambda: values)

    async def take_back(self, numbers: Iterable[int], status: str = QUEUED) -> None:
        """End parts that have this status, also those that another process is about to begin."""
        for number in numbers:
            values = time.time(), self.id_of(number), status
            self._writer.put(self._lease, _TAKE_BACK, partial(_values, *values))
        await self._writer.flush()

    async def ask_to_end(self, numbers: Iterable[int]) -> None:
        """Ask who carries them to end them."""
        for number in numbers:
            ask = store_of(self.location).ask_to_end
            await to_thread.run_sync(ask, self.id_of(number))


def read(
    location: Location, part: Part, restore: Restore, wrapped: dict[int, Any], *, inside: bool
) -> Iterator[ItemResult]:
    """The items of a part that have settled."""
    kinds = ("item", "task") if inside else ("item",)
    with reading(location) as db:
        records = records_of_items(db, part, restore, kinds=kinds, inside=inside)
    for index in range(part.first, part.end):
        if (item := records.item(part.task, index, wrapped)) is not None:
            yield item


def records_without_parts(
    db: Database, run: str, writer: Writer, lease: Lease, hiding: Hiding, asked: Mapping[str, Any]
) -> Records:
    """What is kept of a run; of the items that others carry, only where they are."""
    which, values, restore = "", list[str](), hiding.restore
    spread = records_of(db, run, f"and kind='{SPREAD}'")
    for task in (key.path for key in spread):
        which += " and not (path=? and item>=0) and not (path>=? and path<?)"
        values += [task, f"{task}[", f"{task}\\"]  # which comes right after "["
    records = records_of(db, run, which, restore, values)
    inside = {each["id"] for each in asked["workflow"]["tasks"] if "workflow" in each}
    for key in spread:
        parts = Parts(writer, lease, hiding, "", key.path, has_inside=key.path in inside)
        records.elsewhere[key.path] = Joined(spread.payload(key)["items"], parts.read)
    return records


def _request(part: Part) -> dict[str, Any]:
    names = ("task", "first", "items", "most_items", "most_calls")
    return {PART: {name: getattr(part, name) for name in names}, "outputs": True}


def _values(*values: object) -> tuple[object, ...]:
    return values
