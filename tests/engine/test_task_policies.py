"""Policies of a task and of its items, on a virtual clock: times are asserted exactly."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import Event, TaskStarted
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.errors import CallError, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from tests.fakes import Row, ScriptedCaller, failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]


async def run(caller: Any, *tasks: Any, **fields: Any) -> RunResult:
    return await Run(workflow(*tasks, **fields), caller).execute()


def task(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "tool": "fake:a", **fields}


async def pages(call: Call, _: Attempt) -> Any:
    """Three pages of two entries each."""
    page = call.arguments.get("cursor") or 0
    return {"entries": [2 * page, 2 * page + 1], "next": page + 1 if page < 2 else None}


# Repeat.


async def test_a_call_is_repeated_until_its_answer_is_what_the_task_waits_for() -> None:
    script = {"a": [(1.0, {"state": "busy"}), (1.0, {"state": "busy"}), (1.0, {"state": "done"})]}
    plan = workflow(task(repeat={"until": "LAST.state == 'done'", "every_s": 10}))
    events: list[Event] = []
    result = await Run(plan, ScriptedCaller(script), observers=[events.append]).execute()
    assert result["a"].output == {"state": "done"}
    started = [event for event in events if isinstance(event, TaskStarted)]
    assert [event.turn for event in started] == [1, 2, 3]
    assert "turn" in started[0].to_dict()
    assert (result["a"].attempts, result.duration_ms) == (3, 23_000)


async def test_the_pages_of_a_list_are_collected() -> None:
    repeat = {"until": "LAST.next == null", "every_s": 0, "collect": "LAST.entries"}
    result = await run(pages, task(arguments={"cursor": "$LAST.next"}, repeat=repeat))
    assert result["a"].output == [0, 1, 2, 3, 4, 5]
    assert result["a"].attempts == 3


async def test_what_is_not_a_list_is_appended_and_null_is_left_out() -> None:
    script = {"a": [(0, {"n": 1}), (0, {"n": None}), (0, {"n": {"k": 2}}), (0, {"n": [3, [4]]})]}
    repeat = {"until": "false", "every_s": 0, "collect": "LAST.n", "max_times": 4}
    result = await run(
        ScriptedCaller(script), task(repeat={**repeat, "until": "type(LAST.n) == 'array'"})
    )
    assert result["a"].output == [1, {"k": 2}, 3, [4]]


async def test_a_call_that_is_never_done_fails_with_its_last_answer() -> None:
    script = {"a": [(1.0, {"state": "busy"})]}
    repeat = {"until": "LAST.state == 'done'", "every_s": 1, "max_times": 3}
    result = await run(ScriptedCaller(script), task(repeat=repeat, retry=5))
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("not_done", False)
    assert error.details == {"last": {"state": "busy"}}
    assert error.message == "fake:a was called 3 times, and until is not true"
    assert (result["a"].attempts, result.duration_ms) == (3, 5000)


async def test_each_turn_has_its_own_attempts_and_its_own_key() -> None:
    keys: list[str] = []

    async def caller(call: Call, attempt: Attempt) -> Any:
        keys.append(call.idempotency_key)
        if attempt.number == 1:
            raise CallError("tool_error", "no")
        return {"n": attempt.number}

    repeat = {"until": "LAST.n > `2`", "every_s": 0}
    result = await run(caller, task(repeat=repeat, retry=2))
    assert result["a"].output == {"n": 3}
    assert keys[0] == keys[1] != keys[2]


async def test_calls_inside_have_another_key_in_each_turn_of_the_task_around() -> None:
    keys: list[str] = []

    async def caller(call: Call, _: Attempt) -> Any:
        keys.append(call.idempotency_key)
        if len(keys) == 2:
            raise CallError("tool_error", "no")
        return {"n": len(keys)}

    inner = {"tasks": [{"id": "b", "tool": "fake:b"}], "output": "$OUTPUT[b]"}
    repeat = {"until": "LAST.n > `2`", "every_s": 0}
    outer = {"id": "a", "workflow": inner, "repeat": repeat, "retry": 2}
    result = await run(caller, outer)
    assert result["a"].output == {"n": 3}
    assert keys[0] != keys[1] == keys[2]


async def test_items_repeat_on_their_own() -> None:
    async def caller(call: Call, attempt: Attempt) -> Any:
        return {"left": call.arguments["n"] - attempt.number}

    repeat = {"until": "LAST.left <= `0` && INDEX >= `0`", "every_s": 1}
    each = task(for_each=[1, 3], arguments={"n": "$ITEM"}, repeat=repeat)
    result = await run(caller, each)
    assert [item.attempts for item in result["a"].items or ()] == [1, 3]
    assert result.duration_ms == 2000


async def test_a_repeat_that_waits_ends_when_its_task_is_cancelled() -> None:
    plan = workflow(task(repeat={"until": "LAST.x", "every_s": 1000}), "b")
    caller = ScriptedCaller({"b": [(1.0, {})]})
    one = Run(plan, caller)

    def observe(event: Any) -> None:
        if getattr(event, "task", "") == "b" and type(event).__name__ == "TaskSettled":
            one.cancel_task("a", "enough")

    one = Run(plan, caller, observers=[observe])
    result = await one.execute()
    assert (result["a"].status, result["a"].reason) == ("cancelled", "enough")
    assert result.duration_ms == 1000


async def test_the_arguments_of_each_turn_are_fitted_to_the_tool() -> None:
    schema = {"type": "object", "properties": {"cursor": {"type": "integer"}}}
    tools = {"fake:a": Tool("fake", "a", schema)}
    plan = workflow(
        task(
            arguments={"cursor": "$LAST.next"},
            repeat={"until": "LAST.next == null", "every_s": 0, "collect": "LAST.entries"},
        )
    )
    result = await Run(plan, pages, servers=Servers(tools=tools)).execute()
    assert result["a"].output == [0, 1, 2, 3, 4, 5]


# Items.


async def test_an_item_is_skipped_by_its_condition() -> None:
    each = task(for_each=[1, 2, 3], arguments={"x": "$ITEM"}, item_when="ITEM != `2`")
    result = await run(ScriptedCaller(), each)
    assert result["a"].output == [{"x": 1}, None, {"x": 3}]
    assert (result.status, result["a"].attempts) == ("success", 2)
    skipped = (result["a"].items or ())[1].to_dict()
    assert (skipped["status"], skipped["reason"]) == (
        "skipped",
        "its condition is false: ITEM != `2`",
    )


async def test_a_condition_of_an_item_that_fails_is_the_failure_of_the_item() -> None:
    each = task(for_each=[1, "abc"], item_when="length(ITEM) > `2`")
    result = await run(ScriptedCaller(), each)
    assert [item.status for item in result["a"].items or ()] == ["error", "success"]


@pytest.mark.parametrize(
    ("fallback", "output"),
    [
        ({"value": "$ERROR.kind of $ITEM at $INDEX"}, "tool_error of 2 at 1"),
        ({"tool": "fake:b", "arguments": {"instead": "$ITEM"}}, {"instead": 2}),
    ],
)
async def test_the_fallback_of_an_item_stands_in_for_it_alone(
    fallback: dict[str, Any], output: Any
) -> None:
    async def caller(call: Call, _: Attempt) -> Any:
        if call.arguments.get("x") == 2:
            raise CallError("tool_error", "no")
        return call.arguments

    each = task(for_each=[1, 2, 3], arguments={"x": "$ITEM"}, item_fallback=fallback)
    result = await run(caller, each)
    assert result["a"].output == [{"x": 1}, output, {"x": 3}]
    assert (result.status, result["a"].attempts) == ("success", 3)
    item = (result["a"].items or ())[1].to_dict()
    assert (item["status"], item["recovered"], item["attempts"]) == ("success", True, 1)
    assert item["error"]["kind"] == "tool_error"


async def test_a_fallback_of_an_item_that_fails_keeps_both_errors() -> None:
    each = task(for_each=[1], item_fallback={"value": "$ERROR.nope"})
    result = await run(ScriptedCaller({"a": [(0, failing("tool_error"))]}), each)
    assert result["a"].error is not None
    assert result["a"].error.details["fallback_error"]["kind"] == "reference_error"


async def test_no_item_begins_after_one_has_failed_if_it_is_to_stop() -> None:
    script = {"a": [(1.0, "x"), (1.0, failing("tool_error")), (1.0, "y")]}
    each = task(for_each=[1, 2, 3, 4], max_parallel=1, on_item_error="stop")
    result = await run(ScriptedCaller(script), each)
    assert [item.status for item in result["a"].items or ()] == [
        *("success", "error", "skipped", "skipped")
    ]
    assert (result["a"].items or ())[2].outcome.to_dict()["reason"] == (
        "item 1 failed, and on_item_error is stop"
    )
    assert result["a"].output == ["x", None, None, None]


async def test_an_item_with_a_fallback_does_not_stop_the_others() -> None:
    script = {"a": [(1.0, failing("tool_error")), (1.0, "y")]}
    each = task(
        for_each=[1, 2], max_parallel=1, on_item_error="stop", item_fallback={"value": "instead"}
    )
    result = await run(ScriptedCaller(script), each)
    assert result["a"].output == ["instead", "y"]


async def test_a_product_goes_over_all_combinations_the_last_name_fastest() -> None:
    each = task(
        for_each={"city": ["Oslo", "Rome"], "unit": "$INPUT.units"},
        arguments={"at": "$ITEM.city in $ITEM.unit"},
    )
    plan = workflow(each, inputs={"units": {"type": "array"}})
    result = await Run(plan, ScriptedCaller(), inputs={"units": ["C", "F"]}).execute()
    assert [output["at"] for output in result["a"].output] == [
        *("Oslo in C", "Oslo in F", "Rome in C", "Rome in F")
    ]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (5, "expected array for for_each.unit, got integer 5 from $INPUT.units"),
        (list(range(600_000)), "expected at most 1,000,000 items for for_each, got 1,200,000"),
    ],
)
async def test_a_product_of_what_is_no_list_or_too_long_fails(units: Any, message: str) -> None:
    plan = workflow(task(for_each={"city": [1, 2], "unit": "$INPUT.units"}), inputs={"units": True})
    result = await Run(plan, ScriptedCaller(), inputs={"units": units}).execute()
    error = result["a"].error
    assert error is not None
    assert error.kind == "reference_error"
    assert message in error.message


async def test_a_product_with_an_empty_list_calls_nothing() -> None:
    result = await run(ScriptedCaller(), task(for_each={"x": [1, 2], "y": []}))
    assert (result["a"].output, result["a"].attempts) == ([], 0)


# Time.


async def test_a_delay_is_waited_before_the_first_call_without_a_slot() -> None:
    caller = ScriptedCaller({"a": [(1.0, {})], "b": [(2.0, {})]})
    result = await run(caller, task(delay_s=5), "b", max_concurrency=1)
    assert (result["b"].started_ms, result["a"].started_ms) == (0, 5000)
    assert result.duration_ms == 6000


async def test_a_delay_of_nothing_is_none() -> None:
    plan = workflow(task(delay_s=0))
    assert plan.plan.tasks["a"].policies.delay_s is None
    assert plan.to_dict()["tasks"][0]["delay_s"] == 0


async def test_a_delay_ends_when_its_task_is_cancelled() -> None:
    one = Run(workflow(task(delay_s=50)), ScriptedCaller())
    one.cancel_task("a", "enough")
    assert (await one.execute())["a"].status == "cancelled"
    plan, caller = workflow(task(delay_s=50), "b"), ScriptedCaller({"b": [(1.0, {})]})

    def observe(event: Any) -> None:
        if type(event).__name__ == "TaskSettled" and event.task == "b":
            one.cancel_task("a", "enough")

    one = Run(plan, caller, observers=[observe])
    result = await one.execute()
    assert (result["a"].status, result.duration_ms) == ("cancelled", 1000)
    assert [name for name, _ in caller.calls] == ["b"]


async def test_a_deadline_ends_a_task_with_its_attempts_and_waits() -> None:
    caller = ScriptedCaller({"a": [(2.0, failing("tool_error"))]})
    retry = {"max_attempts": 9, "initial_s": 1, "factor": 1, "jitter": 0}
    result = await run(caller, task(retry=retry, deadline_s=7.5))
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.details) == ("timeout", {"deadline_s": 7.5})
    assert error.message == "fake:a did not finish within its deadline of 7.5 s"
    assert (result["a"].attempts, result.duration_ms) == (3, 7500)
    assert caller.log[-1] == "cancelled a"


async def test_a_deadline_counts_the_delay_of_a_task_but_not_for_its_items() -> None:
    caller = ScriptedCaller({"a": [(2.0, {})]})
    result = await run(caller, task(delay_s=2, deadline_s=3.5))
    error = result["a"].error
    assert error is not None
    assert (error.kind, result["a"].attempts, result.duration_ms) == ("timeout", 1, 3500)
    result = await run(ScriptedCaller(), task(delay_s=5, deadline_s=3.5))
    assert result["a"].error == error
    assert (result["a"].attempts, result.duration_ms) == (0, 3500)
    result = await run(ScriptedCaller(), task(delay_s=5, deadline_s=3.5, for_each=[1]))
    assert (result["a"].status, result.duration_ms) == ("success", 5000)


async def test_a_deadline_counts_for_each_item_and_a_fallback_follows_it() -> None:
    async def caller(call: Call, _: Attempt) -> Any:
        if call.arguments["x"] == 2:
            raise CallError("timeout", "slow")
        return call.arguments

    retry = {"max_attempts": 99, "initial_s": 1, "factor": 1, "jitter": 0}
    each = task(
        for_each=[1, 2],
        arguments={"x": "$ITEM"},
        retry=retry,
        deadline_s=3.5,
        item_fallback={"value": "late"},
    )
    result = await run(caller, each)
    assert result["a"].output == [{"x": 1}, "late"]
    assert result.duration_ms == 3500


# The end of the run, defaults, values.


async def test_a_task_that_succeeds_may_end_the_run_as_a_success() -> None:
    caller = ScriptedCaller({"a": [(1.0, {})], "b": [(60.0, {})]})
    result = await run(caller, task(end_run="success"), "b", "c: b")
    assert (result.status, result.error, result.duration_ms) == ("success", None, 1000)
    assert [result[name].status for name in "abc"] == ["success", "cancelled", "skipped"]
    assert result["c"].reason == 'task "a" ended the run (end_run is success)'


async def test_a_task_that_had_failed_makes_such_a_run_partial() -> None:
    caller = ScriptedCaller({"a": [(1.0, {})], "b": [(0.5, failing("tool_error"))]})
    assert (await run(caller, task(end_run="success"), "b")).status == "partial"


async def test_a_task_that_succeeds_may_end_the_run_as_a_failure() -> None:
    caller = ScriptedCaller({"a": [(1.0, {})], "b": [(60.0, {})]})
    result = await run(caller, task(end_run="failed"), "b")
    assert (result.status, result["b"].status) == ("failed", "cancelled")
    assert result.error is not None
    assert result.error.message == 'task "a" ended the run (end_run is failed)'


async def test_a_task_that_fails_or_is_skipped_ends_nothing() -> None:
    caller = ScriptedCaller({"a": [(1.0, failing("tool_error"))], "b": [(2.0, {})]})
    result = await run(caller, task(end_run="success"), "b")
    assert (result["b"].status, result.status) == ("success", "partial")
    result = await run(ScriptedCaller(), task(end_run="failed", when=False), "b")
    assert (result["b"].status, result.status) == ("success", "success")


async def test_defaults_hold_for_tasks_that_do_not_say_otherwise() -> None:
    caller = ScriptedCaller({name: [(60.0, {})] for name in "ab"})
    fields = {"defaults": {"timeout_s": 2, "retry": {"max_attempts": 2, "initial_s": 0}}}
    result = await run(caller, task(), {"id": "b", "tool": "fake:b", "timeout_s": 3}, **fields)
    assert [result[name].attempts for name in "ab"] == [2, 2]
    assert [result[name].duration_ms for name in "ab"] == [4000, 6000]
    script = {"a": [(1.0, failing("tool_error")), (1.0, "y")]}
    for own, output in ((None, [None, None]), ("continue", [None, "y"])):
        each = task(for_each=[1, 2], max_parallel=1, on_item_error=own)
        stops = await run(ScriptedCaller(script), each, defaults={"on_item_error": "stop"})
        assert stops["a"].output == output


async def test_a_value_is_what_its_template_gives() -> None:
    value = {"id": "v", "value": {"n": "${length(OUTPUT[a].x)}", "text": "it is $OUTPUT[a].x[0]"}}
    each = {"id": "w", "value": "$ITEM!", "for_each": "$OUTPUT[a].x"}
    caller = ScriptedCaller()
    result = await run(caller, task(arguments={"x": ["p", "q"]}), value, each)
    assert result["v"].output == {"n": 2, "text": "it is p"}
    assert result["w"].output == ["p!", "q!"]
    assert result["v"].attempts == 0
    assert [name for name, _ in caller.calls] == ["a"]


async def test_a_value_that_cannot_be_resolved_fails_and_may_fall_back() -> None:
    broken = {"id": "v", "value": "$OUTPUT[a].nope"}
    result = await run(ScriptedCaller(), task(), broken)
    assert result["v"].error is not None
    assert result["v"].error.kind == "reference_error"
    result = await run(ScriptedCaller(), task(), {**broken, "fallback": {"value": None}})
    assert (result["v"].status, result["v"].output, result["v"].recovered) == (
        "success",
        None,
        True,
    )


def test_a_value_is_kept_in_the_canonical_form_even_if_it_is_null() -> None:
    loaded = workflow({"id": "v", "value": None})
    assert loaded.to_dict()["tasks"] == [{"id": "v", "value": None}]
    assert Workflow.load(loaded.to_dict()) == loaded


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({}, "/tasks/0/tool", 'missing field "tool"'),
        (
            {"tool": "s:t", "value": 1},
            "/tasks/0",
            '"tool" and "value" exclude each other: keep one, and write a task for the other',
        ),
        (
            {"value": 1, "retry": 2, "locks": ["x"]},
            "/tasks/0/locks",
            '"locks", "retry" mean nothing in a task with "value", which calls nothing',
        ),
        (
            {"tool": "s:t", "arguments": {"x": "$LAST"}},
            "/tasks/0/arguments/x",
            '"$LAST" is only readable in a task with repeat',
        ),
        ({"tool": "s:t", "repeat": {}}, "/tasks/0/repeat/until", 'missing field "until"'),
        (
            {"tool": "s:t", "repeat": {"until": "nope("}},
            "/tasks/0/repeat/until",
            "nope(",
        ),
        (
            {"tool": "s:t", "item_when": "ITEM"},
            "/tasks/0/item_when",
            "is only readable for an item of a for_each",
        ),
        (
            {"tool": "s:t", "for_each": {"x": "text"}},
            "/tasks/0/for_each/x",
            'expected array or a reference to one, got string "text"',
        ),
    ],
)
def test_what_is_wrong_with_such_a_task_is_said(
    fields: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(WorkflowError) as caught:
        workflow({"id": "a", **fields})
    found = [(problem.path, problem.message) for problem in caught.value.problems]
    assert any(at == path and message in said for at, said in found), found


# What only a call takes.


async def test_attempts_of_a_task_that_was_ended_do_not_count_the_fallback_of_an_item() -> None:
    script: dict[str, list[Row]] = {
        "a": [(1.0, failing())],
        "b": [(60.0, 1)],
        "bad": [(5.0, failing())],
    }
    each = task(for_each=[1], item_fallback={"tool": "fake:b", "arguments": {}})
    bad = {"id": "bad", "tool": "fake:bad", "critical": True}
    result = await run(ScriptedCaller(script), each, bad)
    assert (result["a"].status, result["a"].attempts) == ("cancelled", 1)
    assert (result["a"].items or ())[0].attempts == 1


@pytest.mark.parametrize("fallback", [None, {"value": 1}])
async def test_a_task_that_calls_nothing_is_not_delayed(fallback: Any) -> None:
    broken = task(arguments={"x": "$ERROR[b].kind"}, delay_s=5, fallback=fallback)
    result = await run(ScriptedCaller(), "b", broken)
    assert (result["a"].status, result.duration_ms) == ("success" if fallback else "error", 0)


async def test_a_path_in_an_answer_of_null_is_null() -> None:
    caller = ScriptedCaller({"a": [(1.0, None), (1.0, {"next": None})]})
    repeat = {"until": "LAST.next == null && LAST != null", "every_s": 0}
    result = await run(caller, task(arguments={"cursor": "$LAST.next"}, repeat=repeat))
    assert (result["a"].status, result["a"].attempts) == ("success", 2)
