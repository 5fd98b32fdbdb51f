"""Which runs are handed out to whom, and in which order: what the journal says, without a queue."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from orchestrator import Orchestrator, Order
from orchestrator.cluster import release
from orchestrator.cluster.offers import Offer, forget_old, offers
from orchestrator.cluster.release import handed, lay_aside, postpone, queue_again, queue_for, waits
from orchestrator.cluster.waiting import note
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import reading
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.journal.orders import of_runs
from orchestrator.journal.store import Database
from orchestrator.journal.workers import WORKER
from tests.journals import ask

pytestmark = pytest.mark.anyio
PLAIN = Offer.of(1, (), ())


@pytest.fixture
async def engine(database: Address) -> Any:
    async with Orchestrator({"s": "http://127.0.0.1:9/"}, journal=database) as engine:
        yield engine


@pytest.fixture
async def db(engine: Orchestrator, database: Address) -> Any:
    assert engine.is_open  # there is a journal
    with reading(database) as db:
        yield db


async def submit(
    engine: Orchestrator, name: str = "w", order: Order | None = None, **task: Any
) -> str:
    flow = {"name": name, "tasks": [{"id": "a", **(task or {"value": 1})}]}
    return await engine.queue(flow, None, order)


def released(db: Database, *offered: Offer) -> list[str]:
    runs: list[str] = []
    while found := release.release(db, Counter(offered or (PLAIN,))):
        for each in found:
            handed(db, [each.run])
            runs.append(each.run)
    return runs


def has(database: Address, run: str, status: str) -> None:
    ask(database, f"update run set status='{status}' where id='{run}'")


async def test_the_highest_priority_goes_first_and_what_came_first_among_equals(
    engine: Orchestrator, db: Database
) -> None:
    first, second = await submit(engine), await submit(engine)
    low = await submit(engine, order=Order(priority=-3))
    high = await submit(engine, order=Order(priority=1000))
    assert released(db) == [high, first, second, low]
    assert released(db) == []


async def test_a_worker_gets_no_run_whose_server_does_not_start_there(
    engine: Orchestrator, db: Database
) -> None:
    calls, plain = await submit(engine, tool="s:t"), await submit(engine)
    whole, lacks = Offer.of(1, (), ["s"]), Offer.of(1, (), ["s"], {"s": "it is gone"})
    assert lacks.queue == whole.queue
    assert released(db, lacks) == [plain]
    assert queue_for(db, calls, {lacks: 1}) is None
    assert queue_for(db, calls, {lacks: 1, whole: 1}) == whole.queue
    later = await submit(engine, tool="s:t")
    assert released(db, lacks, whole) == [calls, later]


async def test_a_queue_has_no_more_ahead_than_its_workers_take_soon_but_for_higher_priorities(
    engine: Orchestrator, db: Database, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "AHEAD", 1)
    runs = [await submit(engine) for _ in range(4)]
    two = Offer.of(2, (), ())
    assert released(db, two) == runs[:2]
    assert released(db, two) == []
    urgent = await submit(engine, order=Order(priority=1))
    assert released(db, two) == [urgent]
    has(database, runs[0], "running")
    assert released(db, two) == []
    has(database, runs[1], "running")
    assert released(db, two) == runs[2:3]
    assert released(db) == runs[3:]  # workers of another queue have nothing before them


async def test_with_several_queues_runs_go_where_a_place_is_free_and_else_wait_in_the_journal(
    engine: Orchestrator, db: Database, database: Address
) -> None:
    gpu, plain = Offer.of(2, ["gpu"], ()), Offer.of(2, (), ())
    runs = [await submit(engine) for _ in range(6)]
    queues = [each.queue for each in release.release(db, {gpu: 1, plain: 1})]
    assert queues == [plain.queue] * 2 + [gpu.queue] * 2  # what asks for no label goes there first
    handed(db, runs[:4])
    for run in runs[:4]:
        has(database, run, "running")
    assert released(db, gpu, plain) == []
    has(database, runs[3], "success")  # it took long: nothing is ahead of what is free
    assert release.release(db, {gpu: 1, plain: 1}) == [(runs[4], gpu.queue, 0)]
    handed(db, [runs[4]])
    assert released(db, gpu, plain) == []
    ended = "update run set started=now_s() - 0.1, ended=now_s(), status='success' where id=?"
    ask(database, ended, runs[2])
    has(database, runs[4], "running")
    assert released(db, gpu, plain) == [runs[5]]  # short ones make place before the next look


async def test_runs_that_wait_for_a_full_worker_move_to_one_that_is_free(
    engine: Orchestrator, db: Database, database: Address
) -> None:
    full, free = Offer.of(1, (), ()), Offer.of(2, ["gpu"], ())
    runs = [await submit(engine, order=Order(priority=n)) for n in range(5)]
    assert len(released(db, full)) == 5

    def moved(*offered: Offer, taken: str = "") -> list[str]:
        found: list[str] = []

        def put(_: Database, some: list[str], queue: str, to: str) -> list[str]:
            assert (queue, to) == (full.queue, free.queue)
            found.extend(run for run in some if run != taken)
            return found

        release.move(db, Counter(offered), put)
        return found

    assert moved(full) == []
    has(database, runs[0], "running")
    assert moved(full, free, taken=runs[4]) == [runs[3]]  # a worker has taken the other one
    assert moved(full, free) == [runs[4]]
    assert moved(full, free) == []
    has(database, runs[0], "success")
    assert moved(full, free) == []  # each has what it can carry
    has(database, runs[3], "success")
    assert moved(full, free) == [runs[2]]


async def test_what_is_taken_over_goes_where_a_place_is_free(
    engine: Orchestrator, db: Database, database: Address
) -> None:
    one, other = Offer.of(1, (), ()), Offer.of(2, (), ())
    runs = [await submit(engine) for _ in range(3)]
    for run in runs:
        has(database, run, "running")
    found = [queue_for(db, run, {one: 1, other: 1}) for run in runs]
    assert sorted(map(str, found)) == sorted([other.queue, other.queue, one.queue])


async def test_a_run_that_is_due_later_waits_for_its_time(
    engine: Orchestrator, db: Database, database: Address
) -> None:
    run = await submit(engine, order=Order(due=4e9))
    assert released(db) == []
    ask(database, "update queued set due=1")
    assert released(db) == [run]


async def test_a_run_that_could_not_be_handed_out_asks_for_no_time(
    engine: Orchestrator, db: Database
) -> None:
    order = Order(key="k", priority=5)
    run = await submit(engine, order=order)
    note(db, run, "it cannot be", Hiding())
    postpone(db, run)
    assert released(db) == []
    assert of_runs(db, [run])[run] == order
    flow = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
    assert await engine.submit(flow, None, order) == (run, False, ())


async def test_no_more_runs_of_a_workflow_are_under_way_than_it_may(
    engine: Orchestrator, db: Database, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "SOME", 2)  # more wait than are looked at together
    few = [await submit(engine, "few", Order(max_runs=2)) for _ in range(5)]
    other = await submit(engine, "other")
    assert released(db) == [*few[:2], other]
    assert released(db) == []
    has(database, few[0], "running")
    assert released(db) == []
    has(database, few[0], "success")
    assert released(db) == [few[2]]
    for run in few[1:3]:
        has(database, run, "paused")  # a run that waits for an answer is not under way
    assert released(db) == few[3:]


async def test_a_run_that_cannot_begin_is_not_under_way_and_waits_for_its_turn(
    engine: Orchestrator, db: Database, database: Address
) -> None:
    first, second, third = [await submit(engine, "few", Order(max_runs=1)) for _ in range(3)]
    assert released(db) == [first]
    lay_aside(db, first)
    assert released(db) == [second]
    assert queue_again(db, first, {PLAIN: 1}) is None
    has(database, second, "success")
    assert queue_again(db, first, {PLAIN: 1}) == PLAIN.queue
    assert released(db) == []  # it is about to begin
    has(database, first, "running")
    lay_aside(db, first)  # it has begun
    assert released(db) == []
    assert queue_again(db, first, {PLAIN: 1}) == PLAIN.queue
    has(database, first, "success")
    assert released(db) == [third]


async def test_runs_that_cannot_begin_keep_no_place_of_a_queue(
    engine: Orchestrator, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "AHEAD", 1)
    first, second = await submit(engine), await submit(engine)
    assert released(db) == [first]
    lay_aside(db, first)
    assert released(db) == [second]


async def test_what_was_begun_or_ended_by_hand_is_not_handed_out(
    engine: Orchestrator, db: Database, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "SOME", 1)
    runs = [await submit(engine) for _ in range(3)]
    has(database, runs[0], "running")
    has(database, runs[1], "cancelled")
    assert released(db) == [runs[2]]


async def test_a_run_goes_to_workers_with_its_labels_and_servers(
    engine: Orchestrator, db: Database
) -> None:
    gpu = await submit(engine, order=Order(labels=("gpu", "gpu")))
    called = await submit(engine, tool="s:t")
    assert released(db) == []
    cpu, both = Offer.of(1, ["cpu"], ["s", "t"]), Offer.of(1, ["gpu", "cpu"], ["s"])
    assert released(db, cpu) == [called]
    assert released(db, cpu, both) == [gpu]
    assert queue_for(db, gpu, Counter([cpu])) is None
    assert queue_for(db, gpu, Counter([cpu, both])) == both.queue
    assert queue_for(db, "of an earlier version", Counter([cpu])) == cpu.queue
    assert release.release(db, {}) == []


async def test_what_a_worker_has_chosen_that_died_then_is_handed_out_by_the_next(
    engine: Orchestrator, db: Database
) -> None:
    run = await submit(engine)
    (chosen,) = release.release(db, {PLAIN: 1})
    assert release.release(db, {PLAIN: 1}) == [chosen]
    handed(db, [chosen.run])
    assert (chosen.run, chosen.queue, release.release(db, {PLAIN: 1})) == (run, PLAIN.queue, [])


async def test_what_was_chosen_for_workers_that_died_then_goes_to_others(
    engine: Orchestrator, db: Database
) -> None:
    run, other = await submit(engine), Offer.of(3, (), ())
    assert release.release(db, {PLAIN: 1}) == [(run, PLAIN.queue, 0)]
    assert release.release(db, {other: 1}) == [(run, other.queue, 0)]
    assert waits(db)
    handed(db, [run])
    assert not waits(db)
    assert release.release(db, {PLAIN: 1}) == []  # its queue has it


async def test_workers_that_offer_the_same_have_one_queue(database: Address) -> None:
    one, other = Offer.of(2, ["b", "a"], ["s"]), Offer.of(2, ["a", "b", "a"], ["s", "s"])
    assert one == other
    assert one.queue != Offer.of(3, ["b", "a"], ["s"]).queue
    async with Journal(database) as journal:
        for name, offer in (("1", one), ("2", other), ("3", PLAIN)):
            await journal.announce(f"{WORKER}{name}", offer.to_dict())
        with reading(database) as db:
            assert offers(db) == {one: 2, PLAIN: 1}
            db.execute("update carrier set beat=beat-7 where run=?", (f"{WORKER}3",))
            assert offers(db) == {one: 2}
            db.execute("update carrier set beat=beat-4000 where run=?", (f"{WORKER}1",))
            forget_old(db)
            rows = db.execute("select run from carrier order by run").fetchall()
    assert rows == [(f"{WORKER}2",), (f"{WORKER}3",)]
