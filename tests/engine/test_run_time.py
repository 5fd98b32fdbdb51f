"""Runs on a virtual clock: times are asserted exactly."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import TaskError
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock("trio")


def sleeps(**seconds: float) -> ScriptedCaller:
    return ScriptedCaller({tool: [(after, {"ok": True})] for tool, after in seconds.items()})


async def test_five_at_once_take_as_long_as_one() -> None:
    result = await Run(workflow(*"abcde"), sleeps(a=1, b=1, c=1, d=1, e=1)).execute()
    assert result.duration_ms == 1000
    assert result.sequential_ms == 5000
    assert result.speedup == 5
    assert result.critical_path_ms == 1000


async def test_one_at_a_time_takes_the_sum() -> None:
    plan = workflow(*"abc", max_concurrency=1)
    result = await Run(plan, sleeps(a=1, b=2, c=3)).execute()
    assert result.duration_ms == 6000
    assert [result[task].waited_ms for task in "abc"] == [0, 1000, 3000]
    assert [result[task].started_ms for task in "abc"] == [0, 1000, 3000]
    assert [result[task].duration_ms for task in "abc"] == [1000, 2000, 3000]


async def test_the_barrier_costs_what_dataflow_saves_and_the_report_says_so() -> None:
    plan = workflow("a", "b", "c: a", "d: b")
    times = {"a": 1.0, "b": 5.0, "c": 5.0, "d": 1.0}
    barrier = await Run(plan, sleeps(**times), RunSettings(schedule="generations")).execute()
    assert barrier.duration_ms == 10_000
    assert barrier.critical_path_ms == 6000
    assert barrier.other_schedule == {"schedule": "dataflow", "duration_ms": 6000}
    flow = await Run(plan, sleeps(**times), RunSettings(schedule="dataflow")).execute()
    assert flow.duration_ms == 6000
    assert flow.other_schedule == {"schedule": "generations", "duration_ms": 10_000}


async def test_an_attempt_ends_at_its_timeout_and_the_call_is_cancelled() -> None:
    plan = workflow({"id": "a", "tool": "fake:a", "timeout_s": 2.5}, "b: a")
    caller = sleeps(a=60)
    result = await Run(plan, caller).execute()
    error = result["a"].error
    assert error == TaskError(
        "timeout", "fake:a did not answer within 2.5 s", True, {"timeout_s": 2.5}
    )
    assert result["a"].duration_ms == 2500
    assert caller.log == ["start a", "cancelled a"]
    assert result["b"].status == "skipped"


async def test_the_timeout_of_the_server_counts_where_the_task_names_none() -> None:
    policies = {"fake": ServerPolicy(timeout_s=7)}
    plan = workflow("a", {"id": "b", "tool": "fake:a", "timeout_s": 3})
    result = await Run(plan, sleeps(a=60), servers=Servers(policies=policies)).execute()
    assert result["a"].duration_ms == 7000
    assert result["b"].duration_ms == 3000
    alone = await Run(workflow("a"), sleeps(a=600)).execute()
    assert alone["a"].duration_ms == 60_000


async def test_waiting_for_a_slot_does_not_count_towards_the_timeout() -> None:
    tasks = [{"id": name, "tool": "fake:a", "timeout_s": 1.5} for name in "abc"]
    result = await Run(workflow(*tasks, max_concurrency=1), sleeps(a=1)).execute()
    assert result.status == "success"
    assert result.duration_ms == 3000
    slots = {"fake": ServerPolicy(slots=Slots(1))}
    result = await Run(workflow(*tasks), sleeps(a=1), servers=Servers(policies=slots)).execute()
    assert result.status == "success"
    assert result["c"].waited_ms == 2000


async def test_the_limit_of_the_run_ends_it_with_what_had_finished() -> None:
    plan = workflow("a", "b", "c: b", timeout_s=4)
    result = await Run(plan, sleeps(a=1, b=60, c=1)).execute()
    assert result.duration_ms == 4000
    assert result.status == "cancelled"
    assert [result[task].status for task in "abc"] == ["success", "cancelled", "cancelled"]
    assert result.error == TaskError(
        "timeout", "the run reached its limit of 4 s", True, {"timeout_s": 4}
    )
    assert result["b"].reason == "the run reached its limit of 4 s"
    assert result["c"].reason == "the run reached its limit of 4 s"


async def test_fail_fast_ends_the_run_at_the_first_failure() -> None:
    caller = ScriptedCaller({"a": [(2, failing())], "b": [(60, None)]})
    result = await Run(workflow("a", "b", on_error="fail_fast"), caller).execute()
    assert result.duration_ms == 2000
    assert result["b"].duration_ms == 2000


async def test_a_task_that_waits_for_a_slot_when_the_run_ends_was_never_started() -> None:
    caller = ScriptedCaller({"a": [(2, failing())], "b": [(60, None)]})
    plan = workflow("a", "b", max_concurrency=1, on_error="fail_fast")
    result = await Run(plan, caller).execute()
    assert result["b"].status == "skipped"
    assert result["b"].started_ms is None
    assert [task for task, _ in caller.calls] == ["a"]


async def test_under_a_limit_the_longest_path_goes_first() -> None:
    plan = workflow("x", "a", "b: a", "c: b", max_concurrency=1, schedule="dataflow")
    result = await Run(plan, sleeps(x=1, a=1, b=1, c=1)).execute()
    assert [result[task].started_ms for task in "abxc"] == [0, 1000, 2000, 3000]


async def test_slots_are_given_by_priority_then_in_the_order_of_asking() -> None:
    slots = Slots(1)
    order: list[str] = []

    async def hold(name: str, priority: int) -> None:
        async with slots.slot((0.0, priority)):
            order.append(name)
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        for name, priority in (("low", 2), ("high", 0), ("middle", 1)):
            group.start_soon(hold, name, priority)
    assert order == ["high", "middle", "low"]
    assert repr(slots) == "Slots(1 of 1 free, 0 wanted)"


async def test_a_waiter_that_is_cancelled_gives_its_turn_away() -> None:
    slots = Slots(1)

    async def hold(seconds: float) -> None:
        async with slots.slot():
            await anyio.sleep(seconds)

    async with anyio.create_task_group() as group:
        group.start_soon(hold, 5)
        await anyio.sleep(1)
        with anyio.move_on_after(1) as gave_up:
            await hold(1)
        assert gave_up.cancelled_caught
        before = anyio.current_time()
        await hold(1)
        assert anyio.current_time() - before == 4


async def test_a_slot_that_was_given_while_its_waiter_was_cancelled_is_not_lost() -> None:
    slots = Slots(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with slots.slot():
            pytest.fail("a cancelled scope got a slot")
    with anyio.fail_after(1):
        async with slots.slot():
            pass


async def test_a_waiter_in_the_middle_of_the_queue_may_leave_it() -> None:
    slots = Slots(2)
    order: list[str] = []

    async def hold(name: str) -> None:
        async with slots.slot():
            order.append(name)
            await anyio.sleep(5)

    async with anyio.create_task_group() as group:
        for name in ("a", "b", "c"):
            group.start_soon(hold, name)
            await anyio.sleep(0.1)
        with anyio.move_on_after(1) as gave_up:
            await hold("gone")
        assert gave_up.cancelled_caught
        group.start_soon(hold, "d")
    assert order == ["a", "b", "c", "d"]


async def test_a_task_that_fails_fast_keeps_the_next_in_the_queue_from_starting() -> None:
    caller = ScriptedCaller({"a": [(1, failing())], "b": [(1, None)], "c": [(1, None)]})
    plan = workflow("a", "b", "c", max_concurrency=1, on_error="fail_fast")
    result = await Run(plan, caller).execute()
    assert [result[task].status for task in "abc"] == ["error", "skipped", "skipped"]
    assert caller.log == ["start a", "end a"]


async def test_calls_of_one_run_know_their_priority_and_measure_themselves() -> None:
    seen: list[tuple[Call, Attempt]] = []

    async def caller(call: Call, attempt: Attempt) -> None:
        seen.append((call, attempt))
        await anyio.sleep(1)

    await Run(workflow("a", "b: a"), caller).execute()
    assert [(each.number, each.started_at is not None) for _, each in seen] == [(1, True)] * 2
    assert seen[1][0].timeout_s == 60


async def test_calls_under_way_are_awaited_when_a_budget_has_none_left() -> None:
    caller = sleeps(a=9, b=1)
    flow = workflow("a", "b", "c: b", "d: b", budget={"calls": 2}, schedule="dataflow")
    result = await Run(flow, caller).execute()
    statuses = [task.status for task in result.tasks.values()]
    assert statuses == ["success", "success", "skipped", "skipped"]
    assert (result.reason, result.duration_ms) == ("budget", 9000)
    assert sorted(caller.log[:2]) == ["start a", "start b"]
    assert caller.log[2:] == ["end b", "end a"]


async def test_the_minutes_of_a_budget_are_minutes() -> None:
    slow = {"id": "a", "tool": "s:a", "timeout_s": 900}
    result = await Run(workflow(slow, budget={"minutes": 2}), sleeps(a=500)).execute()
    assert (result.reason, result.duration_ms) == ("budget", 120_000)
