"""The queue itself: DBOS on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import pytest
from dbos import DBOS

from orchestrator import JournalError
from orchestrator.cluster.dispatch import (
    ASIDE,
    BUSY_S,
    IDLE_S,
    RECENT_S,
    DbosDispatch,
    HandedOver,
    pace_of,
)
from orchestrator.cluster.offers import QUEUE
from orchestrator.journal.history import reading
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.journal.orders import MOST_PRIORITY
from orchestrator.journal.store import LostError
from tests.journals import ask
from tests.postgres import Server
from tests.real_servers import until

HERE = f"{QUEUE}here"
KEPT = """insert into run(id, workflow, status, kind, epoch, resumed, started, request)
select id, 'w', 'running', 'run', 1, 0, 0, '{}' from (values"""


@pytest.fixture
def queue(database: Address) -> Iterator[DbosDispatch]:
    anyio.run(make_journal, database)
    dispatch = DbosDispatch(database)
    yield dispatch
    dispatch.stop(0)
    dispatch.close()


def test_each_run_is_handed_out_once_and_again_if_it_is_put_again(
    queue: DbosDispatch, database: Address
) -> None:
    carried, leaves, twice = list[str](), {"r2"}, threading.Event()

    def carry(run: str) -> str:
        carried.append(run)
        if carried.count("r2") == 2:
            twice.set()
        if run in leaves:
            leaves.discard(run)
            raise HandedOver
        return "success"

    queue.start("w1", carry, HERE, 2)
    ask(database, f"{KEPT}('r1'), ('r2')) as run(id)")
    queue.put([(run, HERE, 0) for run in ("r1", "r2", "r1")])
    with reading(database) as db:
        until(lambda: carried.count("r1") == 1 and len(queue.taken(db, ["w2"])) == 2)
        assert queue.taken(db, ["w2", "w1"]) == []
        until(lambda: carried == ["r1", "r2"] or carried == ["r2", "r1"])
        queue.put_again("r2", HERE)
        assert twice.wait(30)
        assert sorted(carried) == ["r1", "r2", "r2"]


def test_a_run_that_has_ended_is_in_no_queue_any_more(
    queue: DbosDispatch, database: Address
) -> None:
    carried = list[str]()

    def carry(run: str) -> str:
        carried.append(run)
        if run == "paused":
            queue.put_again(run, ASIDE)
            raise HandedOver
        return "success"

    queue.start("w1", carry, HERE, 1)
    ask(database, f"{KEPT}('ended'), ('gone'), ('paused')) as run(id)")
    with reading(database) as db:
        queue.sweep(db)  # what other tests have left
        queue.put([(run, HERE, 0) for run in ("ended", "gone", "paused")])
        queue.put([("last", HERE, -1)])  # the others have ended when it begins
        until(lambda: queue.aside(db) == ["paused"] and "last" in carried)
        assert sorted(queue.taken(db, [])) == [("ended", "w1"), ("gone", "w1")]
        assert queued(database) == ["ended", "gone", "last", "paused"]
        queue.sweep(db)  # there is no such run as the last one
        queue.forget()
        assert queued(database) == ["paused"]
        queue.put([("gone", f"{QUEUE}of others", 0), ("ended", f"{QUEUE}of others", 0)])
        ask(database, "update run set status='success' where id='ended'")
        ask(database, "delete from run where id='gone'")
        queue.sweep(db)
        assert queued(database) == ["paused"]
        ask(database, "update run set status='cancelled' where id='paused'")
        queue.sweep(db)
        assert queued(database) == []


def test_workflows_of_another_program_on_dbos_are_left_alone(
    queue: DbosDispatch, database: Address
) -> None:
    queue.start("w1", lambda _: "success", HERE, 1)
    queue.put([("theirs", f"{QUEUE}of others", 0), ("ours", f"{QUEUE}of others", 0)])
    ask(database, "update dbos.workflow_status set name='theirs' where workflow_uuid='theirs'")
    with reading(database) as db:
        queue.sweep(db)
    assert queued(database) == ["theirs"]
    ask(database, "delete from dbos.workflow_status")


def queued(database: Address) -> list[str]:
    """The runs of which the queues know."""
    query = "select workflow_uuid from dbos.workflow_status order by 1"
    return [run for (run,) in ask(database, query)]


def test_what_waits_goes_by_priority_and_makes_workers_ask_more_often(
    queue: DbosDispatch, database: Address
) -> None:
    def pace_s() -> float:
        found = DBOS.retrieve_queue(HERE)
        assert found is not None
        return found.polling_interval_sec

    held, carried = threading.Event(), list[str]()

    def carry(run: str) -> str:
        carried.append(run)
        assert held.wait(30)
        return "success"

    queue.start("w1", carry, HERE, 1)
    queue.put([("first", HERE, 0)])
    with reading(database) as db:
        until(lambda: carried == ["first"])
        queue.pace(db, [HERE], 1)
        assert pace_s() == IDLE_S
        queue.put([("last", HERE, -MOST_PRIORITY), ("plain", HERE, 0)])
        queue.put([("never", HERE, -(2**31))])  # the least number that a row can have
        queue.put([("urgent", HERE, 9 * MOST_PRIORITY), ("elsewhere", f"{QUEUE}of others", 0)])
        queue.put([("first", f"{QUEUE}of others", 0)])  # it is in a queue already
        queue.pace(db, [HERE, f"{QUEUE}of others"], 1)
        assert pace_s() == BUSY_S
        assert queue.stranded(db, [HERE]) == ["elsewhere"]
        queue.put_again("elsewhere", HERE)
        assert queue.stranded(db, [HERE]) == []
        held.set()
        until(lambda: len(carried) == 6)
        queue.pace(db, [HERE], 1)
        assert pace_s() == IDLE_S
        ask(database, f"{KEPT}('recent')) as run(id)")
        ask(database, "update run set started=now_s()")
        queue.pace(db, [HERE], 1)
        assert pace_s() == RECENT_S
    assert carried == ["first", "urgent", "plain", "elsewhere", "last", "never"]


async def make_journal(database: Address) -> None:
    async with Journal(database):
        pass


def test_what_waits_moves_to_another_queue_and_what_a_worker_has_stays(
    queue: DbosDispatch, database: Address
) -> None:
    carried, may_end = list[str](), threading.Event()

    def carry(run: str) -> str:
        carried.append(run)
        assert may_end.wait(30)
        return "success"

    there = f"{QUEUE}there"
    queue.start("w1", carry, HERE, 1)
    queue.put([("taken", there, 0), ("waits", there, 0)])
    with reading(database) as db:
        queue.put_again("taken", HERE)
        until(lambda: carried == ["taken"])
        assert queue.move(db, ["taken", "waits"], HERE, there) == []
        assert queue.move(db, ["taken", "waits"], there, HERE) == ["waits"]
        may_end.set()
        until(lambda: carried == ["taken", "waits"])


def test_many_workers_ask_less_often_each() -> None:
    kinds = ((True, True), (False, True), (False, False))
    paces = [
        tuple(pace_of(n, waits=waits, recent=recent) for waits, recent in kinds)
        for n in (1, 100, 1000, 10_000)
    ]
    assert paces == [(0.02, 0.05, 0.25), (0.1, 0.5, 1.0), (1.0, 2.0, 2.0), (2.0, 2.0, 2.0)]


def test_a_run_that_is_put_aside_is_taken_by_nobody(queue: DbosDispatch, database: Address) -> None:
    carried = list[str]()

    def carry(run: str) -> str:
        carried.append(run)
        if len(carried) == 1:
            queue.put_again(run, ASIDE)
            raise HandedOver
        return "success"

    queue.start("w1", carry, HERE, 1)
    with reading(database) as db:
        before = queue.aside(db)  # the queues outlive the journals of other tests
        queue.put([("a1", HERE, 0)])
        until(lambda: queue.aside(db) == [*before, "a1"])
        assert queue.stranded(db, [HERE]) == []
        queue.put_again("a1", HERE)
        until(lambda: len(carried) == 2)
        assert queue.aside(db) == before


def test_what_was_in_a_queue_and_is_in_none_is_known(
    queue: DbosDispatch, database: Address
) -> None:
    queue.start("w1", str, f"{QUEUE}of nobody", 1)
    ask(database, f"{KEPT}('new'), ('lost'), ('over'), ('there')) as run(id)")
    ask(database, "update run set status='success' where id='over'")
    ask(
        database,
        "insert into queued(run, workflow, priority, handed) select id, 'w', 5, id<>'new' from run",
    )
    queue.put([("there", HERE, 0)])
    with reading(database) as db:
        assert queue.unknown(db) == [("lost", 5)]
        queue.put([("lost", ASIDE, 5)])
        assert queue.unknown(db) == []


def test_a_queue_that_cannot_be_asked_says_so(
    queue: DbosDispatch, postgres: Server, database: Address
) -> None:
    with pytest.raises(JournalError, match="asks nothing of the queues any more"):
        queue.put([("c1", HERE, 0)])
    queue.start("w1", str, HERE, 1)
    postgres.stop()
    try:
        with pytest.raises(JournalError, match="no server answers; start it"):
            DbosDispatch(database).start("w2", str, HERE, 1)
        with pytest.raises(LostError, match="cannot be used: "):
            queue.put([("c1", HERE, 0)])
    finally:
        postgres.start()
