"""What is asked of the queue for a run that is submitted: its key, its turn, and who may carry it.

A row for each such run, in a database only. Workers hand out what these rows allow.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from anyio import to_thread

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import cut, quoted, visible
from orchestrator.errors import JournalError
from orchestrator.journal.asked import other_request, other_wants, readable
from orchestrator.journal.history import OPEN, QUEUED, KnownRun, reading
from orchestrator.journal.location import Location
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer

MOST_PRIORITY = 1000
MOST_RUNS = 1_000_000
MOST_YEARS = 100  # from now to when a run may begin: what is more is a slip
YEAR_S = 365.25 * 86_400
MAX_KEY = 500  # characters
NEW = "insert into run values(?, ?, ?, ?, ?, ?, ?, ?, null, null, ?, null)"
_INSERT = """insert into queued(run, workflow, key, priority, due, max_runs, labels, servers)
values(?, ?, ?, ?, ?, ?, ?, ?)"""
# What could not be handed out is tried again at a time that nobody has asked for.
_OF_RUNS = """select id, key, priority, case when status<>'queued' or exists(
select from record where record.run=id and kind='aside'
and moment = (select max(moment) from record where record.run=id)) then 0 else due end, max_runs,
labels, servers from queued join run on id=run where id = any(?::text[])"""
_MOST_SHOWN = 100  # characters
NO_NAMES = "(expected a list of names in JSON)"
_ONCE = f"{_INSERT} on conflict(key) do nothing"
_TYPES: dict[str, tuple[Any, str]] = {
    "key": ((str, NoneType), "a string"),
    "priority": (int, "an integer"),
    "due": ((int, float), "a number of seconds since 1970"),
    "max_runs": ((int, NoneType), "an integer"),
    "labels": ((tuple, list), 'a sequence of names such as ("gpu",)'),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the queue.

    Attributes:
        key: Only one run has this key; None: none is asked for.
        priority: A higher one goes first, from -1000 to 1000.
        due: When it may begin at the earliest, seconds since 1970.
        max_runs: It begins only while fewer submitted runs of its workflow are under way.
        labels: Only a worker with all of these carries it.
        servers: Only a worker that has all of these carries it.
    """

    key: str | None = None
    priority: int = 0
    due: float = 0.0
    max_runs: int | None = None
    labels: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What it asks, where it asks anything, as a JSON object."""
        asked = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in asked.items() if value}

    @property
    def is_plain(self) -> bool:
        """Whether it asks for nothing of a person."""
        return not replace(self, servers=()).to_dict()

    def check(self) -> None:
        """Refuse what no queue can do. Raises `JournalError`."""
        for name, (kind, expected) in _TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind):
                raise JournalError(f"expected {name} to be {expected}, got {describe(value)}")
        for label in self.labels:
            if not isinstance(label, str) or not label.strip() or visible(label) != label:
                raise JournalError(f"expected each label to be a name, got {describe(label)}")
        if not -MOST_PRIORITY <= self.priority <= MOST_PRIORITY:
            expected = f"from {-MOST_PRIORITY} to {MOST_PRIORITY}"
            raise JournalError(f"expected a priority {expected}, got {self.priority}")
        if self.max_runs is not None and not 1 <= self.max_runs <= MOST_RUNS:
            raise JournalError(f"expected max_runs from 1 to {MOST_RUNS:,}, got {self.max_runs:,}")
        if not -math.inf < self.due < time.time() + MOST_YEARS * YEAR_S:
            years = (self.due - time.time()) / YEAR_S
            expected = f"expected a time to begin within {MOST_YEARS} years"
            raise JournalError(f"{expected}, got one in {years:,.0f} years")
        if self.key is not None and not 0 < len(self.key) <= MAX_KEY:
            raise JournalError(f"expected a key of 1 to {MAX_KEY} characters, got {len(self.key)}")
        if self.key is not None and not _can_be_kept(self.key):
            raise JournalError(f"a database cannot keep the key {quoted(self.key)}")

    def row(self, run: str, workflow: str) -> tuple[object, ...]:
        """The values of its row."""
        labels, servers = (to_json(sorted(set(each))) for each in (self.labels, self.servers))
        wants = self.key, self.priority, self.due, self.max_runs
        return (run, workflow, *wants, labels, servers)


def _can_be_kept(text: str) -> bool:
    """Whether a text is one that a database can have."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def read_names(text: str) -> list[str] | None:
    """The names of a list of labels or servers as a row has it; None if it has none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    is_list = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return found if is_list else None


def names_of(text: str) -> tuple[str, ...]:
    """The same; in place of what is none, one name that nobody has and that says so."""
    found = read_names(text)
    if found is None:
        return (f"{cut(text, _MOST_SHOWN)} {NO_NAMES}",)
    return tuple(found)


class _KeyTakenError(JournalError):
    """Another run has the key."""


class Submitted(NamedTuple):
    """A run that was submitted.

    Attributes:
        run: Its id.
        is_new: Whether it was submitted now; else it is the one that has had the key before.
        differs: What that one asks of the queue, in words, where it asks for something else.
    """

    run: str
    is_new: bool = True
    differs: tuple[str, ...] = ()


def put_once(db: Database, row: tuple[Any, ...], order: Order) -> str:
    """Insert a run, or none if another one has its key; the id of the one that has it."""
    query = "select run from queued where key=?"
    if (found := db.execute(query, (order.key,)).fetchone()) is not None:
        return str(found[0])
    db.execute(NEW, row)
    db.execute(_INSERT, order.row(row[0], row[1]))
    return str(row[0])


async def keep(writer: Writer, row: tuple[Any, ...], order: Order) -> Submitted:
    """Keep a run for a worker to begin, or none if another one has its key.

    Args:
        writer: That of this process.
        row: Its row. A queued run is resumed for the first time when it begins, for which its
            numbers are one lower.
        order: What is asked of the queue.

    Raises:
        JournalError: It cannot be kept, or its key is that of another workflow or other inputs.
    """
    order.check()
    if isinstance(writer.location, Path) and not order.is_plain:
        raise JournalError("a key, a priority and the like need a journal in PostgreSQL")
    if order.key is not None:
        return await to_thread.run_sync(_keep_once, writer, row, order, order.key)
    run, workflow, lease = row[0], row[1], Lease(row[0], 0)
    writer.put(lease, NEW, lambda: row)
    if not isinstance(writer.location, Path):
        writer.put(lease, _INSERT, lambda: order.row(run, workflow))
    await writer.flush()
    if (error := lease.error or writer.error) is not None:
        raise error
    return Submitted(run)


def _keep_once(writer: Writer, row: tuple[Any, ...], order: Order, key: str) -> Submitted:
    run, workflow, request = row[0], row[1], row[-1]

    def insert(db: Database) -> None:
        db.execute(NEW, row)
        if db.execute(_ONCE, order.row(run, workflow)).rowcount == 0:
            raise _KeyTakenError(f"another run has the key {quoted(key)}")

    try:
        writer.session.call(insert)
    except _KeyTakenError:
        return _of_key(writer.location, key, request, order)
    return Submitted(run)


def _of_key(journal: Location, key: str, request: str, order: Order) -> Submitted:
    """The run that has a key, if it is asked for the same as `request` asks.

    Raises:
        JournalError: It has another workflow or other inputs, is unreadable, or was just deleted.
    """
    with reading(journal) as db:
        query = "select id, request, status from queued join run on id=run where key=?"
        row = db.execute(query, (key,)).fetchone()
        kept = of_runs(db, [row[0]]) if row else {}
    if row is None or row[0] not in kept:
        raise JournalError(f"the run with the key {quoted(key)} was deleted just now: submit again")
    run, earlier, status = row
    with readable(f"run {run} with the key {quoted(key)}", "give another key"):
        found = list(other_request(json.loads(earlier), json.loads(request)))
    if found:
        what = " and ".join(found)
        fix = "give another key, or submit what that run was"
        raise JournalError(f"key {quoted(key)} is that of run {run}, which has {what}: {fix}")
    now = order if status == QUEUED else replace(order, due=0.0)  # which counts no more
    return Submitted(run, False, tuple(other_wants(kept[run], now)))


def is_submitted(journal: Location, run: str) -> bool:
    """Whether workers go on with a run by themselves.

    Raises:
        JournalError: The journal cannot be read.
    """
    if isinstance(journal, Path):
        return False
    with reading(journal) as db:
        return db.execute("select 1 from queued where run=?", (run,)).fetchone() is not None


def asked_of(journal: Location, runs: Sequence[KnownRun]) -> dict[str, Order]:
    """What was asked of the queue for those of these runs that a worker will carry, by their ids.

    Raises:
        JournalError: The journal cannot be read.
    """
    waiting = [run.id for run in runs if run.status in OPEN]
    if not waiting or isinstance(journal, Path):
        return {}
    with reading(journal) as db:
        return of_runs(db, waiting)


def of_runs(db: Database, runs: Sequence[str]) -> dict[str, Order]:
    """What was asked of the queue for those of these runs that were submitted, by their ids.

    Only a run that has not begun and was not tried has a time: of others, the time is that of their
    questions, or when they are tried again.
    """
    rows = db.execute(_OF_RUNS, (list(runs),)).fetchall()
    return {
        run: Order(key, priority, due, most, names_of(labels), names_of(servers))
        for run, key, priority, due, most, labels, servers in rows
    }
