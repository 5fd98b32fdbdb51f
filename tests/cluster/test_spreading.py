"""A `for_each` that workers share. They are loops of this process, with engines of their own."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio import to_thread
from mcp.server.mcpserver import MCPServer

from orchestrator import (
    JournalError,
    Orchestrator,
    Question,
    Run,
    RunResult,
    Server,
    spread_task,
    spreading,
)
from orchestrator.cli import main
from orchestrator.engine.drain import Drain
from orchestrator.engine.outcome import Skipped
from orchestrator.engine.question import Reply
from orchestrator.journal.answers import answer
from orchestrator.journal.glance import is_answered
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import find, names, reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept import documents_of
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Address
from orchestrator.journal.totals import totals_of
from orchestrator.servers.config import ServerTable
from orchestrator.servers.locking import LockSettings, LockTables
from tests.journals import ask

pytestmark = pytest.mark.anyio
TEN = list(range(10))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second, and parts are small."""
    monkeypatch.setattr(spread_task, "LOOK_S", 0.01)
    monkeypatch.setattr(spread_task, "PATIENCE_S", 600.0)
    monkeypatch.setattr(spreading, "ITEMS", 3)
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)


class Tools:
    """A server that counts."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.in_flight = self.most = 0
        self.mcp = MCPServer("s")
        self.go_on = anyio.Event()
        self.go_on.set()
        self.fail = anyio.Event()
        self.fail.set()
        self.held = anyio.Event()
        self.tried: set[int] = set()
        self.mcp.tool()(self.double)
        self.mcp.tool()(self.flaky)
        self.mcp.tool()(self.hold)

    async def hold(self) -> int:
        await self.held.wait()
        return -1

    async def flaky(self, n: int, of: int) -> dict[str, int]:
        """Fails the first time for each item, and then does what `double` does."""
        if of not in self.tried:
            self.tried.add(of)
            raise ValueError("busy")
        return await self.double(n)

    async def double(self, n: int) -> dict[str, int]:
        self.called.append(n)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await anyio.sleep(0.001)
            if n < 0:
                await self.fail.wait()
                raise ValueError(f"{n} is negative")
            await self.go_on.wait()
            return {"n": 2 * n}
        finally:
            self.in_flight -= 1


def each(items: Any = TEN, **more: Any) -> dict[str, Any]:
    """A task that is spread."""
    task = {"tool": "s:double", "for_each": items, "arguments": {"n": "$ITEM"}}
    return {"id": "map", **task, "spread": True, **more}


def call(id_: str, **arguments: Any) -> dict[str, Any]:
    """A task that calls once."""
    return {"id": id_, "tool": "s:double", "arguments": arguments}


def flow(*tasks: Any, **more: Any) -> dict[str, Any]:
    return {"name": "w", "tasks": list(tasks) or [each()], **more}


@asynccontextmanager
async def workers(
    database: Address, tools: Tools, number: int = 1, servers: Any = None, at_once: int = 4
) -> AsyncIterator[list[str]]:
    """Workers that carry what is queued; the runs that they begin."""
    begun: list[str] = []

    async def work(name: str) -> None:
        journal = Journal(database)
        async with Orchestrator(servers or {"s": tools.mcp}, journal=journal) as engine:
            claim = await journal.announce(f"worker {name}", {"at_once": at_once})
            ready.set()
            try:
                while True:
                    for run in queued(database):
                        with suppress(JournalError):
                            async with engine.resume(run, unknown="repeat") as carried:
                                begun.append(run)
                                await carried.execute()
                    await anyio.sleep(0.005)
            finally:
                claim.end(is_kept=True)

    async with anyio.create_task_group() as group:
        for each in range(number):
            ready = anyio.Event()
            group.start_soon(work, str(each))
            await ready.wait()
        yield begun
        group.cancel_scope.cancel()


async def left(journal: Journal, run_id: str) -> None:
    """Have others go on with a run."""
    kept = journal.carried(run_id)
    assert kept is not None
    await kept.leave()


async def until(condition: Any) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.01)


def queued(database: Address) -> list[str]:
    with reading(database) as db:
        found = db.execute("select id from run where status='queued' order by id").fetchall()
    return [run for (run,) in found]


def same(document: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on times."""
    if isinstance(document, dict):
        times = ("_ms", "run_id", "started_at", "speedup", "other_schedule")
        return {k: same(v) for k, v in document.items() if not k.endswith(times)}
    return [same(each) for each in document] if isinstance(document, list) else document


async def run(
    database: Address, tools: Tools, plan: dict[str, Any], **options: Any
) -> tuple[RunResult, list[str]]:
    """The result of a run, and the parts that workers have begun."""
    async with (
        workers(database, tools, 2) as begun,
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
    ):
        with anyio.fail_after(60):
            return await engine.run(plan, **options), begun


async def alone(plan: dict[str, Any]) -> RunResult:
    """The result of the same without a journal."""
    async with Orchestrator({"s": Tools().mcp}) as engine:
        return await engine.run(plan)


SUM = {"id": "sum", "value": "${sum(OUTPUT[map][?n].n)}", "run_if": "all_done"}
INNER = {"tasks": [call("a", n="$INPUT.n"), call("b", n="$OUTPUT[a].n")], "inputs": {"n": {}}}
FEW = {"id": "few", "value": {"from": 1, "words": ["x", "y"]}}


@pytest.mark.parametrize(
    "plan",
    [
        flow(each()),
        flow(each(), SUM),
        flow(each([1, -2, 3, 4, -5]), SUM),
        flow(each([1, -2, 3, 4, -5], fallback={"value": "none"}), output="$OUTPUT[map]"),
        flow(each([1, -2, 3, 4, -5], item_fallback={"value": {"n": "$INDEX"}}), SUM),
        flow(each(item_when="ITEM > 4 && INDEX != `8`")),
        flow(each({"a": [1, 2, 3], "b": [4, 5]}, arguments={"n": "${add(ITEM.a, ITEM.b)}"})),
        flow(FEW, each(arguments={"n": "${add(OUTPUT[few].from, INDEX)}"})),
        flow(FEW, each("$INPUT.of"), inputs={"of": {"default": TEN}}),
        flow(each(tool=None, workflow=INNER)),
        flow(each([3, 2, 1, 2, 3], max_parallel=1, on_item_error="stop"), SUM),
        flow(each([3, 2, -1, 2, 3], max_parallel=1, on_item_error="stop"), SUM),
        flow(each([3, 2, 1, -2, 3, 4, 5], max_parallel=1), on_error="fail_fast"),
        flow(each(repeat={"until": "LAST.n > `2`", "every_s": 0, "max_times": 2})),
        flow(each(), call("b", n="$ITEMS[map][4].output.n"), output={"all": "$OUTPUT[map]"}),
    ],
)
async def test_the_result_is_as_without_workers(database: Address, plan: dict[str, Any]) -> None:
    for task in plan["tasks"]:
        if task.get("tool", "") is None:
            del task["tool"]
    found, begun = await run(database, Tools(), plan)
    assert begun
    assert same(found.to_dict()) == same((await alone(plan)).to_dict())
    kept = documents_of(database, found.run_id)
    assert kept.result is not None
    document = {**kept.result, "tasks": {name: each.to_dict() for name, each in kept.tasks.items()}}
    assert same(document) == same(found.to_dict())
    assert [each.id for each in runs(database)] == [found.run_id]


def any_plan(seed: int) -> dict[str, Any]:
    """A plan with some fields of a map, some items that fail, and what reads the items.

    Several items at a time if none keeps others from beginning, since that depends on times.
    """
    chance = random.Random(seed)
    fields: list[dict[str, Any]] = [
        {"retry": {"max_attempts": 2, "initial_s": 0}},
        {"tool": "s:flaky", "retry": {"max_attempts": chance.choice([2, 3]), "initial_s": 0}},
        {"fallback": {"value": {"e": "$ERROR.message"}}},
        {"item_fallback": {"tool": "s:double", "arguments": {"n": "$INDEX"}}},
        {"item_when": chance.choice(["ITEM > `2`", "INDEX != `1`"])},
        {"repeat": {"until": "LAST.n > `2`", "every_s": 0, "max_times": 2}},
        {"when": "OUTPUT[few].from == `1`"},
        {"add": "OUTPUT[few].from"},
        {"on_item_error": chance.choice(["stop", "stop", "continue"])},
        {"critical": True},
    ]
    items = [chance.choice([1, 2, 3, 4, 5, 6, -1, -2]) for _ in range(chance.randint(4, 9))]
    given = {k: v for more in fields if chance.random() < 0.3 for k, v in more.items()}
    number = f"${{add(ITEM, {given.pop('add')})}}" if "add" in given else "$ITEM"
    of = {"of": "$INDEX"} if given.get("tool") == "s:flaky" else {}
    given["arguments"] = {"n": number, **of}
    fails_fast = {"on_error": "fail_fast"} if chance.random() < 0.2 else {}
    one = bool(fails_fast) or given.get("on_item_error") == "stop" or "critical" in given
    given |= {"max_parallel": 1} if one else chance.choice([{}, {"max_parallel": 3}])
    last = {**call("b", n="$ITEMS[map][2].output.n"), "run_if": "all_done"}
    total = {"id": "total", "value": "${length(ITEMS[map][?status == 'success'])}"}
    task = each(items, **given)
    if task.keys().isdisjoint({"retry", "repeat"}) and chance.random() < 0.8:
        del task["tool"]
        task["workflow"] = INNER
    tasks = [FEW, task, SUM, last, total]
    if chance.random() < 0.5:  # a map over a map, which reads a third item of it
        over = {"arguments": {"n": "${add(length(OUTPUT[map]), INDEX)}"}, "run_if": "all_done"}
        tasks.append(each("$OUTPUT[map]", **over) | {"id": "over"})
    after = {"finally": [{"id": "f", "value": "$ITEMS[map]"}]} if chance.random() < 0.5 else {}
    return flow(*tasks, **after, **fails_fast)


@pytest.mark.parametrize("seed", range(16))
async def test_any_map_is_as_without_workers(database: Address, seed: int) -> None:
    plan = any_plan(seed)
    found, begun = await run(database, Tools(), plan)
    assert same(found.to_dict()) == same((await alone(plan)).to_dict())
    assert {run.partition(".")[2].partition(".")[0] for run in begun} >= {"map"}


def test_plans_at_random_have_what_matters() -> None:
    plans = [any_plan(seed) for seed in range(16)]
    maps = [plan["tasks"][1] for plan in plans]
    several = sum("max_parallel" not in each or each["max_parallel"] > 1 for each in maps)
    assert several >= 5
    for field in ("retry", "item_when", "item_fallback", "repeat", "fallback", "critical"):
        assert 2 <= sum(field in each for each in maps) <= 12, field
    assert sum(each.get("tool") == "s:flaky" for each in maps) >= 3
    assert sum("workflow" in each for each in maps) >= 2
    assert sum(len(plan["tasks"]) == 6 for plan in plans) >= 5
    assert {each.get("on_item_error") for each in maps} == {None, "stop", "continue"}


@pytest.mark.parametrize("limit", [{"max_parallel": 4}, {}])
async def test_all_parts_together_keep_to_the_limits(database: Address, limit: Any) -> None:
    tools = Tools()
    tools.go_on = anyio.Event()
    more = {} if limit else {"max_concurrency": 4}
    plan, ended = flow(each(list(range(24)), **limit), **more), list[RunResult]()

    async def go(engine: Orchestrator) -> None:
        ended.append(await engine.run(plan))

    async with (
        workers(database, tools, 3, at_once=1) as begun,
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        anyio.create_task_group() as group,
    ):
        group.start_soon(go, engine)
        await until(lambda: tools.in_flight == 4)  # two parts with two calls each
        assert len(begun) == 2
        tools.go_on.set()
        await until(lambda: ended)
    assert (ended[0].status, len(begun), tools.most) == ("success", 12, 4)


async def test_an_item_that_fails_keeps_others_from_beginning(database: Address) -> None:
    tools = Tools()
    tools.go_on, tools.fail = anyio.Event(), anyio.Event()
    plan = flow(each([-1, *range(40)], max_parallel=2, on_item_error="stop"))
    ended: list[RunResult] = []

    async def go(engine: Orchestrator) -> None:
        ended.append(await engine.run(plan))

    async with (
        workers(database, tools, 2),
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        anyio.create_task_group() as group,
    ):
        group.start_soon(go, engine)
        await until(lambda: sorted(tools.called) == [-1, 2])  # each the first of a part
        tools.fail.set()
        await until(lambda: ask(database, "select 1 from record where kind='halt'"))
        tools.go_on.set()
        await until(lambda: ended)
    task = ended[0]["map"]
    assert task.items is not None
    statuses = [item.status for item in task.items]
    assert statuses[0] == "error"
    assert statuses.count("skipped") > 30
    assert len(tools.called) == 41 - statuses.count("skipped")
    reason = "item 0 failed, and on_item_error is stop"
    assert {x.outcome.reason for x in task.items if isinstance(x.outcome, Skipped)} == {reason}
    kept = documents_of(database, ended[0].run_id).tasks["map"]
    assert [item.status for item in kept.items or ()] == statuses


@pytest.mark.parametrize("how", ["cancel", "critical", "timeout"])
async def test_what_ends_the_run_ends_its_parts(database: Address, how: str) -> None:
    tools = Tools()
    tools.go_on = anyio.Event()
    critical = {**call("bad", n="$OUTPUT[wait]"), "critical": True}
    wait = {"id": "wait", "tool": "s:hold", "arguments": {}}
    more = {"timeout_s": 1.5} if how == "timeout" else {}
    tasks = [wait, critical] if how == "critical" else []
    plan = flow(each(list(range(20))), *tasks, schedule="dataflow", **more)

    async def go(run: Run) -> None:
        ended.append(await run.execute())

    ended: list[RunResult] = []
    async with (
        workers(database, tools, 2),
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.begin(plan) as carried,
        anyio.create_task_group() as group,
    ):
        group.start_soon(go, carried)
        await until(lambda: tools.in_flight)
        if how == "cancel":
            carried.cancel()
        tools.held.set()
        await until(lambda: ended)
        await until(lambda: not tools.in_flight)
        assert not queued(database)
    assert ended[0]["map"].status == "cancelled"
    assert {item.status for item in ended[0]["map"].items or ()} == {"cancelled"}
    assert len(ended[0]["map"].items or ()) == 20
    assert len(ended[0]["map"].output) == 20
    states = {status for (status,) in ask(database, "select status from run where kind='part'")}
    assert states == {"cancelled"}


async def test_another_process_goes_on_with_the_run_and_its_parts(database: Address) -> None:
    tools = Tools()
    tools.go_on = anyio.Event()
    journal = Journal(database)
    async with workers(database, tools, 2) as begun:
        async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
            with anyio.CancelScope() as scope:
                async with (
                    engine.begin(flow(each(list(range(20))), SUM)) as first,
                    anyio.create_task_group() as group,
                ):
                    group.start_soon(first.execute)
                    await until(lambda: len(tools.called) > 3)
                    await left(journal, first.run_id)  # as a process that was killed
                    scope.cancel()
        tools.go_on.set()
        async with Orchestrator({"s": tools.mcp}, journal=database) as engine:
            with anyio.fail_after(60):
                async with engine.resume(first.run_id) as second:
                    found = await second.execute()
    assert (found.status, found.output, found.resumed) == ("success", {"sum": 380}, 1)
    assert sorted(tools.called) == list(range(20))
    assert len(begun) == len(set(begun)) == 10
    async with (
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.retry(first.run_id, alone=["sum"]) as again,
    ):
        assert (await again.execute()).output == {"sum": 380}
    assert len(tools.called) == 20


async def test_a_run_that_goes_on_after_its_items_reads_them(database: Address) -> None:
    tools = Tools()
    asks = {"id": "go", "ask": {"message": "go on?"}, "depends_on": ["map"]}
    last = {"id": "last", "value": "${[OUTPUT[map][1].n, ITEMS[map][2].output.n, OUTPUT[go]]}"}
    plan = flow(each([1, 2, 3, 4, -5]), asks, {**last, "run_if": "all_done"})
    plan["tasks"][1]["run_if"] = "all_done"
    paused, _ = await run(database, tools, plan)
    assert paused.status == "paused"
    answer(database, paused.run_id, "go", lambda _: Reply(True), Hiding())
    async with (
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.resume(paused.run_id) as again,
    ):
        found = await again.execute()
    assert found.output == {"last": [4, 6, True]}
    assert same(paused["map"].to_dict()) == same(found["map"].to_dict())
    assert len(tools.called) == 5


async def test_nobody_takes_the_parts_so_the_run_carries_them(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)
    tools, journal = Tools(), Journal(database)
    async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
        claim = await journal.announce("worker busy", {"at_once": 2})
        found = await engine.run(flow(each(), SUM))
        claim.end(is_kept=True)
    assert found.output == {"sum": 90}
    carried = ask(database, "select count(*) from run where kind='part' and status='success'")
    assert carried == [(2,)]


LOCKED = {"tasks": [{**call("a", n=1), "locks": ["x"]}]}


@pytest.mark.parametrize(
    "plan",
    [
        flow(each([1, 2, 3])),
        flow(each(locks=["a"])),
        flow(each(tool=None, workflow=LOCKED, arguments={})),
        flow(each(), budget={"calls": 100}),
        flow(each(), budget={"result_mb": 100}),
        flow({"id": "o", "workflow": flow(each())}),
        flow(call("a", n=1), **{"finally": [each()]}),
    ],
)
async def test_one_process_carries_items_that_have_something_in_common(
    database: Address, plan: dict[str, Any]
) -> None:
    if plan["tasks"][0].get("tool", "") is None:
        del plan["tasks"][0]["tool"]
    found, begun = await run(database, Tools(), plan)
    assert (found.status, begun) == ("success", [])


@pytest.mark.parametrize(
    ("locks", "scopes", "is_spread"),
    [
        (["one"], {"one": "cluster"}, True),
        (["a:$ITEM", "one"], {"a:*": "cluster", "one": "cluster"}, True),
        (["one", "$ITEM"], {"?x*": "cluster", "*": "cluster"}, True),
        (["one"], {"*": "host", "one": "cluster"}, False),
        (["one", "a:$ITEM"], {"one": "cluster", "a:[0-9]": "cluster"}, False),
        (["one", "$ITEM"], {"one": "cluster"}, False),
    ],
)
async def test_locks_of_all_workers_hold_across_parts(
    database: Address, locks: list[str], scopes: dict[str, Any], is_spread: bool
) -> None:
    tools = Tools()
    servers = ServerTable({"s": tools.mcp})  # type: ignore[dict-item]
    servers.locking = LockTables(locks={n: LockSettings(scope=s) for n, s in scopes.items()})
    async with (
        workers(database, tools, 2, servers=servers) as begun,
        Orchestrator(servers, journal=database) as engine,
    ):
        with anyio.fail_after(60):
            found = await engine.run(flow(each(locks=locks), SUM))
    assert (found.status, found.output, bool(begun)) == ("success", {"sum": 90}, is_spread)
    assert tools.most == 1


@pytest.mark.parametrize("scope", ["cluster", "process"])
async def test_the_limit_of_a_server_holds_for_all_parts_together(
    database: Address, scope: Any
) -> None:
    tools = Tools()
    servers = {"s": Server(name="s", target=tools.mcp, max_concurrency=3, scope=scope)}
    tools.go_on = anyio.Event()
    plan, ended = flow(each(list(range(24))), SUM, max_concurrency=16), list[RunResult]()

    async def go(engine: Orchestrator) -> None:
        ended.append(await engine.run(plan))

    async with (
        workers(database, tools, 3, servers=servers) as begun,
        Orchestrator(servers, journal=database) as engine,
        anyio.create_task_group() as group,
    ):
        group.start_soon(go, engine)
        await until(lambda: len(begun) == 3 and tools.in_flight >= 3)
        if scope == "process":  # as the server counts them
            await until(lambda: tools.in_flight > 3)
        tools.go_on.set()
        await until(lambda: ended)
    assert (ended[0].status, ended[0].output) == ("success", {"sum": 552})
    assert (tools.most == 3) == (scope == "cluster")
    assert sorted(tools.called) == list(range(24))


async def test_what_items_ask_is_asked_of_the_run(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools()
    plan = flow(each([1, 2, 3, 4, 5], approve=True), SUM)
    paused, begun = await run(database, tools, plan)
    assert (paused.status, tools.called, len(set(begun))) == ("paused", [], 2)
    assert [(each.task, each.item) for each in paused.questions] == [("map", n) for n in range(5)]
    assert {item.status for item in paused["map"].items or ()} == {"waiting"}
    question = lambda _: Reply(True)  # noqa: E731
    for item in range(4):
        answer(database, paused.run_id, "map", question, Hiding(), item=item)
    answer(database, paused.run_id, "map", lambda _: Reply(refused=True), Hiding(), item=4)
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)  # there are no workers now
    async with (
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.resume(paused.run_id) as again,
    ):
        with anyio.fail_after(60):
            found = await again.execute()
    assert found.output == {"sum": 20}
    assert [item.status for item in found["map"].items or ()] == ["success"] * 4 + ["error"]
    assert sorted(tools.called) == [1, 2, 3, 4]


async def test_parts_that_all_wait_pause_the_run_before_others_are_made(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, items = Tools(), list(range(12))
    plan = flow(each(items, approve=True), max_concurrency=6)
    paused, _ = await run(database, tools, plan)
    asked: list[int] = []
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)  # there are no workers now
    async with Orchestrator({"s": tools.mcp}, journal=database) as engine:
        while paused.status == "paused":
            found = [question.item or 0 for question in paused.questions]
            assert len(found) < len(items)
            asked += found
            for item in found:
                answer(database, paused.run_id, "map", lambda _: Reply(True), Hiding(), item=item)
            async with engine.resume(paused.run_id) as again:
                with anyio.fail_after(60):
                    paused = await again.execute()
    assert paused.status == "success"
    assert sorted(asked) == sorted(tools.called) == items


async def test_a_person_at_the_run_answers_for_its_items(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.5)
    tools, asked = Tools(), list[int | None]()

    def yes(question: Question) -> bool:
        asked.append(question.item)
        return True

    within = {"tasks": [{**call("a", n="$INPUT.n"), "approve": True}], "inputs": {"n": {}}}
    plan = flow({**each([1, 2, 3, 4, 5]), "workflow": within})
    del plan["tasks"][0]["tool"]
    found, _ = await run(database, tools, plan, answer=yes)
    assert found.status == "success"
    assert sorted(tools.called) == [1, 2, 3, 4, 5]
    assert len(asked) == 5


async def test_a_part_whose_run_has_ended_makes_no_call(database: Address) -> None:
    tools, journal = Tools(), Journal(database)
    async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
        claim = await journal.announce("worker busy", {"at_once": 2})
        with anyio.CancelScope() as scope:
            async with engine.begin(flow(each())) as begun, anyio.create_task_group() as group:
                group.start_soon(begun.execute)
                await until(lambda: len(queued(database)) == 2)
                await left(journal, begun.run_id)
                scope.cancel()
        claim.end(is_kept=True)
        await engine.end(begun.run_id)
        for part in queued(database):
            with pytest.raises(JournalError, match="is a part, has ended"):
                async with engine.resume(part):
                    pass
    assert tools.called == []
    assert set(ask(database, "select status from run")) == {("cancelled",)}


async def test_a_part_that_a_person_cancels_fails_its_task(
    database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = Tools()
    tools.go_on = anyio.Event()
    ended: list[RunResult] = []

    async def go(engine: Orchestrator) -> None:
        ended.append(await engine.run(flow(each(fallback={"value": "$ERROR.message"}))))

    async with (
        workers(database, tools, 2) as begun,
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        anyio.create_task_group() as group,
    ):
        group.start_soon(go, engine)
        await until(lambda: len(begun) == 2)
        run_id = begun[0].partition(".")[0]
        await to_thread.run_sync(main, ["show", run_id, "--database", database.url])
        shown = json.loads(capsys.readouterr().out)
        assert shown["parts"][f"{run_id}.map.0"] == "running"
        assert (len(shown["parts"]), shown["items_settled"]) == (5, {})
        ask_to_end(database, f"{run_id}.map.1")
        await until(lambda: ended)
    assert "map.1, a part of it, ended as cancelled" in ended[0]["map"].output


async def test_parts_are_found_by_their_whole_id_and_deleted_with_their_run(
    database: Address,
) -> None:
    found, begun = await run(database, Tools(), flow(each()))
    one = f"{found.run_id}.map.1"
    assert one in begun
    assert find(database, one).kind == "part"
    assert find(database, found.run_id[:20]).id == find(database, "last").id == found.run_id
    with pytest.raises(JournalError, match="unknown run"):
        find(database, one[:-1])
    assert names(database) == ["w"]
    assert totals_of(database).runs.ended.total() == 1
    async with Journal(database, keep_runs=0) as journal:
        assert journal.prune() == [found.run_id]
    assert ask(database, "select count(*) from run") == [(0,)]


async def test_no_part_has_a_secret_in_the_database(database: Address) -> None:
    tools = Tools()
    servers = {"s": tools.mcp, "other": Server(url="https://h/", headers={"k": "hunter2"})}
    plan = flow({**each(["hunter2", "a", "b", "c", "d"]), "arguments": {"n": "${length(ITEM)}"}})
    async with (
        workers(database, tools, servers=servers),
        Orchestrator(servers, journal=database) as engine,
    ):
        found = await engine.run(plan)
    assert [each["n"] for each in found["map"].output] == [14, 2, 2, 2, 2]
    assert not ask(database, "select 1 from run where request like '%hunter2%'")


async def test_parts_that_have_ended_before_anybody_looked_are_not_carried_again(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_task, "LOOK_S", 600.0)
    monkeypatch.setattr(spread_task, "SOON_S", 600.0)
    tools, journal = Tools(), Journal(database)
    plan = flow(each(), SUM, max_concurrency=0)
    ended = "select count(*) from run where kind='part' and status='success'"
    async with (
        workers(database, tools, 2),
        Orchestrator({"s": tools.mcp}, journal=journal) as engine,
    ):
        with anyio.CancelScope() as scope:
            async with engine.begin(plan) as first, anyio.create_task_group() as group:
                group.start_soon(first.execute)
                await until(lambda: ask(database, ended) == [(4,)])
                await left(journal, first.run_id)  # as a process that was killed
                scope.cancel()
    # As that of a worker which was killed when all its items were kept.
    part = f"{first.run_id}.map.1"
    ask(database, "update run set status='running', ended=null where id=?", part)
    assert find(database, part).status == "interrupted"
    monkeypatch.setattr(spread_task, "LOOK_S", 0.01)
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)
    async with (
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.resume(first.run_id) as second,
    ):
        with anyio.fail_after(60):
            found = await second.execute()
    assert (found.status, found.output) == ("success", {"sum": 90})
    assert sorted(tools.called) == TEN
    assert ask(database, ended) == [(4,)]


async def test_parts_that_wait_end_with_their_run(database: Address) -> None:
    tools, journal, ended = Tools(), Journal(database), list[RunResult]()

    async def go(run: Run) -> None:
        ended.append(await run.execute())

    async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
        claim = await journal.announce("worker busy", {"at_once": 2})
        async with engine.begin(flow(each())) as begun, anyio.create_task_group() as group:
            group.start_soon(go, begun)
            await until(lambda: len(queued(database)) == 2)
            begun.cancel()
            await until(lambda: ended)
        claim.end(is_kept=True)
    assert (ended[0].status, ended[0]["map"].status) == ("cancelled", "cancelled")
    assert ended[0]["map"].items is None  # as of all tasks of which nothing was called
    states = {status for (status,) in ask(database, "select status from run where kind='part'")}
    assert states == {"cancelled"}
    assert (tools.called, queued(database)) == ([], [])


async def test_who_leaves_a_run_leaves_the_part_that_it_carries(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)
    tools, journal = Tools(), Journal(database)
    tools.go_on = anyio.Event()
    async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
        claim = await journal.announce("worker busy", {"at_once": 2})
        with anyio.CancelScope() as scope:
            async with engine.begin(flow(each())) as begun, anyio.create_task_group() as group:
                group.start_soon(begun.execute)
                await until(lambda: tools.in_flight == 5)
                await left(journal, begun.run_id)
                scope.cancel()
        claim.end(is_kept=True)
    assert {each.status for each in runs(database)} == {"interrupted"}
    assert find(database, f"{begun.run_id}.map.0").status == "interrupted"
    tools.go_on.set()
    async with (
        workers(database, tools),
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.resume(begun.run_id, unknown="repeat") as again,
    ):
        found = await again.execute()
    assert found.status == "success"
    assert sorted(tools.called) == sorted([*range(10), *range(5)])  # those in flight once more


async def test_who_leaves_a_run_lets_the_calls_end_of_the_part_that_it_carries(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread_task, "PATIENCE_S", 0.0)
    tools, journal, drain, closed = Tools(), Journal(database), Drain(), anyio.Event()
    tools.go_on = anyio.Event()

    async def close() -> None:
        await drain.close()
        closed.set()

    async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
        claim = await journal.announce("worker busy", {"at_once": 2})
        run_id = await engine.queue(flow(each(), SUM))
        async with (
            engine.resume(run_id, drain=drain) as carried,
            anyio.create_task_group() as group,
        ):
            group.start_soon(carried.execute)
            await until(lambda: tools.in_flight == 5)
            group.start_soon(close)
            await until(lambda: drain._is_closed)
            assert not closed.is_set()
            tools.go_on.set()
            with anyio.fail_after(60):
                await closed.wait()
            await left(journal, run_id)
            group.cancel_scope.cancel()
        claim.end(is_kept=True)
    async with (
        workers(database, tools),
        Orchestrator({"s": tools.mcp}, journal=database) as engine,
        engine.resume(run_id) as again,
    ):
        found = await again.execute()
    assert (found.status, found.output) == ("success", {"sum": 90})
    assert sorted(tools.called) == TEN  # each once


async def test_a_part_that_has_paused_goes_on_when_its_run_is_answered(database: Address) -> None:
    paused, _ = await run(database, Tools(), flow(each([1, 2, 3, 4], approve=True)))
    parts = [f"{paused.run_id}.map.{n}" for n in (0, 1)]

    def answered() -> list[bool]:
        with reading(database) as db:
            return [is_answered(db, part) for part in parts]

    assert answered() == [False, False]
    answer(database, paused.run_id, "map", lambda _: Reply(True), Hiding(), item=3)
    assert answered() == [False, True]
