"""The queue itself: DBOS on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import pytest
from dbos import DBOS

from orchestrator import Orchestrator
from orchestrator.cluster.dispatch import BUSY_S, IDLE_S, QUEUE, DbosDispatch, HandedOver, pace_of
from orchestrator.journal.history import reading
from orchestrator.journal.location import Address
from tests.real_servers import until


@pytest.fixture
def queue(database: Address) -> Iterator[DbosDispatch]:
    dispatch = DbosDispatch(database)
    yield dispatch
    dispatch.stop()


def test_each_run_is_handed_out_once_and_again_if_it_is_put_again(queue: DbosDispatch) -> None:
    carried, leaves, twice = list[str](), {"r2"}, threading.Event()

    def carry(run: str) -> str:
        carried.append(run)
        if carried.count("r2") == 2:
            twice.set()
        if run in leaves:
            leaves.discard(run)
            raise HandedOver
        return "success"

    queue.start("w1", carry, 2)
    for run in ("r1", "r2", "r1"):
        queue.put(run)
    until(lambda: carried.count("r1") == 1 and list(queue.taken()) == [("r2", "w1")])
    queue.put_again("r2")
    assert twice.wait(30)
    until(lambda: not list(queue.taken()))
    assert sorted(carried) == ["r1", "r2", "r2"]


def test_what_was_submitted_is_new_until_it_is_in_the_queue_and_makes_workers_ask_more_often(
    queue: DbosDispatch, database: Address
) -> None:
    async def submit() -> str:
        async with Orchestrator({}, journal=database) as engine:
            return await engine.queue({"name": "w", "tasks": [{"id": "a", "value": 1}]})

    def pace_s() -> float:
        found = DBOS.retrieve_queue(QUEUE)
        assert found is not None
        return found.polling_interval_sec

    held = threading.Event()

    def carry(_: str) -> str:
        assert held.wait(30)
        return "success"

    queue.start("w1", carry, 1)
    first, second = anyio.run(submit), anyio.run(submit)
    with reading(database) as db:
        assert queue.new(db) == [first, second]
        queue.put(first)
        assert queue.new(db) == [second]
        until(lambda: [run for run, _ in queue.taken()] == [first])
        queue.pace(db, 1)
        assert pace_s() == IDLE_S
        queue.put(second)
        assert queue.new(db) == []
        queue.pace(db, 1)
        assert pace_s() == BUSY_S
        held.set()
        until(lambda: not list(queue.taken()))
        until(lambda: not queue._opened().list_queued_workflows())
        queue.pace(db, 1)
        assert pace_s() == IDLE_S


def test_many_workers_ask_less_often_each() -> None:
    paces = [(pace_of(n, waits=True), pace_of(n, waits=False)) for n in (1, 100, 1000, 10_000)]
    assert paces == [(0.05, 0.25), (0.05, 0.25), (0.5, 2.0), (2.0, 2.0)]
