"""What a run may spend: calls, time, and the memory that its answers take."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Server, WorkflowError
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import BudgetSpent, Event
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.spending import MB
from orchestrator.engine.summary import Whose
from orchestrator.errors import CallError, TaskError
from orchestrator.servers.config import ServerTable
from orchestrator.transport.messages import VALUE_BYTES, memory_of
from orchestrator.workflow.budget import Budget, amounts
from tests.fakes import workflow
from tests.real_servers import faulty, plan

pytestmark = pytest.mark.anyio

FULL = "the answers of the run take more than 1 MB of memory"
# Two answers of this size fit into a megabyte, and three do not.
SIZE = 400_000


async def answer(call: Call, attempt: Attempt) -> Any:
    """Answers a call with its name; one of the tool `fail` fails, and `wait` never answers."""
    if call.tool == "wait":
        await anyio.sleep_forever()
    attempt.note_answer(SIZE)
    if call.tool == "fail":
        raise CallError("tool_error", "no")
    return call.task


async def run(
    *tasks: Any, max_run_mb: int = 1, servers: Servers | None = None, **fields: Any
) -> RunResult:
    settings = RunSettings(max_run_mb=max_run_mb)
    return await Run(workflow(*tasks, **fields), answer, settings, servers=servers).execute()


async def run_within(budget: dict[str, float], *tasks: Any, **fields: Any) -> RunResult:
    return await run(*tasks, max_run_mb=0, budget=budget, **fields)


def spent(result: RunResult, reason: str, whose: Whose, **limit: float) -> None:
    """The run has failed since this budget is spent."""
    assert (result.status, result.reason) == ("failed", "budget")
    (name, _), *_ = limit.items()
    fixes = {"workflow": f"budget.{name}", "operator": f"{name} of [budget] in servers.toml"}
    message = f"the run {reason}, which is its budget: raise {fixes[whose]}"
    assert result.error == TaskError("budget", message, False, {**limit, "budget": whose})


def statuses(result: RunResult) -> list[str]:
    return [task.status for task in result.tasks.values()]


async def test_a_run_over_its_limit_fails_with_what_it_has() -> None:
    waits = {"id": "e", "tool": "s:wait"}
    result = await run("a", "b: a", "c: b", "d: c", waits, schedule="dataflow")
    assert result.status == "failed"
    assert statuses(result) == ["success", "success", "success", "skipped", "cancelled"]
    assert [result[task].output for task in "abc"] == ["a", "b", "c"]
    assert (result["d"].reason, result["e"].reason) == (FULL, FULL)
    assert result.error is not None
    assert result.error.kind == "budget"
    fix = "raise max_run_mb (--max-run-mb), or ask the tools for less"
    assert result.error.message == f"{FULL}: {fix}"
    assert result.error.details == {"max_run_mb": 1}


async def test_the_items_that_finished_keep_their_outputs() -> None:
    each = {"id": "a", "tool": "s:t", "for_each": [1, 2, 3, 4, 5], "max_parallel": 1}
    result = await run(each, "b: a")
    assert statuses(result) == ["cancelled", "skipped"]
    assert result["a"].output == ["a", "a", "a", None, None]
    assert result.error is not None
    assert result.error.kind == "budget"


@pytest.mark.parametrize(
    "task",
    [
        {"tool": "s:fail"},
        {"tool": "s:fail", "fallback": {"tool": "s:t"}},
    ],
)
async def test_failures_and_fallbacks_count(task: dict[str, Any]) -> None:
    tasks = [{"id": f"t{n}", **task} for n in range(4)]
    result = await run(*tasks, max_concurrency=1)
    assert result.status == "failed"
    assert statuses(result)[-1] == "skipped"


async def test_only_the_last_attempt_is_kept() -> None:
    again = {"max_attempts": 10, "initial_s": 0.001, "max_s": 0.001}
    result = await run({"id": "a", "tool": "s:fail", "retry": again})
    assert result["a"].attempts == 10
    assert result.error is None


async def test_no_limit_is_no_limit() -> None:
    result = await run("a", "b: a", "c: b", "d: c", max_run_mb=0)
    assert result.status == "success"


async def test_a_negative_limit_is_refused() -> None:
    async with Orchestrator({"it": faulty()}) as orchestrator:
        with pytest.raises(WorkflowError, match="expected max_run_mb of at least 0, got -1"):
            await orchestrator.run(plan(("it:echo", {"value": 1})), max_run_mb=-1)


async def test_what_a_program_sends_counts() -> None:
    calls = [("it:huge", {"bytes": SIZE})] * 5
    async with Orchestrator({"it": faulty()}) as orchestrator:
        result = await orchestrator.run(plan(*calls, max_concurrency=1), max_run_mb=1)
    assert statuses(result) == ["success"] * 3 + ["skipped"] * 2
    assert result.error is not None
    assert result.error.kind == "budget"


def test_the_estimate_is_about_what_python_takes() -> None:
    # Each empty list is three characters of JSON, and sixty bytes and more of memory.
    assert memory_of(b"[" + b"[]," * 1000 + b"[]]") > 1000 * sys.getsizeof([])
    assert memory_of("[1,2,{}]") == 8 + VALUE_BYTES * 4
    assert memory_of(b"x" * 1000) == 1000


async def test_a_run_may_make_the_calls_of_its_budget_and_no_more() -> None:
    chain = "a", "b: a", "c: b"
    assert (await run_within({"calls": 3}, *chain)).status == "success"
    result = await run_within({"calls": 2}, *chain)
    spent(result, "needs more than 2 calls", "workflow", calls=2)
    assert statuses(result) == ["success", "success", "skipped"]
    result = await run_within({"calls": 1}, "a", "b: a")
    spent(result, "needs more than 1 call", "workflow", calls=1)


async def test_what_had_failed_before_the_budget_was_spent_is_told() -> None:
    again = {"max_attempts": 9, "initial_s": 0, "max_s": 0}
    result = await run_within({"calls": 3}, {"id": "a", "tool": "s:fail", "retry": again})
    spent(result, "needs more than 3 calls", "workflow", calls=3)
    failed = "the attempt before failed: tool_error: no"
    assert result["a"].reason == f"the run needs more than 3 calls, which is its budget; {failed}"
    each = {"id": "a", "tool": "s:fail", "for_each": [1, 2], "max_parallel": 1, "retry": again}
    reason = (await run_within({"calls": 2}, each))["a"].reason
    assert reason is not None
    assert reason.endswith("; the attempt before of item 0 failed: tool_error: no")


@pytest.mark.parametrize(
    ("minutes", "says"), [(0.03, "1.8 s"), (1, "1 min"), (90.2, "90.2 min"), (0, "0 s")]
)
def test_short_budgets_are_told_in_seconds(minutes: float, says: str) -> None:
    assert amounts({"minutes": minutes, "calls": 1}) == f"{says}, 1 call"


async def test_attempts_items_and_turns_are_calls_and_values_are_none() -> None:
    again = {"max_attempts": 4, "initial_s": 0, "max_s": 0}
    attempts = {"id": "a", "tool": "s:fail", "retry": again}
    assert (await run_within({"calls": 4}, attempts))["a"].attempts == 4
    assert (await run_within({"calls": 3}, attempts)).reason == "budget"
    items = {"id": "a", "tool": "s:t", "for_each": [1, 2, 3], "max_parallel": 1}
    result = await run_within({"calls": 2}, items)
    assert result.reason == "budget"
    assert result["a"].output == ["a", "a", None]
    turns = {"id": "a", "tool": "s:t", "repeat": {"until": "false", "every_s": 0, "max_times": 9}}
    assert (await run_within({"calls": 5}, turns)).reason == "budget"
    value = {"id": "v", "value": 1}
    assert (await run_within({"calls": 1}, value, "a: v")).status == "success"


async def test_finally_runs_when_the_budget_is_spent() -> None:
    result = await run_within(
        {"calls": 1}, "a", "b: a", **{"finally": [{"id": "z", "tool": "s:t"}]}
    )
    assert statuses(result) == ["success", "skipped", "success"]
    assert result.reason == "budget"
    last = [{"id": "z", "tool": "s:t"}, {"id": "y", "tool": "s:t"}]
    assert (await run_within({"calls": 1}, "a", **{"finally": last})).status == "success"


async def test_answers_count_for_result_mb() -> None:
    fits = await run_within({"result_mb": 2 * SIZE / MB}, "a", "b: a")
    assert fits.status == "success"
    result = await run_within({"result_mb": 0.5}, "a", "b: a", "c: b")
    reason = "has answers of more than 0.5 MB in memory"
    spent(result, reason, "workflow", result_mb=0.5)


async def test_minutes_end_what_waits() -> None:
    waits = {"id": "a", "tool": "s:wait"}
    result = await run_within({"minutes": 0.0001}, waits, timeout_s=60)
    spent(result, "takes more than 0.0001 min", "workflow", minutes=0.0001)
    assert statuses(result) == ["cancelled"]
    result = await run_within({"minutes": 1}, waits, timeout_s=0.001)
    assert (result.status, result.reason) == ("cancelled", "timeout")


async def test_the_operators_budget_counts_too() -> None:
    servers = Servers(budget=Budget(calls=1))
    result = await run("a", "b: a", max_run_mb=0, servers=servers, budget={"calls": 5})
    spent(result, "needs more than 1 call", "operator", calls=1)
    servers = Servers(budget=Budget(calls=5, minutes=2))
    made = Run(workflow("a", "b: a", budget={"calls": 1, "result_mb": 1}), answer, servers=servers)
    assert made.status().left == {"calls": 1, "minutes": 2, "result_mb": 1}
    await made.execute()
    assert made.status().left["calls"] == 0
    assert made.status().left["result_mb"] == 1 - SIZE / MB


async def test_a_workflow_inside_has_its_own_budget_and_that_around_it() -> None:
    inner = {"name": "inner", "budget": {"calls": 2}, "tasks": [{"id": "x", "tool": "s:t"}]}
    two = {**inner, "tasks": [{"id": name, "tool": "s:t"} for name in "xyz"], "max_concurrency": 1}
    result = await run_within({"calls": 9}, {"id": "o", "workflow": two}, "a")
    assert result.reason is None
    assert statuses(result) == ["error", "success"]
    error = result["o"].error
    assert error is not None
    assert error.kind == "budget"
    assert "the run needs more than 2 calls" in error.message
    assert error.message.endswith(
        'which is the budget of workflow "inner": raise budget.calls of that workflow'
    )
    each = {"id": "o", "workflow": inner, "for_each": [1, 2, 3], "max_parallel": 1}
    result = await run_within({"calls": 2}, each)
    assert result.reason == "budget"
    assert (await run_within({"calls": 3}, each)).status == "success"


async def test_finally_of_a_workflow_inside_runs_when_the_budget_around_it_is_spent() -> None:
    last = [{"id": name, "tool": "s:t"} for name in "xyz"]
    inner = {"tasks": [{"id": "v", "value": 1}], "finally": last}
    with anyio.fail_after(10):
        result = await run_within({"calls": 1}, {"id": "o", "workflow": inner})
    assert result.status == "success"
    assert result["o"].tasks is not None
    assert [task.status for task in result["o"].tasks.values()] == ["success"] * 4
    spends = {**inner, "tasks": [{"id": "v", "tool": "s:t"}, {"id": "w", "tool": "s:t"}]}
    with anyio.fail_after(10):
        result = await run_within({"calls": 1}, {"id": "o", "workflow": spends}, "a")
    assert result.reason == "budget"
    assert result["o"].tasks is not None
    assert [result["o"].tasks[name].status for name in "xyz"] == ["success"] * 3


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"calls": 0}, "at least 1"),
        ({"calls": 1.5}, "expected integer"),
        ({"minutes": -1}, "expected more than 0"),
        ({"call": 3}, "call"),
    ],
)
def test_a_wrong_budget_is_refused(budget: dict[str, Any], says: str) -> None:
    with pytest.raises(WorkflowError, match=says):
        workflow("a", budget=budget)


async def test_a_file_of_servers_bounds_its_runs() -> None:
    server = faulty()
    made = ServerTable({"it": Server(name="it", command=server.command, args=server.args)})
    made.budget = Budget(calls=1)
    async with Orchestrator(made) as orchestrator:
        result = await orchestrator.run(plan(("it:echo", {"value": 1}), ("it:echo", {"value": 2})))
    spent(result, "needs more than 1 call", "operator", calls=1)


async def test_observers_are_told_what_is_left() -> None:
    told: list[Event] = []
    flow = workflow("a", "b: a", budget={"calls": 3})
    await Run(flow, answer, observers=[told.append]).execute()
    spent = [event.left for event in told if isinstance(event, BudgetSpent)]
    assert spent == [{"calls": 2}, {"calls": 1}]
