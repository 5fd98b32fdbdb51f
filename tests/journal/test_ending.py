"""Runs that end where no process carries them: what had begun in them ends as where one does."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import Orchestrator
from orchestrator.journal.kept import documents_of
from orchestrator.journal.location import Location
from tests.journals import ask

pytestmark = pytest.mark.anyio


class Calls(list[str]):
    """The calls of a server, by what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.server = MCPServer("s")

        @self.server.tool()
        async def say(it: str) -> str:
            self.append(it)
            return it


def say(task: str, it: str, **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": "s:say", "arguments": {"it": it}, **more}


def pausing(name: str, **more: Any) -> dict[str, Any]:
    """A workflow that asks, unless its input says that it is not to."""
    ask = {"id": "ask", "ask": {"message": "Go on?"}, "depends_on": ["first"], **more}
    first, last = say("first", f"{name} first $INPUT.n"), say("last", f"{name} last $INPUT.n")
    inputs = {"n": {"type": "integer", "default": 0}}
    return {"name": name, "inputs": inputs, "tasks": [first, ask], "finally": [last]}


async def test_workflows_that_had_begun_inside_run_their_finally(journal: Location) -> None:
    calls, inmost = Calls(), pausing("inmost")
    inner = pausing("inner")
    inner["tasks"].append({"id": "deep", "workflow": inmost, "depends_on": ["first"]})
    late = {"id": "late", "workflow": pausing("late"), "depends_on": ["sub"]}
    tasks = [{"id": "sub", "workflow": inner, "arguments": {"n": 7}}, late]
    flow = {"name": "outer", "tasks": tasks, "finally": [say("z", "outer last")]}
    async with Orchestrator({"s": calls.server}, journal=journal) as orchestrator:
        assert (await orchestrator.run(flow)).status == "paused"
        assert calls == ["inner first 7", "inmost first 0"]
        calls.clear()
        result = await orchestrator.end("last")
    assert calls == ["inmost last 0", "inner last 7", "outer last"]
    assert {name: task.status for name, task in result.tasks.items()} == {
        "sub": "cancelled",
        "late": "cancelled",
        "z": "success",
    }
    inside = result["sub"].tasks or {}
    assert {name: task.status for name, task in inside.items()} == {
        "first": "success",
        "ask": "cancelled",
        "deep": "cancelled",
        "last": "success",
    }
    kept = documents_of(journal, result.run_id)
    assert kept.result is not None
    assert kept.result["status"] == "cancelled"


async def test_items_keep_what_they_came_to(journal: Location) -> None:
    calls, each = Calls(), pausing("each", when="INPUT.n != `1`")
    task = {"id": "all", "for_each": [0, 1, 2], "workflow": each, "arguments": {"n": "$ITEM"}}
    plain = {"id": "plain", "for_each": [5, 6], "value": "$ITEM"}
    async with Orchestrator({"s": calls.server}, journal=journal) as orchestrator:
        paused = await orchestrator.run({"name": "w", "tasks": [task, plain]})
        assert paused.status == "paused"
        assert sorted(calls) == ["each first 0", "each first 1", "each first 2", "each last 1"]
        calls.clear()
        result = await orchestrator.end("last")
    assert sorted(calls) == ["each last 0", "each last 2"]
    items = result["all"].items or ()
    assert [item.status for item in items] == ["cancelled", "success", "cancelled"]
    assert items[1].output == paused["all"].items[1].output  # type: ignore[index]
    assert result["plain"].output == [5, 6]


async def test_a_run_that_was_being_ended_when_its_process_ended_goes_on_with_that(
    journal: Location,
) -> None:
    calls = Calls()
    flow = {"name": "w", "tasks": [{"id": "sub", "workflow": pausing("inner")}]}
    async with Orchestrator({"s": calls.server}, journal=journal) as orchestrator:
        run_id = (await orchestrator.run(flow)).run_id
        calls.clear()
        assert (await orchestrator.end(run_id)).status == "cancelled"
        assert calls == ["inner last 0"]
        calls.clear()
        ask(journal, "update run set status='running', ended=null, result=null")
        ask(journal, "delete from record where path='sub/last' or path='sub' and kind='task'")
        async with orchestrator.resume(run_id) as run:
            assert (await run.execute()).status == "cancelled"
    assert calls == ["inner last 0"]


async def test_what_ends_at_once_calls_nothing_more(journal: Location) -> None:
    calls = Calls()
    flow = {"name": "w", "tasks": [{"id": "sub", "workflow": pausing("inner")}]}
    async with Orchestrator({"s": calls.server}, journal=journal) as orchestrator:
        run_id = (await orchestrator.run(flow)).run_id
        calls.clear()
        async with orchestrator.resume(run_id) as run:
            run.cancel("now", at_once=True)
            assert (await run.execute()).status == "cancelled"
    assert calls == []


@pytest.mark.parametrize(
    "damage",
    [
        "update record set payload='{oops' where kind='item'",
        "update record set payload='{oops' where path like 'sub/%' and kind='task'",
        "delete from record where path='needed'",
        "update record set path='sub[x]' where kind='inside' and path='sub'",
    ],
)
async def test_what_cannot_be_read_keeps_no_finally_from_being_run(
    journal: Location, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls, item = Calls(), {"n": "$ITEM"}
    inside = pausing("each", when="INPUT.n == `1`")
    each = {"id": "all", "for_each": [1, 2], "workflow": inside, "arguments": item}
    needed, sub = {"id": "needed", "value": 3}, {"id": "sub", "workflow": pausing("inner")}
    sub |= {"arguments": {"n": "$OUTPUT[needed]"}}
    flow = {"name": "w", "tasks": [needed, sub, each], "finally": [say("z", "outer last")]}
    async with Orchestrator({"s": calls.server}, journal=journal) as orchestrator:
        run_id = (await orchestrator.run(flow)).run_id
        ask(journal, damage)
        calls.clear()
        result = await orchestrator.end(run_id)
    assert (result.status, calls[-1]) == ("cancelled", "outer last")
    assert ("ends without what had begun in it" in caplog.text) != ("[x]" in damage)
