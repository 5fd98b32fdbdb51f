"""The clock of a run stands still while the run only waits for servers, and at no other time."""

from __future__ import annotations

import anyio
import pytest

from orchestrator import Run
from orchestrator.calls.causes import Cause
from orchestrator.engine.emitter import Clock
from orchestrator.engine.events import Event, TaskStarted, TaskWaiting
from orchestrator.engine.settings import Servers
from orchestrator.schema.tool import Tool
from tests.fakes import ScriptedCaller, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]
STEPS = [{"id": "late", "tool": "fake:late", "depends_on": ["early"]}]


class Door:
    """Tools that are ready after so many seconds; the plan is checked after the last."""

    def __init__(self, **opens_s: float) -> None:
        self.zero = anyio.current_time()
        self.opens_s = opens_s

    def _past_s(self) -> float:
        return anyio.current_time() - self.zero

    def waiting_for(self, _server: str, tool: str) -> Cause | None:
        is_shut = self._past_s() < self.opens_s.get(tool, 0.0)
        return Cause("other", "the door") if is_shut else None

    async def changed(self) -> None:
        past_s = self._past_s()
        await anyio.sleep(min(at for at in self.opens_s.values() if at > past_s) - past_s)

    async def checked(self) -> None:
        await anyio.sleep(max(0.0, max(self.opens_s.values()) - self._past_s()))


async def test_the_clock_counts_except_while_it_is_paused() -> None:
    clock = Clock()
    clock.begin()
    await anyio.sleep(1)
    clock.pause(False)  # it is not
    clock.pause(True)
    await anyio.sleep(5)
    clock.pause(True)
    assert clock.now_ms() == 1000
    clock.pause(False)
    await anyio.sleep(1)
    assert clock.now_ms() == 2000
    assert anyio.current_time() - clock.zero == 2


async def test_calls_that_wait_inside_another_take_no_time_either() -> None:
    inner = {"tasks": [{"id": "early", "tool": "fake:early"}, *STEPS]}
    script = ScriptedCaller({"early": [(1.0, None)], "late": [(1.0, None)]})
    servers = Servers(readiness=Door(late=10.0))
    result = await Run(
        workflow({"id": "outer", "workflow": inner}), script, servers=servers
    ).execute()
    tasks = result["outer"].tasks
    assert tasks is not None
    assert (result.duration_ms, result["outer"].duration_ms) == (2_000, 2_000)
    assert (tasks["late"].started_ms, tasks["late"].duration_ms) == (1_000, 1_000)


async def test_a_run_that_only_waits_for_a_server_takes_no_time() -> None:
    caller = ScriptedCaller({"a": [(1, None)], "b": [(1, None)]})
    result = await Run(workflow("a", "b"), caller, servers=Servers(readiness=Door(b=5))).execute()
    a, b = result["a"], result["b"]
    assert (a.started_ms, a.duration_ms, a.waited_ms) == (0, 1000, 0)
    assert (b.started_ms, b.duration_ms, b.waited_ms) == (1000, 1000, 5000)
    assert (result.duration_ms, result.speedup) == (2000, 1)


async def test_time_in_which_anything_runs_counts() -> None:
    caller = ScriptedCaller({"a": [(3, None)], "b": [(1, None)]})
    result = await Run(workflow("a", "b"), caller, servers=Servers(readiness=Door(b=2))).execute()
    assert result["b"].started_ms == 2000
    assert result.duration_ms == 3000


async def test_a_run_that_waits_for_the_check_of_its_plan_has_ended() -> None:
    caller = ScriptedCaller({"a": [(1, None)], "b": [(1, None)]})
    result = await Run(
        workflow("a", "b: a"), caller, servers=Servers(readiness=Door(c=9))
    ).execute()
    assert result.duration_ms == 2000
    assert result["b"].started_ms == 1000


async def test_a_call_waits_for_its_server_before_its_locks_and_is_fitted_to_its_tool_then() -> (
    None
):
    tools: dict[str, Tool] = {}
    events: list[Event] = []
    wanted = {"properties": {"n": {"type": "integer"}}}
    door = Door(slow=5)
    plan = workflow(
        "text",
        {"id": "slow", "tool": "fake:slow", "locks": ["x"], "arguments": {"n": "$OUTPUT[text].n"}},
        {"id": "other", "tool": "fake:other", "locks": ["x"], "depends_on": ["text"]},
    )
    caller = ScriptedCaller({"text": [(1, {"n": "7"})], "other": [(1, None)]})
    servers = Servers(tools, readiness=door)
    run = Run(plan, caller, servers=servers, observers=[events.append])
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(4)
        tools["fake:slow"] = Tool("fake", "slow", wanted, read_only=True)
    assert run.result is not None
    assert run.result["other"].waited_ms == 0, "the lock was free while the server was not"
    assert run.result["slow"].output == {"n": 7}
    assert run.result["slow"].waited_ms == 4000
    started = [event for event in events if isinstance(event, TaskStarted)]
    assert [conversion.path for conversion in started[-1].conversions] == [".n"]
    assert [e.waiting_for for e in events if isinstance(e, TaskWaiting)] == ["the door"]


async def test_arguments_that_do_not_fit_a_tool_known_late_are_an_error_without_an_attempt() -> (
    None
):
    wanted = {"properties": {"n": {"type": "integer"}}}
    tools = {"fake:slow": Tool("fake", "slow", wanted)}
    task = {"id": "slow", "tool": "fake:slow", "arguments": {"n": "many"}, "retry": 3}
    servers = Servers(tools, readiness=Door(slow=5))
    result = await Run(workflow(task), ScriptedCaller(), servers=servers).execute()
    assert result["slow"].error is not None
    assert (result["slow"].error.kind, result["slow"].attempts) == ("invalid_arguments", 0)
