"""Workflows that tasks run inside a run, on a virtual clock: times are asserted exactly."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import Event, Observer, TaskSettled, TaskStarted
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.workflow.model import Workflow
from tests.engine.test_semantics_table import INNER_ENDS, INNER_OUTPUTS, INSIDE, the_row
from tests.fakes import Row, ScriptedCaller, failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]
STEPS = [
    {"id": "first", "tool": "fake:first", "arguments": {"n": "$INPUT.n"}},
    {"id": "last", "tool": "fake:last", "arguments": {"n": "$OUTPUT[first].n"}},
]
INNER = {"inputs": {"n": {"type": "integer"}}, "tasks": STEPS, "output": "$OUTPUT[last].n"}


async def run(caller: Any, *tasks: Any, **fields: Any) -> RunResult:
    return await Run(workflow(*tasks, **fields), caller).execute()


def outer(**fields: Any) -> dict[str, Any]:
    return {"id": "outer", "workflow": INNER, "arguments": {"n": 1}, **fields}


def inside(result: TaskResult) -> dict[str, str]:
    assert result.tasks is not None
    return {name: each.status for name, each in result.tasks.items()}


async def test_its_output_is_the_output_of_the_task(schedule: Any) -> None:
    result = await run(ScriptedCaller(), outer(), schedule=schedule)
    assert result["outer"].output == 1
    assert inside(result["outer"]) == {"first": "success", "last": "success"}
    assert RunResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


async def test_the_steps_of_one_item_do_not_wait_for_those_of_another(schedule: Any) -> None:
    async def caller(call: Call, _: Attempt) -> Any:
        # The first step of item 1 ends only after the last one of item 0 has.
        if call.task == "outer[1]/first":
            await done.wait()
        if call.task == "outer[0]/last":
            done.set()
        return call.arguments

    done = anyio.Event()
    task = outer(for_each=[1, 2], arguments={"n": "$ITEM"})
    result = await run(caller, task, schedule=schedule)
    assert result["outer"].output == [1, 2]


# The slow step holds back the one behind the quick step only where generations do.
BY_SCHEDULE = {
    "generations": {"slow": 0, "quick": 0, "next": 2_000},
    "dataflow": {"slow": 0, "quick": 0, "next": 1_000},
}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("around", [None, *BY_SCHEDULE])
@pytest.mark.parametrize("said", [None, *BY_SCHEDULE])
@pytest.mark.parametrize("given", [None, *BY_SCHEDULE])
async def test_it_runs_by_the_schedule_around_it_unless_it_says_its_own(
    depth: int, around: Any, said: Any, given: Any
) -> None:
    steps: list[Any] = [
        "slow",
        "quick",
        {"id": "next", "tool": "fake:next", "depends_on": ["quick"]},
    ]
    inner: dict[str, Any] = workflow(*steps).to_dict() | ({"schedule": said} if said else {})
    for _ in range(depth - 1):
        inner = {"tasks": [{"id": "outer", "workflow": inner}]}
    flow = {"tasks": [{"id": "outer", "workflow": inner}]}
    flow |= {"schedule": around} if around else {}
    canonical = Workflow.load(Workflow.load(flow).to_dict())
    caller = ScriptedCaller({"slow": [(2.0, 1)], "quick": [(1.0, 1)]})
    result = await Run(canonical, caller, RunSettings(schedule=given)).execute()
    tasks = result["outer"].tasks
    for _ in range(depth - 1):
        assert tasks is not None
        tasks = tasks["outer"].tasks
    assert tasks is not None
    started = {name: each.started_ms for name, each in tasks.items()}
    assert started == BY_SCHEDULE[given or said or around or "generations"]


async def test_all_items_share_the_limit_of_the_run(schedule: Any) -> None:
    caller = ScriptedCaller({"first": [(1.0, {"n": 1})], "last": [(1.0, {"n": 1})]})
    task = outer(for_each=[1] * 10, arguments={"n": "$ITEM"})
    result = await run(caller, task, schedule=schedule, max_concurrency=4)
    assert (caller.most, result.duration_ms) == (4, 6_000)
    # The first items end before others begin: what is half done is little.
    fours = [range(start, min(start + 4, 10)) for start in (0, 4, 8)]
    called = iter([task for task, _ in caller.calls])
    for four in fours:
        for step in ("first", "last"):
            expected = [f"outer[{n}]/{step}" for n in four]
            assert sorted(itertools.islice(called, len(four))) == expected


async def test_items_of_three_levels_carry_their_path() -> None:
    middle = {"tasks": [outer(id="m", for_each=[1, 2], arguments={"n": "$ITEM"})]}
    caller = ScriptedCaller()
    result = await run(caller, {"id": "top", "workflow": middle, "for_each": ["x"]})
    assert {task for task, _ in caller.calls} == {
        f"top[0]/m[{n}]/{step}" for n in (0, 1) for step in ("first", "last")
    }
    items = result["top"].items
    assert items is not None
    assert items[0].tasks is not None
    assert items[0].tasks["m"].output == [1, 2]
    assert RunResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


async def test_events_carry_the_path_and_the_times_of_the_run() -> None:
    events: list[Event] = []
    caller = ScriptedCaller({"first": [(1.0, {"n": 1})]})
    flow = workflow({"id": "a", "tool": "fake:first"}, outer(depends_on=["a"]))
    await Run(flow, caller, observers=[events.append]).execute()
    started = {each.task: each.at_ms for each in events if isinstance(each, TaskStarted)}
    settled = [each.task for each in events if isinstance(each, TaskSettled)]
    assert started == {"a": 0, "outer": 1000, "outer/first": 1000, "outer/last": 2000}
    assert settled == ["a", "outer/first", "outer/last", "outer"]


async def test_a_task_that_fails_fails_the_task_around_it() -> None:
    result = await run(ScriptedCaller({"first": [(0, failing())]}), outer(), "b: outer")
    error = result["outer"].error
    assert error is not None
    assert error.message == 'workflow:outer failed in task "first": no'
    assert (error.kind, error.details) == ("tool_error", {"status": "failed", "task": "first"})
    assert inside(result["outer"]) == {"first": "error", "last": "skipped"}
    assert (result["b"].status, result.status) == ("skipped", "failed")


async def test_an_output_that_cannot_be_resolved_fails_it() -> None:
    inner = {**INNER, "output": "$OUTPUT[last].nope"}
    result = await run(ScriptedCaller(), outer(workflow=inner))
    error = result["outer"].error
    assert error is not None
    assert error.kind == "reference_error"
    assert "the workflow's output cannot be resolved" in error.message


async def test_what_is_skipped_by_its_own_condition_fails_nothing() -> None:
    inner = {
        "tasks": [
            {"id": "a", "tool": "fake:a", "when": "false"},
            STEPS[1] | {"run_if": "all_done", "arguments": {"n": 3}, "depends_on": ["a"]},
        ]
    }
    result = await run(ScriptedCaller(), {"id": "outer", "workflow": inner})
    assert result["outer"].output == {"last": {"n": 3}}


async def test_it_is_retried_repeated_and_replaced_as_a_call_is() -> None:
    script = {"first": [(0, failing()), (0, {"n": 5})]}
    retry = {"max_attempts": 2, "initial_s": 1, "jitter": 0}
    result = await run(ScriptedCaller(script), outer(retry=retry))
    assert (result["outer"].output, result["outer"].attempts) == (5, 2)
    repeat = {"until": "LAST == `3`", "every_s": 1, "collect": "LAST"}
    rows = [(0, {"n": 1}), (0, {"n": 2}), (0, {"n": 3})]
    result = await run(ScriptedCaller({"first": rows}), outer(repeat=repeat))
    assert result["outer"].output == [1, 2, 3]
    fallback = {"value": {"why": "$ERROR.details.task"}}
    result = await run(ScriptedCaller({"first": [(0, failing())]}), outer(fallback=fallback))
    assert result["outer"].output == {"why": "first"}
    assert inside(result["outer"])["first"] == "error"


@pytest.mark.parametrize(
    "limit", [{"timeout_s": 3}, {"deadline_s": 3}, {"workflow": {**INNER, "timeout_s": 3}}]
)
async def test_a_limit_of_time_ends_what_runs_inside(limit: dict[str, Any]) -> None:
    caller = ScriptedCaller({"first": [(5, None)]})
    result = await run(caller, outer(**limit))
    error = result["outer"].error
    assert error is not None
    assert (error.kind, result.duration_ms) == ("timeout", 3_000)
    assert inside(result["outer"]) == {"first": "cancelled", "last": "cancelled"}
    assert caller.log == ["start outer/first", "cancelled outer/first"]


async def test_calls_inside_have_a_limit_of_their_own() -> None:
    result = await run(ScriptedCaller({"first": [(90, None)]}), outer())
    error = result["outer"].error
    assert error is not None
    assert "did not answer within 60 s" in error.message


async def test_a_run_that_ends_ends_what_runs_inside_for_the_same_reason() -> None:
    caller = ScriptedCaller({"first": [(5, None)], "bad": [(1, failing())]})
    bad = {"id": "bad", "tool": "fake:bad", "critical": True}
    result = await run(caller, outer(), bad)
    assert result["outer"].status == "cancelled"
    tasks = result["outer"].tasks
    assert tasks is not None
    assert {each.reason for each in tasks.values()} == {'task "bad" failed, and it is critical'}
    assert result.duration_ms == 1_000


@pytest.mark.parametrize("fields", [{"on_error": "fail_fast"}, {}])
async def test_what_ends_it_counts_also_in_the_moment_in_which_the_run_ends(
    fields: dict[str, Any],
) -> None:
    async def caller(_: Call, __: Attempt) -> Any:
        flow.cancel("enough")
        if fields:
            raise failing()

    step = {"id": "a", "tool": "fake:a"} | ({} if fields else {"end_run": "failed"})
    inner = {"tasks": [step], "output": "fine", **fields}
    flow = Run(workflow({"id": "outer", "workflow": inner}, "b: outer"), caller)
    result = await flow.execute()
    assert (result["outer"].status, result.status) == ("error", "cancelled")
    assert inside(result["outer"]) == {"a": "error" if fields else "success"}


async def test_an_inner_run_that_ends_early_ends_only_itself() -> None:
    steps = [
        {"id": "bad", "tool": "fake:bad", "critical": True},
        {"id": "slow", "tool": "fake:slow"},
    ]
    caller = ScriptedCaller({"bad": [(1, failing())], "slow": [(9, None)], "b": [(5, 1)]})
    result = await run(caller, {"id": "outer", "workflow": {"tasks": steps}}, "b")
    assert inside(result["outer"]) == {"bad": "error", "slow": "cancelled"}
    assert (result["outer"].duration_ms, result["b"].status) == (1_000, "success")
    assert result.status == "partial"


async def test_the_inputs_are_checked_converted_and_completed() -> None:
    inner = {**INNER, "inputs": {"n": {"type": "integer"}, "unit": {"default": "C"}}}
    inner["output"] = {"n": "$OUTPUT[last].n", "unit": "$INPUT.unit"}
    result = await run(ScriptedCaller(), outer(workflow=inner, arguments={"n": "$OUTPUT[x]"}), "x")
    error = result["outer"].error
    assert error is not None
    assert error.kind == "invalid_arguments"
    script = ScriptedCaller({"x": [(0, "4")]})
    result = await run(script, outer(workflow=inner, arguments={"n": "$OUTPUT[x]"}), "x")
    assert result["outer"].output == {"n": 4, "unit": "C"}


async def test_an_exclusive_lock_inside_holds_for_all_items() -> None:
    steps = [{"id": "a", "tool": "fake:a", "locks": ["db"]}]
    caller = ScriptedCaller({"a": [(1.0, 1)]})
    result = await run(caller, {"id": "o", "workflow": {"tasks": steps}, "for_each": [1, 2, 3]})
    assert (caller.most, result.duration_ms) == (1, 3_000)


async def test_a_lock_of_the_task_around_is_held_inside_among_the_tasks_there() -> None:
    most = {"inside": 0, "now": 0}

    async def caller(_: Call, __: Attempt) -> Any:
        most["now"] += 1
        most["inside"] = max(most["inside"], most["now"])
        await anyio.sleep(1)
        most["now"] -= 1
        return {}

    steps = [{"id": name, "tool": f"fake:{name}", "locks": ["x"]} for name in "ab"]
    deeper = {"id": "deeper", "workflow": {"tasks": steps}}
    around = {"id": "outer", "workflow": {"tasks": [*steps, deeper]}, "locks": ["x"]}
    result = await run(caller, around, {"id": "c", "tool": "fake:c", "locks": ["x"]}, timeout_s=9)
    assert result.status == "success"
    assert most["inside"] == 1


async def test_a_lock_shared_around_is_not_held_exclusively_by_a_name_known_late() -> None:
    shared = {"name": "x", "mode": "shared"}
    steps = [
        {"id": "a", "tool": "fake:a", "locks": [shared]},
        {"id": "b", "tool": "fake:b", "locks": ["$INPUT.n"]},
    ]
    inner = {"inputs": {"n": {}}, "tasks": steps}
    around = outer(workflow=inner, arguments={"n": "x"}, locks=[shared])
    result = await run(ScriptedCaller(), around, timeout_s=9)
    assert inside(result["outer"]) == {"a": "success", "b": "error"}
    assert 'holds lock "x" shared' in str(result["outer"].error)


async def test_what_answers_take_counts_for_the_run() -> None:
    async def caller(call: Call, attempt: Attempt) -> Any:
        attempt.note_answer(2_000_000)
        return call.arguments

    task = outer(for_each=[1, 2, 3], arguments={"n": "$ITEM"})
    settings = RunSettings(max_run_mb=5, max_concurrency=1)
    result = await Run(workflow(task), caller, settings).execute()
    assert result.error is not None
    assert result.error.kind == "budget"


async def test_its_status_shows_the_calls_inside() -> None:
    states: list[list[tuple[str, str]]] = []

    async def caller(call: Call, _: Attempt) -> Any:
        states.append([(each.task, each.target) for each in flow.status().running])
        return call.arguments

    flow = Run(workflow(outer()), caller)
    await flow.execute()
    assert states == [[("outer/first", "fake:first")], [("outer/last", "fake:last")]]


class Deaf(Observer):
    """Hears nothing."""

    def on_event(self, event: Event) -> None:
        """See `Observer`."""


async def test_its_status_has_the_progress_that_tools_have_told() -> None:
    seen: list[Any] = []

    async def caller(call: Call, attempt: Attempt) -> Any:
        if attempt.on_progress is not None:
            attempt.on_progress(3.0, 40.0, "three")
        seen.extend((each.task, each.progress) for each in flow.status().running)
        return call.arguments

    flow = Run(workflow(outer()), caller, observers=[Deaf()])
    await flow.execute()
    told = (3.0, 40.0, "three")
    assert seen == [("outer/first", told), ("outer/last", told)]


async def test_its_status_counts_the_items_that_have_settled_inside_too() -> None:
    seen: list[dict[str, tuple[int, int]]] = []

    async def caller(call: Call, _: Attempt) -> Any:
        seen.append(dict(flow.status().items))
        return call.arguments

    each = {"id": "each", "tool": "fake:t", "for_each": [1, 2], "max_parallel": 1}
    around = outer(for_each=["a", "b"], max_parallel=1, workflow={"tasks": [each]}, arguments={})
    flow = Run(workflow(around), caller)
    await flow.execute()
    assert seen == [
        {"outer": (outside, 2), f"outer[{outside}]/each": (inside, 2)}
        for outside in (0, 1)
        for inside in (0, 1)
    ]
    assert flow.status().items == {}


async def test_a_task_cancelled_by_hand_settles_as_cancelled() -> None:
    async def caller(_: Call, __: Attempt) -> Any:
        assert flow.cancel_task("outer", "by hand")
        await anyio.sleep(5)

    flow = Run(workflow(outer(), "b"), ScriptedCallerFor("outer/first", caller))
    result = await flow.execute()
    assert (result["outer"].status, result["outer"].reason) == ("cancelled", "by hand")
    assert (result["b"].status, result.duration_ms) == ("success", 0)


class ScriptedCallerFor:
    """Makes the call of one task by `caller`, and answers all others at once."""

    def __init__(self, task: str, caller: Any) -> None:
        self._task, self._caller = task, caller

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        return await self._caller(call, attempt) if call.task == self._task else None


async def test_the_task_that_has_ended_it_is_named() -> None:
    steps = [
        {"id": "b", "tool": "fake:b", "arguments": {"x": "$INPUT.x.nope"}},
        {"id": "c", "tool": "fake:c", "critical": True},
    ]
    inner = {"inputs": {"x": {}}, "tasks": steps}
    caller = ScriptedCaller({"c": [(1.0, failing())]})
    result = await run(caller, {"id": "a", "workflow": inner, "arguments": {"x": {}}})
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.details["task"]) == ("tool_error", "c")


# The table of docs/semantics.md.

_FAILS: Row = (1, failing())
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, list[Row]]]] = {
    "succeed or are skipped": ({}, {}, {}),
    "one fails": ({}, {}, {"b": [_FAILS]}),
    "end at a failure": ({"on_error": "fail_fast"}, {}, {"b": [_FAILS], "a": [(9, 1)]}),
    "are ended as a success": ({}, {"end_run": "success"}, {"a": [(9, 1)]}),
    "are ended as failed": ({}, {"end_run": "failed"}, {"a": [(9, 1)]}),
    "reach the limit of the inner workflow": ({"timeout_s": 2}, {}, {"a": [(9, 1)]}),
}
KINDS = {
    "none": None,
    "that of the first in the file": "tool_error",
    "that of the task that ended it": "tool_error",
}


@pytest.mark.parametrize("tasks", INNER_ENDS)
@pytest.mark.parametrize("output", INNER_OUTPUTS)
async def test_each_row_is_what_happens(tasks: str, output: str, schedule: Any) -> None:
    row = the_row(INSIDE, **{"the tasks inside": tasks, "its output": output})
    fields, of_b, script = ENDS[tasks]
    skipped = {"id": "c", "tool": "fake:c", "when": False}
    steps = [{"id": "a", "tool": "fake:a"}, {"id": "b", "tool": "fake:b", **of_b}, skipped]
    wanted = "${STATUS[a]}" if output == "resolves" else "$OUTPUT[c].nothing"
    inner = {"tasks": steps, "output": wanted, **fields}
    task = {"id": "outer", "workflow": inner}
    result = await run(ScriptedCaller(script), task, schedule=schedule)
    error = result["outer"].error
    assert result["outer"].status == row["the task"]
    kind = row["error"].strip("`")
    assert (error.kind if error else None) == KINDS.get(kind, kind)
