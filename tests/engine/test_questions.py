"""People in the loop: who is asked what, when the rest goes on, and when a run pauses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.outcome import Cancelled, Failure, Skipped, Success, Waiting
from orchestrator.engine.question import AnswerCallback, Question
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import AnswerError, RefusedError, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Schedule, Workflow
from tests.fakes import ScriptedCaller, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

ASKS = {"id": "q", "ask": {"message": "Go on?"}}


def run_of(
    flow: Workflow,
    answer: AnswerCallback | None = None,
    caller: Any = None,
    *,
    wait: bool = False,
    schedule: Schedule | None = None,
    servers: Servers | None = None,
) -> Run:
    settings = RunSettings(answer=answer, wait=wait, schedule=schedule)
    return Run(flow, caller or ScriptedCaller({}), settings, servers=servers)


def statuses(result: RunResult) -> Mapping[str, str]:
    return {name: task.status for name, task in result.tasks.items()}


async def yes(_: Question) -> Any:
    return True


async def refuses(_: Question) -> Any:
    raise RefusedError


async def test_the_answer_is_the_output() -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> Any:
        asked.append(question)
        return "Rome"

    flow = workflow(
        {"id": "a", "value": "sea"},
        {"id": "q", "ask": {"message": "By the $OUTPUT[a]?", "schema": {"type": "string"}}},
        {"id": "b", "tool": "fake:b", "arguments": {"city": "$OUTPUT[q]"}},
    )
    caller = ScriptedCaller({})
    result = await run_of(flow, answer, caller).execute()
    assert (result.status, result["q"].output, result["q"].attempts) == ("success", "Rome", 0)
    [question] = asked
    assert question.to_dict() == {
        "task": "q",
        "item": None,
        "kind": "ask",
        "message": "By the sea?",
        "schema": {"type": "string"},
        "arguments": None,
    }
    assert result.questions == ()


async def test_what_can_run_runs_on_and_then_the_run_pauses(schedule: Schedule) -> None:
    flow = workflow(
        ASKS,
        {"id": "a", "tool": "fake:a"},
        {"id": "b", "tool": "fake:b", "depends_on": ["a"]},
        {"id": "c", "tool": "fake:c", "depends_on": ["b"]},
        {"id": "behind", "tool": "fake:d", "depends_on": ["q", "c"]},
        {"id": "after", "tool": "fake:e", "depends_on": ["behind"]},
        **{"finally": [{"id": "last", "tool": "fake:last"}]},
    )
    run = run_of(flow, schedule=schedule)
    result = await run.execute()
    assert statuses(result) == {
        **dict.fromkeys(("a", "b", "c"), "success"),
        **dict.fromkeys(("q", "behind", "after", "last"), "waiting"),
    }
    assert (result.status, result.reason, result.error, result.speedup) == ("paused",) + (None,) * 3
    assert result.summary["waiting"] == 4
    assert sum(result.summary.values()) - result.summary["total"] == result.summary["total"]
    assert (
        [each.message for each in result.questions]
        == ["Go on?"]
        == [each.message for each in run.questions]
    )
    assert result["q"].outcome == Waiting()


async def test_what_is_behind_an_answer_starts_with_it(schedule: Schedule) -> None:
    """The generations went past the question, and past all that is behind it."""
    order: list[str] = []

    async def call(call: Call, _: Attempt) -> Any:
        order.append(call.task)
        await anyio.sleep(10 if call.task == "slow" else 1)
        if call.task == "b":
            run.answer("q", True)
        return None

    flow = workflow(
        ASKS,
        {"id": "a", "tool": "fake:a"},
        {"id": "b", "tool": "fake:b", "depends_on": ["a"]},
        {"id": "slow", "tool": "fake:slow", "depends_on": ["b"]},
        {"id": "behind", "tool": "fake:d", "depends_on": ["q"]},
        {"id": "after", "tool": "fake:e", "depends_on": ["behind"]},
    )
    run = run_of(flow, caller=call, schedule=schedule)
    result = await run.execute()
    assert result.status == "success"
    assert order.index("behind") > order.index("b")
    assert order[-2:] == ["behind", "after"] or order.index("slow") > order.index("b")


async def test_a_long_chain_behind_a_refused_question_is_skipped_without_recursion() -> None:
    chain = [{"id": f"t{n}", "tool": "fake:t", "depends_on": [f"t{n - 1}"]} for n in range(1, 1200)]
    flow = workflow({"id": "t0", "ask": {"message": "?"}}, *chain)

    async def late(_: Question) -> Any:
        await anyio.sleep(5)
        raise RefusedError

    result = await run_of(flow, late, schedule="generations").execute()
    assert result.status == "failed"
    assert isinstance(result["t1199"].outcome, Skipped)


async def test_an_approval_shows_the_arguments_and_is_asked_once_for_all_attempts() -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> Any:
        asked.append(question)
        return True

    from tests.fakes import failing

    caller = ScriptedCaller({"send": [(0, failing()), (0, "sent")]})
    flow = workflow(
        {
            "id": "s",
            "tool": "fake:send",
            "arguments": {"to": "$INPUT.to"},
            "approve": True,
            "retry": 3,
        },
        inputs={"to": {"default": "Ada"}},
    )
    run = Run(flow, caller, RunSettings(answer=answer), inputs={"to": "Ada"})
    result = await run.execute()
    assert (result.status, result["s"].attempts) == ("success", 2)
    [question] = asked
    assert (question.kind, question.message) == ("approve", "Call fake:send?")
    assert question.arguments == {"to": "Ada"}


async def test_a_refused_call_is_not_made_and_not_retried() -> None:
    caller = ScriptedCaller({})
    flow = workflow(
        {"id": "s", "tool": "fake:send", "approve": {"message": "Send?"}, "retry": 3},
        {"id": "r", "tool": "fake:send", "approve": True, "fallback": {"value": "$ERROR.kind"}},
    )
    result = await run_of(flow, refuses, caller).execute()
    error = result["s"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("refused", False)
    assert result["r"].output == "refused"


def no(_: Question) -> Any:  # a plain function
    return False


async def test_no_refuses_an_approval_and_answers_a_question() -> None:
    flow = workflow(ASKS, {"id": "s", "tool": "fake:send", "approve": True})
    result = await run_of(flow, no).execute()
    assert result["q"].outcome == Success(False)
    assert isinstance(result["s"].outcome, Failure)


@pytest.mark.parametrize(
    ("approve", "asked"),
    [(["delete_*"], {"d"}), ("destructive", {"d", "w"}), ([], set()), (["*"], {"d", "w", "r"})],
)
async def test_the_operator_wants_to_be_asked(approve: Any, asked: set[str]) -> None:
    tools = {
        "fake:delete_all": Tool("fake", "delete_all", {}, read_only=False, destructive=True),
        "fake:write": Tool("fake", "write", {}),
        "fake:read": Tool("fake", "read", {}, read_only=True),
    }
    flow = workflow(
        {"id": "d", "tool": "fake:delete_all"},
        {"id": "w", "tool": "fake:write", "approve": False},
        {"id": "r", "tool": "fake:read"},
    )
    servers = Servers(tools, {"fake": ServerPolicy(approve=approve)})
    for limit in (0, 1):
        settings = RunSettings(max_concurrency=limit)
        result = await Run(flow, ScriptedCaller({}), settings, servers=servers).execute()
        assert {each.task for each in result.questions} == asked
        assert result.status == ("paused" if asked else "success")


async def test_an_approval_holds_no_slot_and_no_other_item_back() -> None:
    made: list[Any] = []

    async def call(call: Call, _: Attempt) -> Any:
        made.append(call.arguments["n"])
        return call.arguments["n"]

    async def even(question: Question) -> Any:
        assert question.arguments is not None
        return True if question.arguments["n"] % 2 == 0 else None

    each = {"tool": "fake:t", "arguments": {"n": "$ITEM"}, "approve": {"message": "$ITEM?"}}
    flow = workflow({"id": "e", **each, "for_each": list(range(250))}, max_concurrency=1)
    result = await run_of(flow, even, call).execute()
    assert result.status == "paused"
    assert sorted(made) == list(range(0, 250, 2))
    assert [each.item for each in result.questions] == list(range(1, 250, 2))
    items = result["e"].items
    assert items is not None
    assert [item.status for item in items[:2]] == ["success", "waiting"]


async def test_one_answer_stands_for_all_items_also_those_that_come() -> None:
    each = {"tool": "fake:t", "for_each": list(range(5)), "approve": True, "max_parallel": 2}
    run = run_of(workflow({"id": "e", **each}), wait=True)

    async def answer() -> None:
        await anyio.sleep(1)
        assert [each.item for each in run.questions] == [0, 1]
        run.answer("e", True, all_items=True)

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        result = await run.execute()
    assert result.status == "success"


async def test_answers_are_checked_and_names_too() -> None:
    flow = workflow(
        {"id": "city", "ask": {"message": "?", "schema": {"type": "string"}}},
        {"id": "e", "tool": "fake:t", "for_each": [1, 2], "approve": True},
    )
    run = run_of(flow, wait=True)

    async def answer() -> None:
        await anyio.sleep(1)
        with pytest.raises(AnswerError, match='"city": expected string, got integer 3'):
            run.answer("city", 3)
        with pytest.raises(AnswerError, match=r'of task "citi" is open\. Did you mean "city"'):
            run.answer("citi", "x")
        with pytest.raises(AnswerError, match='"e" waits with items 0, 1: name one'):
            run.answer("e", True)
        with pytest.raises(AnswerError, match='"e", item 7, is open'):
            run.answer("e", True, item=7)
        run.answer("city", "Rome")
        run.answer("e", True, item=1)
        run.refuse("e", item=0)

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        result = await run.execute()
    assert result["city"].output == "Rome"
    items = result["e"].items
    assert items is not None
    assert [item.status for item in items] == ["error", "success"]
    with pytest.raises(AnswerError, match="none of any other"):
        run.answer("city", "late")


async def test_what_a_callback_does_wrong_is_the_failure_of_its_task() -> None:
    async def wrong(question: Question) -> Any:
        if question.task == "q":
            return "perhaps"
        raise LookupError("no such person")

    flow = workflow(ASKS, {"id": "p", "ask": {"message": "Who?"}}, "other")
    result = await run_of(flow, wrong).execute()
    assert statuses(result) == {"q": "error", "p": "error", "other": "success"}
    assert "expected boolean" in str(result["q"].error)
    assert "no such person" in str(result["p"].error)
    assert [each.error.kind for each in result.tasks.values() if each.error] == [
        "invalid_arguments",
        "internal",
    ]


@pytest.mark.parametrize("more", [{}, {"default": False}])
async def test_a_question_has_a_limit_and_a_default(more: dict[str, Any]) -> None:
    flow = workflow({"id": "q", "ask": {"message": "?", "timeout_s": 30, **more}})
    result = await run_of(flow).execute()
    if more:
        assert result["q"].outcome == Success(False)
    else:
        error = result["q"].error
        assert error is not None
        assert (error.kind, error.message) == ("timeout", "nobody answered within 30 s")


async def test_a_process_does_not_stay_for_a_far_limit() -> None:
    flow = workflow({"id": "q", "ask": {"message": "?"}, "timeout_s": 3600})
    assert (await run_of(flow).execute()).status == "paused"
    result = await run_of(flow, wait=True).execute()
    assert result["q"].status == "error"
    assert result.duration_ms == pytest.approx(3_600_000)


async def test_questions_inside_a_workflow_pause_all_that_is_around() -> None:
    inner = {
        "tasks": [
            {"id": "q", "ask": {"message": "$INPUT.n?", "schema": {"type": "integer"}}},
            {"id": "use", "tool": "fake:t", "arguments": {"n": "$OUTPUT[q]"}},
            {"id": "free", "tool": "fake:t"},
        ],
        "inputs": {"n": {}},
        "finally": [{"id": "last", "tool": "fake:t"}],
    }
    outer = {"id": "o", "workflow": inner, "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    flow = workflow(outer, "a", {"id": "b", "tool": "fake:t", "depends_on": ["a"]})
    result = await run_of(flow).execute()
    assert result.status == "paused"
    assert statuses(result) == {"o": "waiting", "a": "success", "b": "success"}
    assert sorted(each.task for each in result.questions) == ["o[0]/q", "o[1]/q"]
    items = result["o"].items
    assert items is not None
    assert items[0].tasks is not None
    inside = {name: task.status for name, task in items[0].tasks.items()}
    assert inside == {"q": "waiting", "use": "waiting", "free": "success", "last": "waiting"}

    async def answer(question: Question) -> Any:
        return int(question.message[0])

    result = await run_of(flow, answer).execute()
    assert result.status == "success"


async def test_a_lock_that_waits_behind_a_question_does_not_keep_the_run() -> None:
    flow = workflow(
        {"id": "s", "tool": "fake:t", "locks": ["x"], "approve": True},
        {"id": "t", "tool": "fake:t", "locks": ["x"], "delay_s": 1},
    )
    result = await run_of(flow).execute()
    assert statuses(result) == {"s": "waiting", "t": "waiting"}


async def test_a_workflow_is_approved_as_a_whole() -> None:
    inner = {"name": "inside", "tasks": [{"id": "x", "value": 1}]}
    flow = workflow({"id": "o", "workflow": inner, "approve": True})
    result = await run_of(flow).execute()
    assert [each.message for each in result.questions] == ["Run workflow inside?"]
    assert (await run_of(flow, yes).execute()).status == "success"


async def test_a_run_that_is_cancelled_while_it_waits_is_not_paused() -> None:
    run = run_of(workflow(ASKS), wait=True)

    async def cancel() -> None:
        await anyio.sleep(1)
        run.cancel("enough")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        result = await run.execute()
    assert (result.status, result.questions) == ("cancelled", ())
    assert result["q"].outcome == Cancelled("enough")


async def test_a_task_that_waits_can_be_cancelled() -> None:
    run = run_of(workflow({"id": "s", "tool": "fake:t", "approve": True}, "a"), wait=True)

    async def cancel() -> None:
        await anyio.sleep(1)
        assert [each.waiting_for for each in run.status().running] == ["the answer to a question"]
        assert run.cancel_task("s", "not needed")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        result = await run.execute()
    assert result["s"].outcome == Cancelled("not needed")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            {"ask": {"message": "?"}, "for_each": [1]},
            '"for_each" means nothing in a task with "ask"',
        ),
        ({"ask": {"message": "?"}, "retry": 2}, '"retry" means nothing in a task with "ask"'),
        ({"ask": {}}, 'missing field "message"'),
        ({"ask": {"message": "?", "schema": {"type": "strin"}}}, "invalid JSON Schema"),
        ({"ask": {"message": "?", "default": 3}}, "the default does not fit its schema"),
        ({"ask": {"message": "$OUTPUT[x]?"}}, 'unknown task "x"'),
        ({"read": "s:u", "approve": True}, '"approve" means nothing in a task with "read"'),
        ({"tool": "s:t", "approve": "yes"}, 'expected true, false or {"message": "..."}'),
        ({"tool": "s:t", "approve": {"message": "$OUTPUT[x]"}}, 'unknown task "x"'),
    ],
)
async def test_mistakes_are_said_when_the_file_is_read(task: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [{"id": "a", **task}]})
    assert message in str(caught.value)


async def test_a_dry_run_asks_nobody() -> None:
    from orchestrator.dry_run import DryRunCaller

    choice = {"message": "?", "schema": {"enum": ["x", "y"]}}
    flow = workflow(
        {"id": "q", "ask": choice},
        {"id": "d", "ask": {"message": "?", "default": True}},
        {"id": "n", "ask": {"message": "?", "schema": {"not": {}}}},
    )
    caller = DryRunCaller(flow, {}, lambda _: None)
    result = await Run(flow, caller, made_up=caller.made_up).execute()
    assert [result[name].output for name in "qdn"] == ["x", True, None]


LAST = {"id": "last", "tool": "fake:last", "approve": True}


async def test_a_question_of_finally_pauses_the_run_too() -> None:
    flow = workflow(
        {"id": "a", "tool": "fake:a"},
        {"id": "q", **ASKS},
        **{"finally": [LAST, {"id": "also", "value": 1}]},
    )
    inner = {"tasks": [{"id": "a", "tool": "fake:a"}], "finally": [LAST]}
    around = workflow(
        {"id": "o", "workflow": inner}, ASKS, **{"finally": [{"id": "end", "value": 1}]}
    )
    result = await run_of(flow, lambda each: True if each.task == "q" else None).execute()
    assert (result.status, result.reason) == ("paused", None)
    assert statuses(result) == {
        "a": "success",
        "q": "success",
        "last": "waiting",
        "also": "success",
    }
    assert [each.task for each in result.questions] == ["last"]
    result = await run_of(around).execute()
    assert statuses(result) == dict.fromkeys(("o", "q", "end"), "waiting")
    assert sorted(each.task for each in result.questions) == ["o/last", "q"]
    assert (await run_of(around, yes).execute()).status == "success"


async def test_items_that_have_ended_are_shown_in_a_paused_run() -> None:
    each = {"id": "e", "tool": "fake:t", "for_each": [1, 2], "approve": True}
    result = await run_of(workflow(each), lambda each: None if each.item else False).execute()
    items = result["e"].items
    assert items is not None
    assert [item.status for item in items] == ["error", "waiting"]
