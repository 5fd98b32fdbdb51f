"""Makes a run of each schedule whose time has come, exactly one for each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from orchestrator.cluster.guard import Guard
from orchestrator.cluster.release import alone
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import counted, quoted
from orchestrator.journal import schedules
from orchestrator.journal.cron import GRACE_S, MOST_MISSED, Cron
from orchestrator.journal.history import QUEUED
from orchestrator.journal.orders import put_once
from orchestrator.journal.schedules import Schedule
from orchestrator.journal.store import Database
from orchestrator.run_request import new_settings

_DUE = "select name from schedule where next <= now_s() order by next"
_STILL_DUE = f"{schedules.SELECT} where name=? and next <= now_s()"
_REQUEST = "select request, now_s() from schedule where name=?"
_NOTE = """update schedule set next=?, last=coalesce(?, last), run=coalesce(?, run),
missed=missed+? where name=?"""


def fire(db: Database, guard: Guard) -> None:
    """Submit what is due, and tell of times that passed while no worker was connected.

    A schedule that this worker cannot submit is left to others: its machine may not know its zone.
    """
    for (name,) in db.execute(_DUE).fetchall():
        what = f"this worker cannot submit schedule {quoted(name)}"
        guard.attempt(db, what, _fire_one, db, guard.tell, name)


def _fire_one(db: Database, tell: Callable[[str], None], name: str) -> None:
    row = db.execute(_STILL_DUE, (name,)).fetchone()
    if row is None:
        return
    planned = schedules.of_row(row)
    cron, said = Cron(planned.cron, planned.zone), ""  # which may take long, so not while alone
    with alone(db):
        if (row := db.execute(_STILL_DUE, (name,)).fetchone()) is not None:
            schedule = schedules.of_row(row)
            if (schedule.cron, schedule.zone) == (cron.text, cron.zone):  # else the next look
                said = _fire(db, schedule, cron)
    if said:
        tell(said)


def _fire(db: Database, schedule: Schedule, cron: Cron) -> str:
    """Submit one run, unless its time is long over; what is to be said of it."""
    request, now_s = db.execute(_REQUEST, (schedule.name,)).fetchone()
    last, next_s, times = cron.passed(schedule.next, now_s)
    fires = schedule.catch_up or now_s - last <= GRACE_S
    missed, run = times - 1 if fires else times, None
    if fires:
        key = f"schedule {schedule.name} {cron.at(last)}"
        run = _submit(db, replace(schedule, order=replace(schedule.order, key=key)), request, now_s)
    db.execute(_NOTE, (next_s, last if fires else None, run, missed, schedule.name))
    if not missed:
        return ""
    number = f"{MOST_MISSED:,} times or more" if times == MOST_MISSED else counted(missed, "time")
    then = (
        f"the run of {cron.at(last)} is made up for" if fires else f"the next is {cron.at(next_s)}"
    )
    return (
        f"schedule {quoted(schedule.name)}: {number} passed while no worker was connected; {then}"
    )


def _submit(db: Database, schedule: Schedule, request: str, now_s: float) -> str:
    settings = new_settings()
    document = json.loads(request)
    document["settings"]["started_at"] = settings.started_at
    about = settings.run_id, schedule.workflow, QUEUED, "run", None
    row = (*about, 0, -1, now_s, to_json(document))
    return put_once(db, row, schedule.order)
