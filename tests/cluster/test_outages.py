"""Runs whose servers do not start on a worker, that end their workers, or that wait too long."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import Orchestrator, Server
from orchestrator.cli import main
from orchestrator.cluster import lookout
from orchestrator.cluster import worker as working
from orchestrator.cluster.offers import offers
from orchestrator.cluster.waiting import why
from orchestrator.journal.history import find, reading, runs
from orchestrator.journal.location import Address
from tests.cluster.test_worker import ASK, Gate, submitted, until, working_on
from tests.journals import ask

pytestmark = pytest.mark.anyio
GONE = {"s": Server(name="s", command="/there/is/no/program")}
LEFT = 'runs that need server "s" are left to other workers for 60 s: server "s" did not start: '


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second."""
    for name in ("TURN_S", "TAKE_S", "CHECK_S"):
        monkeypatch.setattr(lookout, name, 0.01)
    monkeypatch.setattr(working, "LOOK_S", 0.01)


@pytest.fixture
def gate() -> Gate:
    gate = Gate()
    gate.may_end.set()
    return gate


def offered(database: Address) -> list[tuple[str, ...]]:
    """The servers that each worker offers."""
    with reading(database) as db:
        return sorted(offer.up for offer in offers(db).elements())


async def test_a_run_whose_server_does_not_start_is_left_to_workers_where_it_does(
    database: Address, gate: Gate
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    async with (
        working_on(database, GONE) as (queue, lacks, _),
        working_on(database, gate.servers) as (other, _, _),
    ):
        assert await queue.hand_out(run) == ""
        assert len(queue.told) == 1
        assert queue.told[0].startswith(LEFT)
        assert queue.put_again_ == [run]
        assert gate.calls == []
        assert offered(database) == [(), ("s",)]
        assert await queue.hand_out(run) == ""  # it comes from the same queue: nothing is tried
        assert (queue.put_again_, len(queue.told)) == ([run, run], 1)
        assert await queue.hand_out(await submitted(database)) == "success"  # it needs no server
        assert await other.hand_out(run) == "success"
        lacks._outages._ends["s"] = 0.0  # a minute later
        await until(lambda: offered(database) == [("s",), ("s",)])
        again = await submitted(database, gate.flow(), gate.servers)
        assert await queue.hand_out(again) == ""
        assert [said[:7] for said in queue.told[1:]] == [f"run {again[:3]}"] * 2  # of the plain one
    assert runs(database, status="success", limit=9)[-1].id == run


async def test_the_last_worker_that_has_a_server_carries_the_run_to_its_error(
    database: Address, gate: Gate
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    async with working_on(database, GONE) as (queue, first, _):
        async with working_on(database, GONE) as (other, second, _):
            assert await queue.hand_out(run) == ""
            assert await other.hand_out(run) == "failed"
            assert other.told[0].startswith('no other worker has server "s" now, so runs go on')
            assert (first.offer.up, second.offer.up) == ((), ("s",))
        again = await submitted(database, gate.flow(), gate.servers)
        assert await queue.hand_out(again) == ""
        assert queue.aside_ == [again]
        first._outages._ends["s"] = 0.0
        await until(lambda: queue.put_again_ == [run, again])
        assert await queue.hand_out(again) == "failed"


async def test_a_run_waits_for_a_server_that_is_required_and_says_so(
    database: Address, gate: Gate
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    required = {"s": GONE["s"].model_copy(update={"required": True})}
    async with working_on(database, required) as (queue, worker, _):
        assert await queue.hand_out(run) == ""
        assert queue.aside_ == [run]
        text = why(database, find(database, run)).text
        assert text.startswith('server "s" does not start on the workers that have it (')
        assert text.endswith("); each tries again within a minute")
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert queue.aside_ == [run]
        worker._outages._ends["s"] = 0.0
        await until(lambda: queue.put_again_)
        assert await queue.hand_out(run) == ""
        assert len(queue.told) == 1
    async with working_on(database, gate.servers, queue):
        assert await queue.hand_out(run) == "success"


async def test_a_run_that_a_worker_was_handed_and_that_no_thread_begins_is_given_back(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOST_S", 0.01)
    run, carried = await submitted(database), await submitted(database, ASK)
    left = list[str]()
    async with working_on(database) as (queue, worker, _), anyio.create_task_group() as group:
        begun = anyio.Event()

        async def asks(_: Any) -> bool:
            begun.set()
            await anyio.sleep_forever()
            return True

        worker._engine._answer = asks
        group.start_soon(queue.hand_out_to, left, carried)
        await begun.wait()
        queue.handed_out = [(run, worker.name), (carried, worker.name)]
        await until(lambda: queue.aside_)
        assert queue.aside_ == [run]
        assert queue.told[-1] == f"run {run} did not begin here, and is given to other workers"
        worker.leave()


async def test_a_run_that_no_worker_can_carry_says_why(database: Address, gate: Gate) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    async with working_on(database, {"s": MCPServer("s")}) as (queue, _, _):
        assert await queue.hand_out(run) == ""
        text = why(database, find(database, run)).text
        assert text.startswith("no worker could carry it so far, each tries every minute: w: ")
        assert "unknown tool" in text
    async with working_on(database, gate.servers, queue):
        assert await queue.hand_out(run) == "success"
    assert why(database, find(database, run)).text == ""


async def test_a_run_that_goes_on_needs_no_server_of_what_has_settled(
    database: Address, gate: Gate
) -> None:
    other = MCPServer("t")

    @other.tool()
    async def end() -> str:
        return "end"

    tasks = [gate.flow()["tasks"][0], {"id": "b", "tool": "t:end", "depends_on": ["a"]}]
    servers: dict[str, Any] = {**gate.servers, "t": other}
    run = await submitted(database, {"name": "w", "tasks": tasks}, servers)
    async with working_on(database, servers) as (queue, worker, _):
        gate.may_end, left = anyio.Event(), list[str]()
        async with anyio.create_task_group() as group:
            group.start_soon(queue.hand_out_to, left, run)
            await gate.called.wait()
            worker.leave()
            gate.may_end.set()
        assert left == [""]
    async with (
        working_on(database, servers),
        working_on(database, {**GONE, "t": other}) as (queue, _, _),
    ):
        assert await queue.hand_out(run) == "success"
    assert gate.calls == ["a"]


async def lose(database: Address, run: str, servers: Any, owner: str) -> None:
    """Have a process take up a run and end without a word."""
    async with Orchestrator(servers, journal=database) as engine, engine.resume(run):
        pass
    dead = "update carrier set process=9, owner=? where run=?"
    ask(database, dead, owner, run)


async def test_a_run_that_ends_its_workers_fails_and_its_finally_runs(
    database: Address, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    for number in (1, 2):
        await lose(database, run, gate.servers, f"process {number} on m")
    await lose(database, run, gate.servers, "process 3 on n")
    async with working_on(database, gate.servers) as (queue, _, _):
        assert await queue.hand_out(run) == "failed"
    assert gate.calls == ["clean"]
    assert main(["show", run, "--json", "--journal", database.url]) == 0
    out = capsys.readouterr().out
    assert '"kind": "internal"' in out
    assert "3 workers failed while they carried it" in out
    assert "process 1 on m, process 2 on m, process 3 on n" in out


async def test_a_run_that_no_worker_can_hold_in_memory_fails_in_the_end(
    database: Address, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    async with working_on(database, gate.servers) as (queue, worker, _):
        with monkeypatch.context() as patched:

            async def none_left(_: Any) -> Any:
                raise MemoryError

            patched.setattr("orchestrator.engine.run.Run.execute", none_left)
            for _ in range(3):
                assert await queue.hand_out(run) == ""
        assert await queue.hand_out(run) == "failed"
        assert (
            f"worker {worker.name} (MemoryError)" in ask(database, "select result from run")[0][0]
        )
    assert gate.calls == ["clean"]


async def test_losses_before_an_outcome_do_not_count(
    database: Address, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    for number in range(3):
        await lose(database, run, gate.servers, f"process {number} on m")
        if number == 1:
            columns = "run, kind, path, item, fallback, number, at, payload"
            values = f"'{run}', 'failure 0', 'a', 7, false, 1, 0, '{{}}'"
            ask(database, f"insert into record({columns}) values({values})")
    assert main(["show", run, "--journal", database.url]) == 0
    out, err = capsys.readouterr()
    assert '"lost": [' in out
    assert "that failed while they carried it: process 0 on m, process 1 on m\n" in err
    async with working_on(database, gate.servers) as (queue, _, _):
        assert await queue.hand_out(run) == "success"
    assert gate.calls == ["a", "b", "clean"]


async def test_a_worker_that_was_lost_with_the_server_of_its_database_does_not_count(
    database: Address, gate: Gate
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    for number in range(4):
        await lose(database, run, gate.servers, f"process {number} on m")
        started = "extract(epoch from pg_postmaster_start_time())"
        ask(database, f"update carrier set beat={started} - 1 where run=?", run)
    async with working_on(database, gate.servers) as (queue, _, _):
        assert await queue.hand_out(run) == "success"
    assert ask(database, "select count(*) from record where kind='lost'") == [(0,)]


async def test_a_run_whose_end_ends_a_worker_fails_without_its_finally(
    database: Address, gate: Gate
) -> None:
    run = await submitted(database, gate.flow(), gate.servers)
    for number in range(4):
        await lose(database, run, gate.servers, f"process {number} on m")
    async with working_on(database, gate.servers) as (queue, _, _):
        assert await queue.hand_out(run) == "failed"
    assert gate.calls == []
    assert "4 workers failed" in ask(database, "select result from run")[0][0]


async def test_a_question_whose_time_is_over_is_taken_up_without_an_answer(
    database: Address,
) -> None:
    asks = {"message": "a?", "timeout_s": 3600, "default": True}
    run = await submitted(database, {"name": "w", "tasks": [{"id": "a", "ask": asks}]})
    async with working_on(database) as (queue, _, _):
        assert await queue.hand_out(run) == ""
        ((left_s,),) = ask(database, "select due - now_s() from queued")
        assert 3500 < left_s <= 3600
        looks = queue.looks
        await until(lambda: queue.looks > looks + 2)
        assert (queue.aside_, queue.put_again_) == ([run], [])
        ask(database, "update queued set due=due - 3600")
        ask(database, "update record set at=at - 3600")
        await until(lambda: queue.put_again_)
        assert await queue.hand_out(run) == "success"


async def test_an_approval_is_taken_up_when_its_task_is_late(database: Address, gate: Gate) -> None:
    flow = gate.flow()
    flow["tasks"][0] |= {"approve": True, "deadline_s": 3600}
    run = await submitted(database, flow, gate.servers)
    async with working_on(database, gate.servers) as (queue, _, _):
        assert await queue.hand_out(run) == ""
        ask(database, "update queued set due=due - 3600")
        ask(database, "update record set at=at - 3600")
        await until(lambda: queue.put_again_)
        assert await queue.hand_out(run) == "failed"
    assert gate.calls == ["clean"]


async def test_a_question_without_a_limit_waits_for_ever(database: Address) -> None:
    run = await submitted(database, ASK)
    async with working_on(database) as (queue, _, _):
        assert await queue.hand_out(run) == ""
    assert ask(database, "select due from queued")[0][0] == float("inf")
