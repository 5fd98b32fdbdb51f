"""Workers: what they carry, take over, leave to others. The queue is a list in this process."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio import to_thread
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from orchestrator import JournalError, Orchestrator, WorkflowError
from orchestrator.cluster import lookout
from orchestrator.cluster import worker as working
from orchestrator.cluster.carried import DELETED, status_of
from orchestrator.cluster.dispatch import ASIDE, Carry, HandedOver
from orchestrator.cluster.lookout import Lookout
from orchestrator.cluster.offers import Offer
from orchestrator.cluster.release import under_way
from orchestrator.cluster.turns import Turn, turn
from orchestrator.cluster.worker import Worker
from orchestrator.engine.question import Reply
from orchestrator.journal.answers import answer
from orchestrator.journal.glance import is_answered
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Address
from orchestrator.journal.store import Database, LostError
from tests.journals import ask
from tests.postgres import Server

pytestmark = pytest.mark.anyio
FLOW: dict[str, Any] = {"name": "w", "tasks": [{"id": "a", "value": 1}]}
ASK: dict[str, Any] = {"name": "w", "tasks": [{"id": "a", "ask": {"message": "a?"}}]}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second."""
    monkeypatch.setattr(working, "LOOK_S", 0.01)
    for name in ("TURN_S", "CHECK_S", "SWEEP_S", "TAKE_S"):
        monkeypatch.setattr(lookout, name, 0.01)
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)


class List:
    """A queue; the test hands out what is in it."""

    def __init__(self) -> None:
        self.carry: Carry | None = None  # until it is closed
        self.begun: Carry | None = None
        self.waiting: list[str] = []
        self.handed_out: list[tuple[str, str]] = []
        self.put_again_: list[str] = []
        self.aside_: list[str] = []
        self.looks = self.forgets = self.sweeps = 0
        self.patience_s: list[int] = []
        self.told: list[str] = []
        self.workers = set[int]()
        self.stranded_: list[str] = []
        self.unknown_: list[tuple[str, int]] = []

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        assert (len(worker), at_once) == (12, 4)
        assert queue.startswith("orchestrator_runs ")
        self.carry = self.begun = carry

    def put(self, runs: Iterable[tuple[str, str, int]], /) -> None:
        for run, queue, priority in runs:
            if queue == ASIDE:
                self.aside_.append(run)
                continue
            assert (queue[:18], priority) == ("orchestrator_runs ", 0)
            self.waiting.append(run)

    def pace(self, _: Database, queues: list[str], workers: int, /) -> None:
        assert queues
        self.workers.add(workers)

    def handed(self, _: Database, worker: str, /) -> list[str]:
        return [run for run, of in self.handed_out if of == worker]

    def stranded(self, _: Database, queues: list[str], /) -> list[str]:
        assert queues
        found, self.stranded_ = self.stranded_, []
        return found

    def unknown(self, _: Database, /) -> list[tuple[str, int]]:
        return self.unknown_

    def taken(self, _: Database, but_for: list[str], /) -> list[tuple[str, str]]:
        return [each for each in self.handed_out if each[1] not in but_for]

    def put_again(self, run: str, queue: str) -> None:
        assert queue
        self.handed_out.clear()
        if run in self.aside_:
            self.aside_.remove(run)
        (self.aside_ if queue == ASIDE else self.put_again_).append(run)

    def aside(self, _: Database, /) -> list[str]:
        self.looks += 1
        return list(self.aside_)

    def move(self, _: Database, runs: list[str], queue: str, to: str, /) -> list[str]:
        assert queue != to
        return runs

    def forget(self) -> None:
        self.forgets += 1

    def sweep(self, _: Database, /) -> None:
        self.sweeps += 1

    def stop(self, patience_s: int) -> None:
        self.patience_s.append(patience_s)

    def close(self) -> None:
        self.carry = None

    async def hand_out(self, run: str) -> str:
        """How it ended; "" if it was handed over."""
        assert self.begun is not None
        try:
            return await to_thread.run_sync(self.begun, run)
        except HandedOver:
            return ""

    async def hand_out_to(self, ends: list[str], run: str) -> None:
        """Note how it ended, whenever that is."""
        ends.append(await self.hand_out(run))


@asynccontextmanager
async def working_on(
    database: Address, servers: Any = None, queue: List | None = None
) -> AsyncIterator[tuple[List, Worker, anyio.CancelScope]]:
    """A worker; the scope ends it."""
    queue, journal = queue or List(), Journal(database)
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
    queue, other = List(), List()
    other.waiting = queue.waiting  # they share one
    async with working_on(database, {}, queue), working_on(database, {}, other):
        await until(lambda: len(queue.waiting) == 5)
        await until(lambda: 2 in queue.workers | other.workers)
    assert queue.waiting == sorted(runs)


async def test_of_all_workers_one_looks_at_a_time(database: Address) -> None:
    async with Journal(database):
        with reading(database) as db:
            assert turn(db, 60.0, 60.0, 60.0) is Turn.LOOK
            assert turn(db, 60.0, 0.0, 0.0) is Turn.NOTHING
            assert turn(db, 0.0, 60.0, 60.0) is Turn.SWEEP  # nobody has yet
            assert turn(db, 0.0, 60.0, 60.0) is Turn.LOOK
            assert turn(db, 0.0, 0.0, 60.0) is Turn.CHECK
            assert turn(db, 0.0, 0.0, 0.0) is Turn.SWEEP


async def test_who_asks_whether_it_is_its_turn_while_another_does_waits_for_nothing(
    database: Address,
) -> None:
    async with Journal(database):
        with reading(database) as db, reading(database) as other:
            assert turn(db, 60.0, 60.0, 60.0) is Turn.LOOK
            db.execute("begin")
            assert turn(db, 0.0, 0.0, 60.0) is Turn.SWEEP
            assert turn(other, 0.0, 0.0, 60.0) is Turn.NOTHING
            db.execute("rollback")
            assert turn(other, 0.0, 0.0, 60.0) is Turn.SWEEP


def test_many_workers_ask_less_often_each_whether_it_is_their_turn(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "TURN_S", 0.25)
    given: Any = (database, List(), Offer.of(1, (), ()), bool, print)
    looks, paces = Lookout(*given), list[float]()
    for looks.workers in (0, 1, 4, 16, 1000):
        paces.append(looks.pause_s)
    assert paces == [0.25, 0.25, 0.25, 1.0, 2.0]


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


async def test_a_worker_that_was_heard_a_moment_ago_is_not_taken_for_gone(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "GRACE_S", 60.0)
    async with working_on(database) as (queue, _, _):
        silent = "insert into carrier(run, process, owner, began, beat) values"
        ask(database, f"{silent}('worker w9', 9, '', 0, now_s() - 3)")
        queue.handed_out = [("r9", "w9")]
        looks = queue.looks
        await until(lambda: queue.looks > looks + 3)
        assert queue.put_again_ == []
        ask(database, "update carrier set beat=beat - 60 where run='worker w9'")
        await until(lambda: queue.put_again_)


async def test_a_run_that_another_process_carries_ends_as_it_ends_there(database: Address) -> None:
    run = await submitted(database, ASK)
    async with (
        working_on(database) as (queue, _, _),
        Orchestrator({}, journal=database) as other,
        anyio.create_task_group() as group,
    ):
        ended: list[str] = []
        async with other.resume(run, wait=True) as carried:
            group.start_soon(carried.execute)
            group.start_soon(queue.hand_out_to, ended, run)
            await anyio.sleep(0.1)
            assert ended == []
            ask_to_end(database, run)
            await until(lambda: carried.result)
        await until(lambda: ended)
        assert ended == ["cancelled"]


async def test_a_run_that_is_deleted_while_it_is_in_the_queue_has_ended(
    database: Address,
) -> None:
    run = await submitted(database)
    async with working_on(database) as (queue, _, _):
        ask(database, "delete from run where id=?", run)
        with anyio.fail_after(30):
            assert await queue.hand_out(run) == DELETED


async def test_a_worker_that_leaves_does_not_wait_for_a_run_of_another_process(
    database: Address,
) -> None:
    run, left = await submitted(database, ASK), list[str]()
    async with (
        Orchestrator({}, journal=database) as other,
        other.resume(run, wait=True) as carried,
        anyio.create_task_group() as group,
    ):
        group.start_soon(carried.execute)
        async with working_on(database) as (queue, worker, _):
            group.start_soon(queue.hand_out_to, left, run)
            await until(lambda: worker._carried)
            worker.leave()
            await until(lambda: left)
        assert runs(database)[0].status == "running"
        carried.answer("a", True)
    assert left == [""]
    assert runs(database)[0].status == "success"


class Gate:
    """A server whose tool waits for the test."""

    def __init__(self) -> None:
        self.called, self.may_end = anyio.Event(), anyio.Event()
        self.calls: list[str] = []
        self.server = MCPServer("s")

        @self.server.tool()
        async def wait(key: str) -> str:
            self.calls.append(key)
            self.called.set()
            await self.may_end.wait()
            return key

        @self.server.tool(annotations=ToolAnnotations(readOnlyHint=True))
        async def clean() -> None:
            self.calls.append("clean")

    def flow(self) -> dict[str, Any]:
        tasks = [
            {"id": "a", "tool": "s:wait", "arguments": {"key": "a"}},
            {"id": "b", "tool": "s:wait", "arguments": {"key": "b"}, "depends_on": ["a"]},
        ]
        return {"name": "w", "tasks": tasks, "finally": [{"id": "end", "tool": "s:clean"}]}

    @property
    def servers(self) -> dict[str, MCPServer]:
        return {"s": self.server}


async def test_a_worker_that_is_ended_at_once_hands_over_and_cancels_calls(
    database: Address,
) -> None:
    gate, left = Gate(), list[str]()
    run = await submitted(database, gate.flow(), gate.servers)
    async with anyio.create_task_group() as group:
        async with working_on(database, gate.servers) as (queue, _, scope):
            group.start_soon(queue.hand_out_to, left, run)
            await gate.called.wait()
            scope.cancel()
        await until(lambda: left)
    assert left == [""]
    assert queue.aside_ == [run]
    assert runs(database)[0].status == "interrupted"
    assert gate.calls == ["a"]  # and nothing of its finally
    assert ask(database, "select 1 from carrier where run like 'worker %'") == []


async def test_a_worker_that_leaves_lets_calls_end_and_others_repeat_nothing(
    database: Address,
) -> None:
    gate, left = Gate(), list[str]()
    run = await submitted(database, gate.flow(), gate.servers)
    async with (
        anyio.create_task_group() as group,
        working_on(database, gate.servers) as (other, _, _),
        working_on(database, gate.servers) as (queue, worker, _),
    ):
        group.start_soon(queue.hand_out_to, left, run)
        await gate.called.wait()
        assert worker.leave()
        assert not worker.leave()
        await until(lambda: queue.patience_s)
        assert (left, queue.patience_s) == ([], [31])
        assert await queue.hand_out(run) == ""  # it was on its way
        gate.may_end.set()
        await until(lambda: left)
        assert left == [""]
        assert queue.told[1] == "waits up to 30 s for calls of a run"
        assert queue.put_again_ == [run, run]
        assert runs(database)[0].status == "interrupted"
        assert gate.calls == ["a"]
        doubtful = "select 1 from record where kind like 'intent%' and path='b'"
        assert ask(database, doubtful) == []
        assert await other.hand_out(run) == "success"
    assert gate.calls == ["a", "b", "clean"]


async def test_a_call_that_takes_too_long_is_cancelled_when_its_worker_leaves(
    database: Address,
) -> None:
    gate, left = Gate(), list[str]()
    run = await submitted(database, gate.flow(), gate.servers)
    async with (
        anyio.create_task_group() as group,
        working_on(database, gate.servers) as (queue, worker, _),
    ):
        worker._drain_s = 0.01
        group.start_soon(queue.hand_out_to, left, run)
        await gate.called.wait()
        worker.leave()
        await until(lambda: left)
    assert left == [""]
    assert (gate.calls, runs(database)[0].status) == (["a"], "interrupted")


async def test_a_run_that_cannot_be_carried_here_is_left_to_others_and_told_once(
    database: Address,
) -> None:
    gate = Gate()
    gate.may_end.set()
    run = await submitted(database, gate.flow(), gate.servers)
    async with working_on(database, {"s": MCPServer("s")}) as (queue, lacks, _):
        assert await queue.hand_out(run) == ""
        assert queue.aside_ == [run]
        begun = f"run {run} cannot be carried here, and is left to other workers: "
        assert queue.told[-1].startswith(begun)
        assert "unknown tool" in queue.told[-1]
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert queue.put_again_ == []
        lacks._cannot[run] = 0.0  # a minute later
        await until(lambda: queue.put_again_)
        assert await queue.hand_out(run) == ""
        assert len(queue.told) == 1
    (known,) = runs(database)
    assert (known.status, known.resumed) == ("queued", 0)  # nothing of it was called
    queue.put_again_.clear()
    async with working_on(database, {}, queue):
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert queue.put_again_ == []  # it has no such server
    async with working_on(database, gate.servers, queue):
        await until(lambda: queue.put_again_)
        assert await queue.hand_out(run) == "success"


async def test_a_run_that_cannot_begin_keeps_no_other_of_its_workflow_from_that(
    database: Address,
) -> None:
    gate = Gate()
    gate.may_end.set()
    first, second = [await submitted(database, gate.flow(), gate.servers) for _ in range(2)]
    ask(database, f"update queued set max_runs=1, due=case when run='{first}' then 0 else 4e9 end")
    async with working_on(database, {"s": MCPServer("s")}) as (queue, worker, _):
        await until(lambda: queue.waiting == [first])
        assert await queue.hand_out(first) == ""
        ask(database, "update queued set due=0")
        await until(lambda: queue.waiting == [first, second])
        worker._cannot[first] = 0.0  # a minute later, the other one is about to begin
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert queue.put_again_ == []
        ask(database, f"update run set status='success' where id='{second}'")
        await until(lambda: queue.put_again_ == [first])


async def test_a_run_that_could_not_begin_by_hand_is_handed_out_again(database: Address) -> None:
    gate = Gate()
    run = await submitted(database, gate.flow(), gate.servers)
    async with Orchestrator({"s": MCPServer("s")}, journal=database) as engine:
        with pytest.raises(WorkflowError, match="unknown tool"):
            async with engine.resume(run):
                ask(database, "update queued set begun=true")  # as a look of a worker notes
    found = ask(database, "select status, begun, queue, resumed from run join queued on run=id")
    assert found == [("queued", False, None, -1)]
    async with working_on(database, gate.servers) as (queue, _, _):
        await until(lambda: queue.waiting == [run])


async def test_a_run_that_could_not_begin_still_counts_until_it_is_aside(
    database: Address,
) -> None:
    run = await submitted(database)
    ask(database, "update queued set queue='q', handed=true, begun=true, max_runs=1")
    async with Orchestrator({}, journal=database) as engine:
        with suppress(ZeroDivisionError):
            async with engine.resume(run):
                ask(database, "update queued set begun=true")
                raise ZeroDivisionError  # as where a server of it does not start
    with reading(database) as db:
        assert under_way(db, "w") == 1
    assert ask(database, "select begun, queue from queued") == [(False, "q")]
    async with Orchestrator({}, journal=database) as engine, engine.resume(run) as again:
        assert (await again.execute()).status == "success"  # nothing of its time was used up


async def test_a_run_that_waits_for_an_answer_goes_on_when_it_has_one(database: Address) -> None:
    run = await submitted(database, ASK)
    async with working_on(database) as (queue, _, _):
        assert await queue.hand_out(run) == ""
        assert (queue.aside_, runs(database)[0].status) == ([run], "paused")
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert queue.put_again_ == []
        answer(database, run, "a", lambda _: Reply(True), Hiding())
        await until(lambda: queue.put_again_)
        assert (queue.put_again_, queue.aside_) == ([run], [])
        assert await queue.hand_out(run) == "success"
    assert runs(database)[0].resumed == 1


async def test_a_run_that_goes_on_meanwhile_waits_for_no_answer(database: Address) -> None:
    run = await submitted(database, ASK)
    with reading(database) as db:
        assert not is_answered(db, run)  # it has no result, as it is carried or will be


async def test_what_was_in_the_queues_of_a_journal_that_was_copied_goes_on(
    database: Address,
) -> None:
    queue, run = List(), await submitted(database)
    queue.unknown_ = [(run, 0), ("gone", 3)]
    async with working_on(database, queue=queue):
        await until(lambda: run in queue.put_again_)
        assert queue.aside_ == ["gone"]
        assert queue.told == [
            "2 runs were in a queue that is no more, as in a copied journal, and may go on"
        ]


async def test_workers_forget_what_has_ended_and_sweep_up_the_rest(database: Address) -> None:
    async with working_on(database) as (queue, _, _):
        await until(lambda: queue.forgets > 3 and queue.sweeps > 3)


async def test_a_bug_is_no_outcome_of_a_run(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await submitted(database)
    async with working_on(database) as (queue, worker, _):

        async def none_left(_: Any) -> Any:
            raise MemoryError

        monkeypatch.setattr("orchestrator.engine.run.Run.execute", none_left)
        assert await queue.hand_out(run) == ""
        assert queue.told[-1].endswith("left to other workers: MemoryError")
        monkeypatch.undo()
        monkeypatch.setattr(worker, "_carry", none_left)
        assert await queue.hand_out(run) == ""
    assert runs(database)[0].status == "queued"


async def test_a_worker_is_watched_from_its_start_to_its_end(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(List):
        def start(self, *given: Any) -> None:
            super().start(*given)
            order.append("start")

        def stop(self, patience_s: int) -> None:
            super().stop(patience_s)
            order.append("stop")

        def close(self) -> None:
            super().close()
            order.append("close")

    class Watched:
        def __init__(self, call_soon: Any) -> None:
            self.call_soon = call_soon

        def __enter__(self) -> None:
            self.call_soon(lambda: order.append("the event loop goes on"))

        def __exit__(self, *_: object) -> None:
            order.append("end")

    order = list[str]()
    monkeypatch.setattr("orchestrator.cluster.memory.Watchdog", Watched)
    async with working_on(database, queue=Seen()) as (_, worker, _):
        worker.leave()
        await until(lambda: "end" in order)
    assert order == ["the event loop goes on", "start", "stop", "stop", "close", "end"]


async def test_a_run_is_given_back_when_the_queue_can_be_asked_again(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await submitted(database, ASK)
    async with working_on(database) as (queue, _, _):
        asked = list[str]()

        def put_again(run: str, queue: str) -> None:
            asked.append(run)
            assert queue == ASIDE
            if len(asked) == 1:
                raise LostError("the connection is lost")

        monkeypatch.setattr(queue, "put_again", put_again)
        assert await queue.hand_out(run) == ""
        assert asked == [run, run]


async def test_a_look_that_fails_or_takes_long_is_followed_by_another(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, goes_on = List(), threading.Event()
    looks = list[int]()

    def aside(_: Database) -> list[str]:
        looks.append(len(looks))
        if looks == [0]:
            raise JournalError("the connection is lost")
        if looks == [0, 1]:
            goes_on.wait()
        return []

    monkeypatch.setattr(queue, "aside", aside)
    monkeypatch.setattr(working, "LOOK_MOST_S", 0.05)
    async with working_on(database, queue=queue) as (_, worker, _):
        await until(lambda: looks == [0, 1])
        worker._lookout.look()  # at the same time
        assert looks == [0, 1]
        goes_on.set()
        await until(lambda: len(looks) > 3)


def lost(journal: Journal) -> bool:
    return journal._writer is None or journal.error is not None


async def test_a_worker_without_its_database_ends(
    database: Address, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres_session.RECONNECT_S", 0.0)
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.0)
    run, left = await submitted(database), list[str]()
    try:
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends in the block
            async with working_on(database) as (queue, worker, _):
                with anyio.CancelScope(shield=True):  # the worker may have ended by now
                    await to_thread.run_sync(postgres.stop)
                    assert status_of(database, run) == ""
                    await until(lambda: lost(worker._journal))
                    left.append(await queue.hand_out(run))
    finally:
        postgres.start()
    assert left == [""]
    assert raised.group_contains(JournalError)
    assert runs(database)[0].status == "queued"
