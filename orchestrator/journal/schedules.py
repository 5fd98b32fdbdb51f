"""Workflows that are run again and again: what is run, when, and when it was last.

A row for each, in a database only. Workers make a run of it whenever its time has come.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import listed, quoted, visible
from orchestrator.errors import JournalError
from orchestrator.journal.asked import other_request, other_wants, readable
from orchestrator.journal.hiding import mask
from orchestrator.journal.history import reading
from orchestrator.journal.location import Location, lacking
from orchestrator.journal.orders import Order, names_of
from orchestrator.journal.store import Database, LostError

_COLUMNS = "name, workflow, cron, zone, catch_up, priority, max_runs, labels, servers"
_TIMES = "next, last, run, missed, (request::json -> 'inputs')::text"
MAX_NAME = 100  # characters
_MOST = 10  # names in a message
_PUT = """insert into schedule(name, workflow, cron, zone, catch_up, priority, max_runs, labels,
servers, request, next) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict(name) do update
set workflow=excluded.workflow, cron=excluded.cron, zone=excluded.zone, next=excluded.next,
catch_up=excluded.catch_up, priority=excluded.priority, max_runs=excluded.max_runs,
labels=excluded.labels, servers=excluded.servers, request=excluded.request, missed=0"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A workflow that is run again and again.

    Attributes:
        name: Its name.
        workflow: The name of its workflow, of one that is kept.
        cron: When, as a cron expression, and `zone` the time zone of that.
        catch_up: Whether the last of the times that passed without a worker is made up for.
        order: What is asked of the queue for each run.
        next: When it is next, seconds since 1970; 0 for a new one: the next time from now.
        last: The last time that it was, and `run` the id of that run; None if there was none.
        run: The id of its last run.
        missed: How many times have passed without a worker since it was made.
        inputs: The inputs of its runs, with `***` for each secret; of one that is kept.
    """

    name: str
    workflow: str = ""
    cron: str = ""
    zone: str = "UTC"
    catch_up: bool = False
    order: Order = field(default_factory=Order)
    next: float = 0.0
    last: float | None = None
    run: str | None = None
    missed: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what no worker could run. Raises `JournalError`."""
        for name in ("name", "cron", "zone"):
            if not isinstance(value := getattr(self, name), str):
                raise JournalError(f"expected {name} to be a string, got {describe(value)}")
        if not isinstance(self.catch_up, bool):
            what = describe(self.catch_up)
            raise JournalError(f"expected catch_up to be true or false, got {what}")
        if not isinstance(self.order, Order):
            raise JournalError(f"expected order to be an Order, got {describe(self.order)}")
        is_shown = visible(self.name) == self.name == self.name.strip()
        if not is_shown or not 0 < len(self.name) <= MAX_NAME:
            expected = f"expected a name of 1 to {MAX_NAME} visible characters"
            got = f"{quoted(self.name)} with {len(self.name):,}"
            raise JournalError(f"{expected} for the schedule, got {got}; --name gives another one")
        if self.order.key is not None or self.order.due:
            why = "each run of a schedule has a key and a time of its own"
            raise JournalError(f"{why}: give its order no key and no due")
        self.order.check()

    def planned(self) -> Schedule:
        """This schedule with its next time from now.

        Raises:
            JournalError: Its expression or its zone is wrong.
        """
        try:
            from orchestrator.journal.cron import Cron
        except ImportError as error:
            raise lacking("a schedule", error) from None
        cron = " ".join(self.cron.split())
        return replace(self, cron=cron, next=Cron(cron, self.zone).next(time.time()))

    def to_dict(self) -> dict[str, Any]:
        """The schedule as a JSON object."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "order"}
        return fields | self.order.to_dict()


class Scheduled(NamedTuple):
    """A schedule that was made or changed.

    Attributes:
        schedule: As it is now.
        is_new: Whether there was none of this name.
        was: What was different before, in words.
    """

    schedule: Schedule
    is_new: bool
    was: tuple[str, ...] = ()


def put(db: Database, schedule: Schedule, request: str) -> Scheduled:
    """Make a schedule, or change the one of this name.

    Args:
        db: The journal.
        schedule: The schedule.
        request: What each run is asked for, as the row of a run has it.

    Raises:
        JournalError: The one of this name cannot be read.
    """
    before = _named(db, schedule.name)
    query = "select request from schedule where name=?"
    text = db.execute(query, (schedule.name,)).fetchone()
    order = schedule.order
    *_, labels, servers = order.row("", "")
    of_time = schedule.name, schedule.workflow, schedule.cron, schedule.zone, schedule.catch_up
    of_runs = order.priority, order.max_runs, labels, servers, request
    db.execute(_PUT, (*of_time, *of_runs, schedule.next))
    if not before or text is None:
        return Scheduled(schedule, is_new=True)
    with _readable(schedule.name):
        was = tuple(_was(before[0], json.loads(text[0]), schedule, json.loads(request)))
    return Scheduled(schedule, False, was)


def _was(
    before: Schedule, asked: Mapping[str, Any], now: Schedule, request: Mapping[str, Any]
) -> Iterator[str]:
    """What was different before, in words."""
    for name in ("workflow", "cron", "zone"):
        if (value := getattr(before, name)) != getattr(now, name):
            yield f"{name} {quoted(value)}"
    yield from other_wants(before.order, now.order)
    if before.catch_up != now.catch_up:
        yield "catch-up" if before.catch_up else "no catch-up"
    yield from other_request(asked, request)
    for name in ("schedule", "max_concurrency"):
        if (value := asked["settings"].get(name)) != request["settings"].get(name):
            yield f"{name.replace('_', '-')} {'none' if value is None else value}"


def known(journal: Location) -> tuple[list[Schedule], list[JournalError]]:
    """All schedules, by name, and why each other one cannot be read.

    Raises:
        JournalError: The journal cannot be read.
    """
    found, wrong = list[Schedule](), list[JournalError]()
    with reading(journal) as db:
        for (name,) in db.execute("select name from schedule order by name").fetchall():
            try:
                found += _named(db, name)
            except LostError:
                raise
            except JournalError as error:
                wrong.append(error)
    return found, wrong


def _named(db: Database, name: str) -> list[Schedule]:
    """The schedule of this name; none if it was removed just now."""
    with _readable(name):
        return list(map(of_row, db.execute(f"{SELECT} where name=?", (name,)).fetchall()))


def _readable(name: str) -> AbstractContextManager[None]:
    fix = f'"orchestrator schedules --remove {shlex.quote(name)}" removes it'
    return readable(f"schedule {quoted(name)}", fix)


SELECT = f"select {_COLUMNS}, {_TIMES} from schedule"


def of_row(row: tuple[Any, ...]) -> Schedule:
    """A schedule of a row that `SELECT` has found."""
    name, workflow, cron, zone, catch_up, priority, max_runs, labels, servers, *more = row
    order = Order(None, priority, 0.0, max_runs, names_of(labels), names_of(servers))
    next_s, last_s, run, missed, inputs = more
    times = next_s, last_s, run, missed, json.loads(mask(inputs))
    return Schedule(name, workflow, cron, zone, catch_up, order, *times)


def remove(db: Database, name: str) -> None:
    """Remove a schedule. Raises `JournalError` if there is none of this name."""
    if db.execute("delete from schedule where name=?", (name,)).rowcount == 0:
        names = [each for (each,) in db.execute("select name from schedule order by name")]
        there_are = listed(map(quoted, names), _MOST) or "none"
        hint = did_you_mean(name, names) or f"; there are {there_are}"
        raise JournalError(f"unknown schedule {quoted(name)}{hint}")
