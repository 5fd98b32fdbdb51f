"""Schedules: each time is one run, over all workers, and what passed without them is told."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import JournalError, Orchestrator, Order
from orchestrator.cluster import firing
from orchestrator.cluster import guard as guarding
from orchestrator.cluster.firing import fire
from orchestrator.cluster.guard import Guard
from orchestrator.cluster.release import _LOCK as LOCK
from orchestrator.journal import schedules
from orchestrator.journal.cron import Cron
from orchestrator.journal.history import reading, runs
from orchestrator.journal.location import Address, store_of
from orchestrator.journal.schedules import Schedule
from tests.journals import ask

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.fixture
async def make(database: Address) -> Any:
    async def make(*, ago_s: float, catch_up: bool = False) -> None:
        flow = {"name": "w", "inputs": {"n": {}}, "tasks": [{"id": "a", "value": "$INPUT.n"}]}
        async with Orchestrator({}, journal=database) as engine:
            order = Order(priority=3, max_runs=1)
            schedule = Schedule("hourly", "w", "@hourly", "UTC", catch_up, order, 0.0)
            await engine.schedule(schedule, flow, {"n": 7})
        ((now_s,),) = ask(database, "select now_s()")
        due_s = now_s // HOUR * HOUR - ago_s
        ask(database, f"update schedule set next={due_s}")

    return make


def fired(database: Address) -> list[str]:
    told: list[str] = []
    with reading(database) as db:
        fire(db, Guard(told.append))
    return told


async def test_each_time_is_one_run_however_many_workers_look(
    database: Address, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cluster.firing.GRACE_S", 2 * HOUR)
    await make(ago_s=0.0)
    threads = [threading.Thread(target=fired, args=[database]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,) = runs(database)
    assert (run.workflow, run.status) == ("w", "queued")
    ((key, priority, max_runs),) = ask(database, "select key, priority, max_runs from queued")
    assert key.startswith("schedule hourly 20")
    assert (priority, max_runs) == (3, 1)
    ((known,), _) = schedules.known(database)
    assert (known.run, known.missed) == (run.id, 0)
    assert known.last is not None
    assert known.next == known.last + HOUR
    ask(database, f"update schedule set next={known.last}")  # as a backup would
    assert fired(database) == []
    assert len(runs(database)) == 1
    async with Orchestrator({}, journal=database) as engine, engine.resume(run.id) as carried:
        result = await carried.execute()
    assert result.output == {"a": 7}


@pytest.mark.parametrize(("catch_up", "runs_made"), [(False, 0), (True, 1)])
async def test_times_that_passed_without_a_worker_are_told_and_the_last_may_be_made_up_for(
    catch_up: bool, runs_made: int, database: Address, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cluster.firing.GRACE_S", 0.0)
    await make(ago_s=2 * HOUR, catch_up=catch_up)
    (said,) = fired(database)
    assert len(runs(database)) == runs_made
    missed = 3 - runs_made
    assert said.startswith(f'schedule "hourly": {missed} times passed while no worker was connect')
    assert ("is made up for" if catch_up else "the next is 20") in said
    ((known,), _) = schedules.known(database)
    assert known.missed == missed
    assert fired(database) == []


async def test_a_schedule_that_this_machine_cannot_read_is_told_once_and_left_to_others(
    database: Address, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cluster.firing.GRACE_S", 2 * HOUR)
    await make(ago_s=0.0)
    async with Orchestrator({}, journal=database) as engine:
        when = Schedule("other", "w", "@hourly", "UTC", False, Order())
        await engine.schedule(when, {"name": "w", "tasks": [{"id": "a", "value": 1}]})
    ask(database, "update schedule set zone='Mars/Base', next=1 where name='other'")
    said, plans, minutes = list[str](), list[str](), [0.0]
    guard, clock = Guard(said.append), SimpleNamespace(monotonic=lambda: minutes[0] * 60)
    monkeypatch.setattr(guarding, "time", clock)

    def planned(text: str, zone: str) -> Cron:
        plans.append(zone)
        return Cron(text, zone)

    monkeypatch.setattr(firing, "Cron", planned)
    with reading(database) as db:
        fire(db, guard)
        assert said[0].startswith('this worker cannot submit schedule "other": unknown time zone "')
        assert len(runs(database)) == 1  # that of the other schedule
        fire(db, guard)
        assert plans == ["Mars/Base", "UTC"]  # not each time that it looks
        minutes[0] = 1.0
        fire(db, guard)
        assert (plans[2:], len(said)) == (["Mars/Base"], 1)
    ((next_s,),) = ask(database, "select next from schedule where name='other'")
    assert next_s == 1


async def test_what_takes_long_or_may_block_is_not_done_while_no_other_releases_runs(
    database: Address, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(what: str) -> None:
        with reading(database) as db:
            ((is_free,),) = db.execute("select pg_try_advisory_lock(?::bigint)", (LOCK,)).fetchall()
            db.execute("select pg_advisory_unlock_all()")
        free.append((what, is_free))

    def planned(text: str, zone: str) -> Cron:
        seen("cron")
        if len(free) == 1:  # meanwhile it is changed
            ask(database, "update schedule set zone='Europe/Berlin'")
        return Cron(text, zone)

    free = list[tuple[str, bool]]()
    monkeypatch.setattr(firing, "Cron", planned)
    await make(ago_s=2 * HOUR)
    with reading(database) as db:
        fire(db, Guard(seen))
        assert free == [("cron", True)]
        fire(db, Guard(seen))
    (_, cron, (said, is_free)) = free
    assert (cron, is_free) == (("cron", True), True)
    assert "+01:00" in said or "+02:00" in said  # as the clock there is


async def test_a_schedule_that_is_not_there_cannot_be_removed(database: Address, make: Any) -> None:
    await make(ago_s=0.0)
    session = store_of(database).session()
    with pytest.raises(JournalError, match='unknown schedule "hourli"'):
        session.call(lambda db: schedules.remove(db, "hourli"))
    with pytest.raises(JournalError) as raised:
        session.call(lambda db: schedules.remove(db, "x\n" * 300))
    assert str(raised.value).endswith('..."; there are "hourly"')
    assert len(str(raised.value)) < 200
    session.call(lambda db: schedules.remove(db, "hourly"))
    assert schedules.known(database) == ([], [])
