"""Workers: what they carry, take over, leave to others. The queue is a list in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from mcp.server.mcpserver import MCPServer

from orchestrator import JournalError, Orchestrator, WorkflowError
from orchestrator.cluster import worker as working
from orchestrator.cluster.dispatch import Carry, HandedOver
from orchestrator.cluster.turns import is_turn
from orchestrator.cluster.worker import Worker
from orchestrator.journal.history import reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Address
from orchestrator.journal.store import Database
from tests.journals import ask
from tests.postgres import Server

pytestmark = pytest.mark.anyio
FLOW: dict[str, Any] = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
ASK: dict[str, Any] = {"name": "w", "tasks": [{"id": "a", "ask": {"message": "a?"}}]}


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second."""
    monkeypatch.setattr(working, "LOOK_S", 0.01)
    monkeypatch.setattr(working, "TURN_S", 0.01)
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)


class List:
    """A queue; the test hands out what is in it."""

    def __init__(self) -> None:
        self.carry: Carry | None = None
        self.waiting: list[str] = []
        self.handed_out: list[tuple[str, str]] = []
        self.put_again_: list[str] = []
        self.told: list[str] = []
        self.workers = set[int]()
        self.stranded_: list[str] = []

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        assert (len(worker), at_once) == (12, 4)
        assert queue.startswith("orchestrator_runs ")
        self.carry = carry

    def put(self, run: str, queue: str, priority: int = 0) -> None:
        assert (queue[:18], priority) == ("orchestrator_runs ", 0)
        self.waiting.append(run)

    def pace(self, _: Database, queue: str, workers: int, /) -> None:
        assert queue
        self.workers.add(workers)

    def stranded(self, _: Database, queues: list[str], /) -> list[str]:
        assert queues
        found, self.stranded_ = self.stranded_, []
        return found

    def taken(self) -> Iterator[tuple[str, str]]:
        yield from self.handed_out

    def put_again(self, run: str, queue: str) -> None:
        assert queue
        self.handed_out.clear()
        self.put_again_.append(run)

    def stop(self) -> None:
        self.carry = None

    async def hand_out(self, run: str) -> str:
        assert self.carry is not None
        return await to_thread.run_sync(self.carry, run)


@asynccontextmanager
async def working_on(
    database: Address, servers: Any = None
) -> AsyncIterator[tuple[List, Worker, anyio.CancelScope]]:
    """A worker; the scope ends it."""
    queue, journal = List(), Journal(database)
    ready = anyio.Event()
    async with Orchestrator(servers or {}, journal=journal) as engine:
        worker = Worker(engine, journal, queue, unknown="repeat", tell=queue.told.append)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.work, ready.set)
            await ready.wait()
            yield queue, worker, group.cancel_scope
            group.cancel_scope.cancel()
    assert queue.carry is None


async def submitted(database: Address, flow: Any = FLOW, servers: Any = None) -> str:
    async with Orchestrator(servers or {}, journal=database) as engine:
        return await engine.queue(flow)


async def until(condition: Any) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_run_that_is_submitted_is_put_into_the_queue_once_and_carried(
    database: Address,
) -> None:
    run = await submitted(database)
    (known,) = runs(database)
    assert (known.id, known.status, known.resumed) == (run, "queued", 0)
    async with working_on(database) as (queue, _, _):
        await until(lambda: queue.waiting)
        assert await queue.hand_out(run) == "success"
        assert queue.waiting == [run]
        assert queue.told == [f"run {run} begins", f"run {run}: success"]
        assert await queue.hand_out(run) == "success"  # once more, after its end
    (known,) = runs(database)
    assert (known.status, known.resumed) == ("success", 0)


async def test_of_many_runs_that_were_submitted_each_look_takes_some(database: Address) -> None:
    runs = [await submitted(database) for _ in range(5)]
    async with working_on(database) as (queue, _, _), working_on(database) as (other, _, _):
        other.waiting = queue.waiting  # they share one
        await until(lambda: len(queue.waiting) == 5)
        await until(lambda: 2 in queue.workers | other.workers)
    assert queue.waiting == sorted(runs)


async def test_of_all_workers_one_looks_at_a_time(database: Address) -> None:
    async with working_on(database):
        with reading(database) as db:
            assert is_turn(db, 0.0)
            assert not is_turn(db, 60.0)
            db.execute("delete from carrier where run='look'")
            assert is_turn(db, 60.0)
            assert not is_turn(db, 60.0)


async def test_what_a_worker_has_left_that_is_gone_is_put_again(database: Address) -> None:
    async with working_on(database) as (queue, worker, _):
        async with working_on(database) as (_, other, _):
            queue.handed_out = [("r1", worker.name), ("r2", other.name)]
            looked = len(ask(database, "select 1 from carrier where run like 'worker %'"))
            assert looked == 2
            await anyio.sleep(0.1)
            assert queue.put_again_ == []
        await until(lambda: queue.put_again_)
        assert queue.put_again_ == ["r2"]
        queue.stranded_ = ["r3"]
        await until(lambda: len(queue.put_again_) == 2)
        assert queue.put_again_ == ["r2", "r3"]
        assert f"taken over from worker {other.name}, which is gone" in queue.told[0]


async def test_a_run_that_another_process_carries_ends_as_it_ends_there(database: Address) -> None:
    run = await submitted(database, ASK)
    async with (
        working_on(database) as (queue, _, _),
        Orchestrator({}, journal=database) as other,
        anyio.create_task_group() as group,
    ):
        ended: list[str] = []

        async def hand_out() -> None:
            ended.append(await queue.hand_out(run))

        async with other.resume(run, wait=True) as carried:
            group.start_soon(carried.execute)
            group.start_soon(hand_out)
            await anyio.sleep(0.1)
            assert ended == []
            ask_to_end(database, run)
            await until(lambda: carried.result)
        await until(lambda: ended)
        assert ended == ["cancelled"]


async def test_a_worker_that_leaves_hands_over_what_it_carries(database: Address) -> None:
    mcp = MCPServer("s")
    called, left = anyio.Event(), list[BaseException]()

    @mcp.tool()
    async def wait() -> None:
        called.set()
        await anyio.sleep_forever()

    flow = {"name": "w", "tasks": [{"id": "a", "tool": "s:wait"}]}
    run = await submitted(database, flow, {"s": mcp})
    async with anyio.create_task_group() as group:
        async with working_on(database, {"s": mcp}) as (queue, _, scope):

            async def hand_out() -> None:
                try:
                    await queue.hand_out(run)
                except HandedOver as error:
                    left.append(error)

            group.start_soon(hand_out)
            await called.wait()
            scope.cancel()
        await until(lambda: left)
    assert runs(database)[0].status == "interrupted"
    assert ask(database, "select 1 from carrier where run like 'worker %'") == []


async def test_a_run_that_cannot_be_carried_here_is_told_and_stays(database: Address) -> None:
    mcp = MCPServer("s")
    flow = {"name": "w", "tasks": [{"id": "a", "tool": "s:wait"}]}
    run = await submitted(database, flow, {"s": mcp})
    async with working_on(database) as (queue, _, _):
        with pytest.raises(WorkflowError, match='unknown server "s"'):
            await queue.hand_out(run)
        assert f"run {run} cannot be carried here: " in queue.told[-1]
    assert runs(database)[0].status in ("queued", "interrupted")


async def test_a_worker_without_its_database_ends(
    database: Address, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres_session.RECONNECT_S", 0.0)
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.0)
    run, left = await submitted(database), list[BaseException]()
    try:
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends in the block
            async with working_on(database) as (queue, worker, _):
                await to_thread.run_sync(postgres.stop)
                assert worker._known(run) == ""
                await until(lambda: worker._journal.error)
                try:
                    await queue.hand_out(run)
                except HandedOver as error:
                    left.append(error)
    finally:
        postgres.start()
    assert raised.group_contains(JournalError)
    assert runs(database)[0].status == "queued"
