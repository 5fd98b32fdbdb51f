"""A plan that grows: tasks are added to a run, and start while others are still written."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from orchestrator import Orchestrator, WorkflowError
from orchestrator.engine.events import Event, GenerationStarted, RunStarted, TaskAdded
from orchestrator.growing import GrowingRun
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import servers_of
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.model import Schedule

pytestmark = pytest.mark.anyio


def server(called: list[Any]) -> MCPServer:
    mcp = MCPServer("s")

    @mcp.tool()
    async def number(x: int) -> int:
        called.append(x)
        if x < 0:
            raise ValueError("negative")
        return x + 1

    return mcp


FIRST = {"id": "a", "tool": "s:number", "arguments": {"x": 1}}
SECOND = {"id": "b", "tool": "s:number", "arguments": {"x": "$OUTPUT[a]"}}


async def test_a_plan_that_grows_ends_as_one_that_was_whole() -> None:
    called: list[Any] = []
    header = {"name": "w", "output": {"last": "$OUTPUT[b]"}}
    async with Orchestrator({"s": server(called)}) as orchestrator:
        async with orchestrator.open(header) as run:
            await run.add(FIRST)
            while called != [1]:  # before the plan is complete
                await anyio.lowlevel.checkpoint()
            await run.add(SECOND)
            grown = (await run.close()).to_dict()
        whole = (await orchestrator.run({**header, "tasks": [FIRST, SECOND]})).to_dict()
    assert grown["output"] == {"last": 3}
    for name in ("status", "output", "generations", "edges", "summary", "schedule", "workflow"):
        assert grown[name] == whole[name]
    for task, result in whole["tasks"].items():
        for name in ("status", "output", "generation", "attempts"):
            assert grown["tasks"][task][name] == result[name]


def step(name: str, *needs: str) -> dict[str, Any]:
    return {"id": name, "value": name, "depends_on": list(needs)}


@pytest.mark.parametrize(
    ("schedule", "before"), [("generations", ["a", "quick"]), ("dataflow", ["a", "quick", "b"])]
)
async def test_a_task_waits_for_the_generations_that_are_known(
    schedule: Schedule, before: list[str]
) -> None:
    mcp, go_on = server([]), anyio.Event()
    mcp.add_tool(go_on.wait, name="slow")
    async with (
        Orchestrator({"s": mcp}) as orchestrator,
        orchestrator.open(schedule=schedule) as run,
    ):
        for task in (step("a"), {"id": "slow", "tool": "s:slow"}, step("b", "a"), step("quick")):
            await run.add(task)
        await anyio.wait_all_tasks_blocked()
        assert sorted(run.run._settled.results) == sorted(before)
        go_on.set()
        assert (await run.close()).status == "success"


async def test_later_tasks_may_be_estimated_and_the_longest_that_waits_goes_first() -> None:
    called: list[Any] = []
    mcp, go_on = server(called), anyio.Event()
    mcp.add_tool(go_on.wait, name="first")
    estimates = {"short": 1.0, "long": 9.0, "never came": 5.0}
    async with (
        Orchestrator({"s": mcp}) as orchestrator,
        orchestrator.open(estimates=estimates, max_concurrency=1) as run,
    ):
        await run.add({"id": "first", "tool": "s:first"})
        await anyio.wait_all_tasks_blocked()
        for number, name in enumerate(("short", "unknown", "long")):
            await run.add({"id": name, "tool": "s:number", "arguments": {"x": number}})
        go_on.set()
        assert (await run.close()).status == "success"
    assert called == [2, 1, 0]  # the median of 1, 9 and 5 is in the middle


async def test_an_estimate_that_is_no_time_is_refused() -> None:
    async with Orchestrator({}) as orchestrator:
        with pytest.raises(WorkflowError, match="/estimates/a: expected a number of seconds"):
            async with orchestrator.open(estimates={"a": -1}):
                pass


async def test_no_generation_of_a_plan_that_grows_waits_for_an_answer() -> None:
    async with Orchestrator({}) as orchestrator, orchestrator.open() as run:
        await run.add({"id": "asked", "ask": {"message": "Go on?"}})
        while not run.run.questions:
            await anyio.lowlevel.checkpoint()
        for task in (step("a"), step("b", "a"), step("behind", "asked", "b")):
            await run.add(task)
        assert list(run.run._settled.results) == ["a", "b"]
        run.run.answer("asked", True)
        assert (await run.close()).output == {"behind": "behind"}


async def test_tasks_that_may_write_wait_for_the_end_of_the_plan() -> None:
    called: list[Any] = []
    mcp = server(called)

    @mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def read(x: int) -> int:
        called.append(f"read {x}")
        return x

    async with (
        Orchestrator({"s": mcp}) as orchestrator,
        orchestrator.open(hold="writes") as run,
    ):
        await run.add(FIRST)
        await run.add({"id": "r", "tool": "s:read", "arguments": {"x": 7}})
        await run.add({"id": "behind", "tool": "s:read", "arguments": {"x": "$OUTPUT[a]"}})
        await run.add({"id": "w", "tool": "s:number", "arguments": {"x": "$OUTPUT[r]"}})
        await anyio.wait_all_tasks_blocked()
        assert called == ["read 7"]
        result = await run.close()
    assert result.status == "success"
    assert sorted(map(str, called)) == ["1", "7", "read 2", "read 7"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"id": "b", "tool": "s:number", "arguments": {"x": "$OUTPUT[c]"}}, "unknown_task"),
        ({"id": "b", "tool": "t:number"}, "unknown_server"),
        ({"id": "b", "tool": "s:numbr", "arguments": {"x": 1}}, "unknown_tool"),
        ({"id": "b", "tool": "s:number", "arguments": {"x": "$OUTPUT[b]"}}, "self_reference"),
        ({"id": "b", "tool": "s:number", "arguments": {"y": 1}}, "missing_argument"),
        ({"id": "b", "tool": "s:number", "arguments": {"x": [1]}}, "wrong_argument"),
        (FIRST, "duplicate_id"),
    ],
)
async def test_a_wrong_task_changes_nothing_and_can_be_added_again(wrong: Any, code: str) -> None:
    async with (
        Orchestrator({"s": server([])}) as orchestrator,
        orchestrator.open() as run,
    ):
        await run.add(FIRST)
        with pytest.raises(WorkflowError) as raised:
            await run.add(wrong)
        assert code in [problem.code for problem in raised.value.problems]
        await run.add(SECOND)
        result = await run.close()
        assert result.output == {"b": 3}
        with pytest.raises(RuntimeError, match="no task can be added"):
            await run.add(SECOND)


@pytest.mark.parametrize(
    "earlier",
    [
        {"value": "text"},
        {"workflow": {"tasks": [{"id": "inner", "value": ["text"]}]}},
        {"for_each": [1, 2], "value": "$ITEM"},
    ],
    ids=lambda task: next(iter(task)),
)
async def test_the_type_of_a_task_is_known_to_those_that_come_later(earlier: Any) -> None:
    later = {"id": "late", "tool": "s:number", "arguments": {"x": "$OUTPUT[e].no"}}
    task = {"id": "e", **earlier}
    header: dict[str, Any] = {"name": "w"}
    async with Orchestrator({"s": server([])}) as orchestrator:
        with pytest.raises(WorkflowError) as whole:
            await orchestrator.check({**header, "tasks": [task, later]})
        async with orchestrator.open(header) as run:
            await run.add(task)
            with pytest.raises(WorkflowError) as grown:
                await run.add(later)
    expected = [problem for problem in whole.value.problems if problem.path.startswith("/tasks/1")]
    assert [(p.code, p.message) for p in grown.value.problems] == [
        (p.code, p.message) for p in expected
    ]


async def test_a_server_that_starts_holds_up_only_what_needs_it() -> None:
    called: list[Any] = []
    pool, go_on = (
        ServerPool(servers_of({"s": server(called), "slow": server(called)})),
        anyio.Event(),
    )
    of_pool = pool.open

    async def open_slowly(names: Any, *more: Any) -> None:
        if "slow" in (named := list(names)):
            await go_on.wait()
        await of_pool(named, *more)

    pool.open = open_slowly  # type: ignore[method-assign, assignment]
    late = {"id": "late", "tool": "slow:number", "arguments": {"x": 10}}
    async with (
        Orchestrator(pool) as orchestrator,
        orchestrator.open() as run,
        anyio.create_task_group() as group,
    ):
        group.start_soon(run.add, late)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(run.add, {"id": "behind", "value": "$OUTPUT[late]"})
        await anyio.wait_all_tasks_blocked()
        await run.add(FIRST)
        while called != [1]:
            await anyio.lowlevel.checkpoint()
        group.start_soon(_refused, run, late)
        await anyio.wait_all_tasks_blocked()
        assert list(run.run.plan.tasks) == ["a"]
        go_on.set()
        result = await run.close()
    assert list(result.tasks) == ["late", "behind", "a"]  # in the order in which they were written
    assert result.output == {"behind": 11, "a": 2}


async def _refused(run: GrowingRun, task: Any) -> None:
    with pytest.raises(WorkflowError, match="was added before"):
        await run.add(task)


async def test_the_events_of_a_plan_that_grows_name_its_tasks() -> None:
    seen: list[Event] = []
    last = {"finally": [{"id": "last", "value": 0}]}
    async with (
        Orchestrator({}) as orchestrator,
        orchestrator.open(last, observers=[seen.append]) as run,
    ):
        await run.add(step("a"))
        await anyio.wait_all_tasks_blocked()
        await run.add(step("b", "a"))
        await run.close()
    assert isinstance(seen[0], RunStarted)
    assert seen[0].tasks == 0
    added = [(event.task, event.generation) for event in seen if isinstance(event, TaskAdded)]
    assert added == [("a", 0), ("b", 1), ("last", None)]
    begun = [
        (event.generation, event.tasks) for event in seen if isinstance(event, GenerationStarted)
    ]
    assert begun == [(0, ["a"]), (1, ["b"])]


@pytest.mark.parametrize(
    ("late", "what"),
    [
        ({"tool": "t:number"}, "unknown server"),
        ({"tool": "s:numbr", "arguments": {"x": 1}}, "unknown tool"),
    ],
)
async def test_what_cleans_up_is_checked_when_the_plan_is_complete(late: Any, what: str) -> None:
    async with (
        Orchestrator({"s": server([])}) as orchestrator,
        orchestrator.open({"finally": [{"id": "last", **late}]}) as run,
    ):
        await run.add(step("a"))
        with pytest.raises(WorkflowError, match=what):
            await run.close()


async def _lose(orchestrator: Orchestrator, runs: list[GrowingRun], *tasks: Any) -> None:
    async with orchestrator.open() as run:
        runs.append(run)
        for task in tasks:
            await run.add(task)
        raise KeyError


@pytest.mark.parametrize("tasks", [(), (FIRST,)])
async def test_a_plan_that_is_lost_is_cancelled_and_what_ran_is_finished(tasks: Any) -> None:
    runs: list[GrowingRun] = []
    async with Orchestrator({"s": server([])}) as orchestrator:
        with pytest.raises(KeyError):
            await _lose(orchestrator, runs, *tasks)
    result = runs[0].result
    assert result is not None
    assert (result.status, result.reason) == ("cancelled", "cancelled")
    assert [each.output for each in result.tasks.values()] == [2 for _ in tasks]


async def test_a_failure_that_ends_the_run_ends_the_growing() -> None:
    async with (
        Orchestrator({"s": server([])}) as orchestrator,
        orchestrator.open({"on_error": "fail_fast"}) as run,
    ):
        await run.add({"id": "a", "tool": "s:number", "arguments": {"x": -1}})
        await run.wait()
        with pytest.raises(RuntimeError, match="the run has ended"):
            await run.add(SECOND)
        assert (await run.close()).status == "failed"


async def test_a_task_is_checked_against_the_lock_and_then_against_its_server() -> None:
    locked = Tool("s", "number", {"type": "object", "required": ["y"]})
    lock = Lockfile.made_of([locked], ["s"])
    async with (
        Orchestrator({"s": server([])}, lock) as orchestrator,
        orchestrator.open() as run,
    ):
        with pytest.raises(WorkflowError, match='"y"'):
            await run.add(FIRST)
        with pytest.raises(WorkflowError) as raised:
            await run.add({**FIRST, "arguments": {"y": 1}})
        assert [problem.code for problem in raised.value.problems] == ["tool_changed"]


async def test_a_plan_that_is_complete_takes_no_task_while_it_still_runs() -> None:
    mcp, go_on = server([]), anyio.Event()
    mcp.add_tool(go_on.wait, name="slow")
    async with (
        Orchestrator({"s": mcp}) as orchestrator,
        orchestrator.open() as run,
        anyio.create_task_group() as group,
    ):
        await run.add({"id": "slow", "tool": "s:slow"})
        group.start_soon(run.close)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="the plan is complete"):
            await run.add(FIRST)
        go_on.set()


async def test_what_is_wrong_at_the_end_does_not_say_that_nothing_was_called() -> None:
    called: list[Any] = []
    async with (
        Orchestrator({"s": server(called)}) as engine,
        engine.open({"output": "$OUTPUT[nope]"}) as run,
    ):
        await run.add(FIRST)
        with pytest.raises(WorkflowError, match="the tasks that came before go on"):
            await run.close()
