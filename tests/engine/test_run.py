"""Runs against a scripted caller, on every backend: order, failure, limits, events."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.events import (
    Event,
    GenerationStarted,
    RunSettled,
    TaskSettled,
    TaskStarted,
)
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import TaskError
from orchestrator.expressions.scope import Scope
from orchestrator.schema.coercion import Conversion
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Schedule
from tests.fakes import ScriptedCaller, failing, workflow

pytestmark = pytest.mark.anyio

SCHEDULES: list[Schedule] = ["generations", "dataflow"]


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    """Each of the schedules."""
    chosen: Schedule = request.param
    return chosen


def statuses(result: RunResult) -> dict[str, str]:
    return {task: outcome.status for task, outcome in result.tasks.items()}


async def test_outputs_flow_along_references_and_keep_their_types(schedule: Schedule) -> None:
    plan = workflow(
        {"id": "b", "tool": "fake:b", "arguments": {"n": "$OUTPUT[a].n", "t": "n=$OUTPUT[a].n"}},
        {"id": "a", "tool": "fake:a"},
    )
    caller = ScriptedCaller({"a": [(0, {"n": 3})]})
    result = await Run(plan, caller, RunSettings(schedule=schedule)).execute()
    assert result.status == "success"
    assert result["b"].output == {"n": 3, "t": "n=3"}
    assert result.output == {"b": {"n": 3, "t": "n=3"}}


async def test_a_failure_skips_its_dependents_and_no_one_else(schedule: Schedule) -> None:
    plan = workflow("a", "b", "after-a: a", "after-b: b", "after-both: after-a after-b")
    caller = ScriptedCaller({"a": [(0, failing("broken"))]})
    result = await Run(plan, caller, RunSettings(schedule=schedule)).execute()
    assert result.status == "partial"
    assert statuses(result) == {
        "a": "error",
        "b": "success",
        "after-a": "skipped",
        "after-b": "success",
        "after-both": "skipped",
    }
    assert result["a"].error == TaskError("tool_error", "broken", retryable=True)
    assert result["after-a"].reason == 'its dependency "a" failed'
    assert result["after-both"].reason == 'its dependency "after-a" was skipped'
    assert result["after-a"].attempts == 0
    assert result["after-a"].started_ms is None


async def test_a_run_in_which_nothing_succeeds_has_failed(schedule: Schedule) -> None:
    caller = ScriptedCaller({"a": [(0, failing())]})
    result = await Run(workflow("a", "b: a"), caller, RunSettings(schedule=schedule)).execute()
    assert result.status == "failed"
    assert result.output == {}


async def test_a_path_that_is_not_there_fails_its_task_only(schedule: Schedule) -> None:
    plan = workflow(
        "a", {"id": "b", "tool": "fake:b", "arguments": {"x": "$OUTPUT[a].nope"}}, "c: a"
    )
    caller = ScriptedCaller({"a": [(0, {"yes": 1})]})
    result = await Run(plan, caller, RunSettings(schedule=schedule)).execute()
    assert statuses(result) == {"a": "success", "b": "error", "c": "success"}
    error = result["b"].error
    assert error is not None
    assert error.kind == "reference_error"
    assert "nope" in error.message
    assert "yes" in error.message
    assert not error.retryable
    assert [task for task, _ in caller.calls] == ["a", "c"]


async def test_siblings_overlap_and_a_generation_waits_for_the_whole_one_before() -> None:
    meet = [anyio.Event(), anyio.Event()]
    order: list[str] = []

    async def caller(call: Call, _: Attempt) -> Any:
        order.append(call.task)
        if call.task in ("a", "b"):
            mine = call.task == "b"
            meet[mine].set()
            await meet[not mine].wait()

    with anyio.fail_after(30):
        result = await Run(workflow("a", "b", "c: a"), caller).execute()
    assert result.status == "success"
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2:] == ["c"]


async def test_dataflow_does_not_wait_for_siblings_and_generations_do() -> None:
    for schedule, blocked in (("dataflow", False), ("generations", True)):
        slow_may_end = anyio.Event()
        c_was_called = False

        async def caller(
            call: Call,
            _: Attempt,
            slow_may_end: anyio.Event = slow_may_end,
            blocked: bool = blocked,
        ) -> None:
            nonlocal c_was_called
            if call.task == "slow" and not blocked:
                await slow_may_end.wait()
            if call.task == "slow":
                assert c_was_called is not blocked
            if call.task == "c":
                c_was_called = True
                slow_may_end.set()

        plan = workflow("slow", "a", "c: a", schedule=schedule)
        with anyio.fail_after(30):
            result = await Run(plan, caller).execute()
        assert result.status == "success", result.tasks


async def test_one_at_a_time_is_really_sequential_and_in_order(schedule: Schedule) -> None:
    caller = ScriptedCaller({name: [(0.001, None)] for name in "abcdef"})
    plan = workflow("f", "e", "d", "c", "b", "a", max_concurrency=1)
    result = await Run(plan, caller, RunSettings(schedule=schedule)).execute()
    assert result.status == "success"
    assert caller.most == 1
    assert [task for task, _ in caller.calls] == ["f", "e", "d", "c", "b", "a"]


async def test_no_more_than_the_limit_run_at_once(schedule: Schedule) -> None:
    names = [f"t{n}" for n in range(12)]
    caller = ScriptedCaller({name: [(0.001, None)] for name in names})
    result = await Run(
        workflow(*names, max_concurrency=3), caller, RunSettings(schedule=schedule)
    ).execute()
    assert result.status == "success"
    assert caller.most == 3


async def test_the_limit_can_be_overridden_for_a_run() -> None:
    names = [f"t{n}" for n in range(6)]
    caller = ScriptedCaller({name: [(0.001, None)] for name in names})
    await Run(workflow(*names, max_concurrency=1), caller, RunSettings(max_concurrency=0)).execute()
    assert caller.most == 6


async def test_under_a_limit_dataflow_starts_the_longest_path_first() -> None:
    caller = ScriptedCaller({name: [(0.001, None)] for name in ("short", "a", "b", "c")})
    plan = workflow("short", "a", "b: a", "c: b", max_concurrency=1, schedule="dataflow")
    await Run(plan, caller).execute()
    assert [task for task, _ in caller.calls] == ["a", "b", "short", "c"]


async def test_a_server_has_its_own_limit_and_writers_take_turns() -> None:
    tasks = [{"id": f"r{n}", "tool": "fake:read"} for n in range(4)]
    tasks += [{"id": f"w{n}", "tool": "fake:write"} for n in range(4)]
    tools = {
        "fake:read": Tool("fake", "read", {}, read_only=True),
        "fake:write": Tool("fake", "write", {}, read_only=False),
    }
    writing = most_writing = 0

    async def caller(call: Call, _: Attempt) -> None:
        nonlocal writing, most_writing
        writing += call.writes
        most_writing = max(most_writing, writing)
        await anyio.sleep(0.001)
        writing -= call.writes

    policies = {"fake": ServerPolicy(writers=Slots(1))}
    result = await Run(
        workflow(*tasks), caller, servers=Servers(tools=tools, policies=policies)
    ).execute()
    assert result.status == "success"
    assert most_writing == 1

    limited = ScriptedCaller({"read": [(0.001, None)], "write": [(0.001, None)]})
    policies = {"fake": ServerPolicy(slots=Slots(2))}
    await Run(workflow(*tasks), limited, servers=Servers(policies=policies)).execute()
    assert limited.most == 2


async def test_fail_fast_cancels_what_runs_and_skips_the_rest(schedule: Schedule) -> None:
    caller = ScriptedCaller({"bad": [(0.001, failing("first"))], "slow": [(60, None)]})
    plan = workflow("bad", "slow", "later: slow", on_error="fail_fast")
    with anyio.fail_after(30):
        result = await Run(plan, caller, RunSettings(schedule=schedule)).execute()
    assert result.status == "failed"
    assert statuses(result) == {"bad": "error", "slow": "cancelled", "later": "skipped"}
    assert "cancelled slow" in caller.log
    assert result["later"].reason == 'task "bad" failed, and on_error is fail_fast'
    error = result["slow"].error
    assert error is not None
    assert error.kind == "cancelled"


async def test_a_run_can_be_cancelled_and_gives_what_had_finished(schedule: Schedule) -> None:
    caller = ScriptedCaller({"slow": [(60, None)]})
    run = Run(workflow("quick", "slow", "later: slow"), caller, RunSettings(schedule=schedule))

    async def cancel_once_it_runs() -> None:
        while "slow" not in caller.running or "end quick" not in caller.log:
            await anyio.lowlevel.checkpoint()
        run.cancel("enough")

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_once_it_runs)
            result = await run.execute()
    assert result.status == "cancelled"
    assert statuses(result) == {"quick": "success", "slow": "cancelled", "later": "cancelled"}
    assert result["later"].reason == "enough"
    assert result.error == TaskError("cancelled", "enough", retryable=False)


async def test_a_run_that_was_cancelled_before_it_began_calls_nothing() -> None:
    caller = ScriptedCaller()
    run = Run(workflow("a", "b: a"), caller)
    run.cancel("never mind")
    result = await run.execute()
    assert statuses(result) == {"a": "cancelled", "b": "cancelled"}
    assert caller.calls == []


async def test_cancellation_from_outside_passes_and_leaves_the_result() -> None:
    run = Run(workflow("slow", "later: slow"), ScriptedCaller({"slow": [(60, None)]}))
    events: list[Event] = []
    watched = Run(
        workflow("slow"), ScriptedCaller({"slow": [(60, None)]}), observers=[events.append]
    )
    for each in (run, watched):
        with anyio.move_on_after(0.01) as scope:
            await each.execute()
        assert scope.cancelled_caught
        assert each.result is not None
        assert each.result.status == "cancelled"
        assert set(statuses(each.result).values()) == {"cancelled"}
    assert isinstance(events[-1], RunSettled)


async def test_a_bug_in_the_caller_is_an_internal_error_of_its_task() -> None:
    caller = ScriptedCaller({"a": [(0, ZeroDivisionError("oops"))]})
    result = await Run(workflow("a", "b"), caller).execute()
    assert statuses(result) == {"a": "error", "b": "success"}
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("internal", False)
    assert "ZeroDivisionError: oops" in error.message


async def test_a_bug_in_a_decision_is_an_internal_error_of_its_task() -> None:
    class Broken:
        @property
        def input_schema(self) -> dict[str, Any]:
            raise RuntimeError("no schema")

    tools: Any = {"fake:a": Broken()}
    result = await Run(workflow("a", "b"), ScriptedCaller(), servers=Servers(tools=tools)).execute()
    assert statuses(result) == {"a": "error", "b": "success"}


async def test_text_becomes_a_number_where_the_tool_wants_one_and_the_event_says_so() -> None:
    plan = workflow("a", {"id": "b", "tool": "fake:b", "arguments": {"n": "$OUTPUT[a].text"}})
    tools = {"fake:b": Tool("fake", "b", {"properties": {"n": {"type": "integer"}}})}
    caller = ScriptedCaller({"a": [(0, {"text": "14"})]})
    events: list[Event] = []
    result = await Run(
        plan, caller, servers=Servers(tools=tools), observers=[events.append]
    ).execute()
    assert result["b"].output == {"n": 14}
    started = [event for event in events if isinstance(event, TaskStarted)]
    assert [conversion.path for conversion in started[1].conversions] == [".n"]
    assert result["a"].output == {"text": "14"}


async def test_events_tell_each_step_once_and_in_order() -> None:
    events: list[Event] = []
    caller = ScriptedCaller({"b": [(0, failing())]})
    plan = workflow("a", "b", "c: b", name="told")
    result = await Run(plan, caller, observers=[events.append]).execute()
    names = [event.name for event in events]
    assert names[:2] == ["run_started", "generation_started"]
    assert names[-1] == "run_settled"
    settled = [event.task for event in events if isinstance(event, TaskSettled)]
    assert sorted(settled) == ["a", "b", "c"]
    assert [e.generation for e in events if isinstance(e, GenerationStarted)] == [0, 1]
    assert sorted(e.task for e in events if isinstance(e, TaskStarted)) == ["a", "b"]
    assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
    last = events[-1]
    assert isinstance(last, RunSettled)
    assert last.result is result
    assert all(event.to_dict()["event"] == event.name for event in events)


async def test_an_observer_that_fails_is_dropped_and_the_run_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError(f"cannot watch {event.name}")

    result = await Run(
        workflow("a", "b: a"), ScriptedCaller(), observers=[broken, told.append]
    ).execute()
    assert result.status == "success"
    assert isinstance(told[-1], RunSettled)
    assert caplog.text.count("receives no more events") == 1


async def test_the_output_is_what_the_workflow_says() -> None:
    plan = workflow("a", "b: a", output={"n": "$OUTPUT[a].n", "text": "${STATUS[b]}!"})
    result = await Run(plan, ScriptedCaller({"a": [(0, {"n": 1})]})).execute()
    assert result.output == {"n": 1, "text": "success!"}
    assert result.error is None


async def test_an_output_that_cannot_be_made_is_an_error_of_the_document() -> None:
    plan = workflow("a", "b", output="$OUTPUT[a].n")
    result = await Run(plan, ScriptedCaller({"a": [(0, failing())]})).execute()
    assert result.status == "partial"
    assert result.output is None
    assert result.error is not None
    assert result.error.kind == "reference_error"
    assert "the workflow's output cannot be resolved" in result.error.message


async def test_the_default_output_has_the_last_tasks_that_succeeded() -> None:
    plan = workflow("a", "b: a", "c: a", "d")
    result = await Run(plan, ScriptedCaller({"c": [(0, failing())], "b": [(0, 1)]})).execute()
    assert result.output == {"b": 1, "d": {}}


async def test_a_run_can_be_executed_once() -> None:
    run = Run(workflow("a"), ScriptedCaller())
    await run.execute()
    with pytest.raises(RuntimeError, match="executed once"):
        await run.execute()


async def test_expressions_read_items_of_a_scope_and_events_show_conversions() -> None:
    scope = Scope(item={"n": 1}, index=2)
    assert (scope.get("ITEM"), scope.get("INDEX"), scope.get("nothing")) == ({"n": 1}, 2, None)
    conversion = Conversion(".n", "string", "integer")
    started = TaskStarted(0.0, "a", "s", "t", 0, 1, 0.0, (conversion,))
    assert started.to_dict()["conversions"] == [
        {"path": ".n", "given": "string", "wanted": "integer"}
    ]


async def test_a_run_shows_how_far_it_is() -> None:
    run = Run(workflow("a", "b", name="shown"), ScriptedCaller())
    assert repr(run) == "Run('shown', 0 of 2 tasks settled)"
    await run.execute()
    assert repr(run) == "Run('shown', 2 of 2 tasks settled)"


async def test_the_first_calls_of_many_go_out_while_the_others_are_started(
    schedule: Schedule,
) -> None:
    tasks = [f"t{number}" for number in range(100)]
    started: list[int] = []

    async def call(*_: object) -> None:
        started.append(len(run.status().running))

    run = Run(workflow(*tasks), call, RunSettings(schedule=schedule, max_concurrency=0))
    result = await run.execute()
    assert result.status == "success"
    assert len(started) == 100
    assert 1 <= started[0] < 100
