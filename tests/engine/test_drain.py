"""A run that is left to another process: calls under way end, and no further one is made."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.drain import Drain
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from tests.fakes import ScriptedCaller, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]


async def test_calls_under_way_end_and_no_further_one_is_made() -> None:
    flow = workflow("a", "b: a", {"id": "c", "tool": "fake:c", "retry": {"max_attempts": 2}}, "d")
    caller, drain = ScriptedCaller({"a": [(2.0, 1)], "c": [(3.0, 2)], "d": [(0.5, 3)]}), Drain()
    run = Run(flow, caller, RunSettings(drain=drain))
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(1)
        began = anyio.current_time()
        await drain.close()
        assert anyio.current_time() - began == 2.0
        assert caller.log[-2:] == ["end a", "end c"]
        assert {task for task, _ in caller.calls} == {"a", "c", "d"}
        assert run.status().settled == 3
        run.cancel(at_once=True)
    assert run.result is not None
    assert run.result["b"].status == "cancelled"


async def test_a_run_that_waits_is_drained_at_once_and_calls_inside_of_it_too() -> None:
    inner = {"name": "in", "tasks": [{"id": "x", "tool": "fake:x"}, {"id": "y", "tool": "fake:y"}]}
    inner["tasks"][1]["depends_on"] = ["x"]  # type: ignore[index]
    flow = workflow(
        {"id": "late", "tool": "fake:late", "delay_s": 60},
        {"id": "part", "workflow": inner},
    )
    caller, drain = ScriptedCaller({"x": [(1.0, 1)]}), Drain()
    run = Run(flow, caller, RunSettings(drain=drain))
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(0.5)
        await drain.close()
        assert anyio.current_time() % 1 == 0
        await drain.close()  # once more, with nothing under way
        assert caller.log == ["start part/x", "end part/x"]
        run.cancel(at_once=True)


async def test_a_call_that_waits_for_a_person_is_not_under_way() -> None:
    asks, drain = ServerPolicy(elicits=True), Drain()
    asked = anyio.Event()

    async def caller(_: Call, attempt: Attempt) -> Any:
        assert attempt.elicit is not None
        asked.set()
        return await attempt.elicit("Sure?", None)

    servers = Servers(policies={"fake": asks})
    run = Run(workflow("a"), caller, RunSettings(drain=drain, wait=True), servers=servers)
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await asked.wait()
        await drain.close()
        assert run.questions[0].message == "fake asks: Sure?"
        run.cancel()


async def test_a_call_waits_until_it_may_begin() -> None:
    may, caller = list[bool](), ScriptedCaller()
    run = Run(workflow("a"), caller, RunSettings(drain=Drain(lambda: bool(may))))
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(5.05)
        assert caller.log == []
        may.append(True)
    assert caller.log == ["start a", "end a"]
    assert anyio.current_time() == pytest.approx(5.1)


@pytest.mark.parametrize(
    "error", [MemoryError(), CallError("server_unavailable", "it failed", type="MemoryError")]
)
async def test_a_call_for_which_memory_does_not_suffice_has_no_outcome(error: Exception) -> None:
    async def caller(_: Call, __: Attempt) -> Any:
        raise error

    told = anyio.Event()
    run = Run(workflow("a"), caller, RunSettings(drain=Drain(on_memory=told.set)))
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await told.wait()
        await anyio.sleep(60)
        assert run.result is None
        run.cancel()
    result = await Run(workflow("a"), caller, RunSettings(drain=Drain())).execute()
    assert result.status == "failed"


async def test_other_errors_are_outcomes() -> None:
    async def caller(_: Call, __: Attempt) -> Any:
        raise CallError("tool_error", "no")

    drain = Drain(on_memory=lambda: None)
    result = await Run(workflow("a"), caller, RunSettings(drain=drain)).execute()
    assert result.status == "failed"
