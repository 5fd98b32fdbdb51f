"""The queue itself: DBOS on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from orchestrator.cluster.dispatch import DbosDispatch, HandedOver
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
