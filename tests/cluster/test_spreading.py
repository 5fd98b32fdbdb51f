"""A `for_each` that workers share. They are loops of this process, with engines of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import JournalError, Orchestrator, RunResult, spreading
from orchestrator.journal.history import reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept import documents_of
from orchestrator.journal.location import Address

pytestmark = pytest.mark.anyio
TEN = list(range(10))


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second, and parts are small."""
    monkeypatch.setattr(spreading, "LOOK_S", 0.01)
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
        self.mcp.tool()(self.double)

    async def double(self, n: int) -> dict[str, int]:
        self.called.append(n)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await anyio.sleep(0.001)
            await self.go_on.wait()
            if n < 0:
                raise ValueError(f"{n} is negative")
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
async def workers(database: Address, tools: Tools, number: int = 1) -> AsyncIterator[list[str]]:
    """Workers that carry what is queued; the runs that they begin."""
    begun: list[str] = []

    async def work(name: str) -> None:
        journal = Journal(database)
        async with Orchestrator({"s": tools.mcp}, journal=journal) as engine:
            claim = await journal.announce(f"worker {name}", {"at_once": 4})
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
