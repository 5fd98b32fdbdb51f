"""Workflows that are run again and again: what is run, when, and when it was last.

A row for each, in a database only. Workers make a run of it whenever its time has come.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError
from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.journal.orders import Order
from orchestrator.journal.store import Database

_COLUMNS = "name, workflow, cron, zone, catch_up, priority, max_runs, labels::jsonb, servers::jsonb"
_TIMES = "next, last, run, missed"
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
        workflow: The name of its workflow.
        cron: When, as a cron expression, and `zone` the time zone of that.
        catch_up: Whether the last of the times that passed without a worker is made up for.
        order: What is asked of the queue for each run.
        next: When it is next, seconds since 1970.
        last: The last time that it was, and `run` the id of that run; None if there was none.
        run: The id of its last run.
        missed: How many times have passed without a worker since it was made.
    """

    name: str
    workflow: str
    cron: str
    zone: str
    catch_up: bool
    order: Order
    next: float
    last: float | None = None
    run: str | None = None
    missed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The schedule as a JSON object."""
        order = {**asdict(self.order), "key": None, "due": None}
        wants = {name: each for name, each in order.items() if each not in (None, 0, ())}
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "order"}
        return fields | wants


def put(db: Database, schedule: Schedule, request: str) -> None:
    """Make a schedule, or change the one of this name.

    Args:
        db: The journal.
        schedule: The schedule.
        request: What each run is asked for, as the row of a run has it.
    """
    order = schedule.order
    *_, labels, servers = order.row("", "")
    of_time = schedule.name, schedule.workflow, schedule.cron, schedule.zone, schedule.catch_up
    of_runs = order.priority, order.max_runs, labels, servers, request
    db.execute(_PUT, (*of_time, *of_runs, schedule.next))


def known(journal: Location) -> list[Schedule]:
    """All schedules, by name. Raises `JournalError`."""
    with reading(journal) as db:
        return [of_row(row) for row in db.execute(f"{SELECT} order by name").fetchall()]


SELECT = f"select {_COLUMNS}, {_TIMES} from schedule"


def of_row(row: tuple[Any, ...]) -> Schedule:
    """A schedule of a row that `SELECT` has found."""
    name, workflow, cron, zone, catch_up, priority, max_runs, labels, servers, *times = row
    order = Order(None, priority, 0.0, max_runs, tuple(labels), tuple(servers))
    return Schedule(name, workflow, cron, zone, catch_up, order, *times)


def remove(db: Database, name: str) -> None:
    """Remove a schedule. Raises `JournalError` if there is none of this name."""
    if db.execute("delete from schedule where name=?", (name,)).rowcount == 0:
        names = [each for (each,) in db.execute("select name from schedule order by name")]
        hint = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
        raise JournalError(f"unknown schedule {quoted(name)}{hint}")
