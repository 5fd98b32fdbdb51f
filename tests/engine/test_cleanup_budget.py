"""An operator's budget bounds what `finally` spends, too, whatever a workflow puts there."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import BudgetSpent, Event
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import TaskError
from orchestrator.journal.recorder import RunRecorder
from orchestrator.journal.writer import Lease, Writer
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.model import Workflow
from tests.fakes import workflow
from tests.journal.memory import Crash, Memory

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

LIMIT = 5
SIZE = 400_000  # bytes; two answers of it fit into a megabyte, and three do not
SAYS = (
    "the tasks of finally need more than 5 calls, which is the operator's budget for them: raise"
    " calls of [budget] in servers.toml"
)


class Counting:
    """Answers each call, and counts them; those of the tool `slow` take an hour, `fail` fails."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        self.made.append(call.task)
        if call.tool == "slow":
            await anyio.sleep(3600)
        attempt.note_answer(SIZE)
        if call.tool == "fail":
            raise ValueError("no")
        return call.task


def many(
    count: int = 50, tool: str = "s:t", name: str = "z", **fields: Any
) -> list[dict[str, Any]]:
    return [{"id": f"{name}{number}", "tool": tool, **fields} for number in range(count)]


def made(*tasks: Any, finally_: list[dict[str, Any]], **fields: Any) -> Workflow:
    return workflow(*tasks, **fields, **{"finally": finally_, "finally_timeout_s": 1e9})


async def run(
    flow: Workflow, caller: Counting, budget: Budget | None = None, **settings: Any
) -> RunResult:
    servers = Servers(budget=budget or Budget(calls=LIMIT))
    return await Run(flow, caller, RunSettings(**settings), servers=servers).execute()


AGAIN = {"until": "false", "every_s": 0, "max_times": 10_000}
EACH = [{"id": "z", "tool": "s:t", "for_each": list(range(10_000)), "max_parallel": 7}]
TURNS = [{"id": "z", "tool": "s:t", "repeat": AGAIN}]
RETRIES = [
    {"id": "z", "tool": "s:fail", "retry": {"max_attempts": 9, "initial_s": 0, "on": ["internal"]}},
    *many(9, "s:fail", fallback={"tool": "s:t"}),
]
INNER = {"tasks": many(3, name="x"), "finally": many(9), "finally_timeout_s": 1e9}
NESTED: dict[str, Any] = {
    "tasks": [{"id": "v", "value": 1}],
    "finally": [{"id": "o", "workflow": INNER}, *many(9)],
}
HOSTILE = {
    "many tasks": many(),
    "many tasks, one after the other": [
        {**task, "depends_on": [f"z{number - 1}"] if number else []}
        for number, task in enumerate(many())
    ],
    "items": EACH,
    "turns": TURNS,
    "retries and fallbacks": RETRIES,
    "a workflow inside": [{"id": "o", "workflow": {"tasks": many()}}],
    "its finally": [{"id": "o", "workflow": INNER, "for_each": [1, 2, 3]}],
    "that of another": [{"id": "o", "workflow": NESTED}],
    "a budget of its own": [
        {
            "id": "o",
            "workflow": {"tasks": many(), "budget": {"calls": 99}, "finally": many(name="x")},
        }
    ],
}


@pytest.mark.parametrize("finally_", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("spends", [True, False], ids=["budget spent before", "one call before"])
async def test_finally_makes_as_many_calls_as_the_operator_grants(
    finally_: list[dict[str, Any]], spends: bool
) -> None:
    caller, tasks = Counting(), [f"a{number}" for number in range(9 if spends else 1)]
    result = await run(made(*tasks, finally_=finally_), caller)
    before = [task for task in caller.made if task.startswith("a")]
    assert len(before) == (LIMIT if spends else 1)
    assert len(caller.made) == len(before) + LIMIT
    assert (result.status, result.reason) == ("failed", "budget")
    assert result.error is not None
    if not spends:  # else it is that which has ended the tasks before
        details = {"calls": LIMIT, "budget": "operator"}
        assert result.error == TaskError("budget", SAYS, False, details)


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("inner", [INNER, NESTED], ids=["inner", "nested"])
async def test_the_finally_of_workflows_inside_draws_from_the_same(
    inner: dict[str, Any], parallel: int
) -> None:
    caller = Counting()
    each = {"id": "o", "workflow": inner, "for_each": list(range(99)), "max_parallel": parallel}
    flow = made(each, finally_=many(), max_concurrency=parallel)
    with anyio.fail_after(60):
        result = await run(flow, caller)
    assert len(caller.made) <= 2 * LIMIT
    assert result.reason == "budget"
    assert {task.status for task in list(result.tasks.values())[1:]} == {"skipped"}


async def test_what_it_grants_suffices_for_what_needs_no_more() -> None:
    caller = Counting()
    result = await run(made("a", "b: a", finally_=many(LIMIT)), caller)
    assert (result.status, len(caller.made)) == ("success", LIMIT + 2)
    result = await run(made(*"abcdefg", finally_=many(LIMIT)), Counting())
    assert result.reason == "budget"
    assert [result[f"z{number}"].status for number in range(LIMIT)] == ["success"] * LIMIT


async def test_tasks_that_it_leaves_out_say_whose_budget_it_is() -> None:
    result = await run(made("a", finally_=many(LIMIT + 1), max_concurrency=1), Counting())
    assert [task.status for task in result.tasks.values()] == ["success"] * 6 + ["skipped"]
    assert result["z5"].reason == SAYS


async def test_the_reason_of_a_run_that_had_ended_stays() -> None:
    flow = made({"id": "a", "tool": "s:fail", "critical": True}, finally_=many())
    result = await run(flow, Counting())
    assert (result.status, result.reason) == ("failed", "critical")
    assert result["z49"].reason == SAYS


async def test_the_budget_of_a_workflow_does_not_bound_its_own_finally() -> None:
    caller, servers = Counting(), Servers()
    flow = made("a", "b: a", finally_=many(), budget={"calls": 1, "minutes": 1, "result_mb": 0.5})
    assert (await Run(flow, caller, servers=servers).execute()).reason == "budget"
    assert len(caller.made) == 1 + 50


async def test_calls_under_way_are_awaited() -> None:
    slow = {"id": "slow", "tool": "s:slow", "timeout_s": 7200}
    tasks = [slow, *many(LIMIT - 1), {"id": "y", "tool": "s:t", "depends_on": ["z0"]}]
    result = await run(made("a", finally_=tasks), Counting())
    assert (result.reason, result["slow"].status) == ("budget", "success")
    assert result.duration_ms == 3_600_000


SLOW = [{"id": "z", "tool": "s:slow", "timeout_s": 1e6}]
LASTS: dict[str, Any] = {
    "tasks": SLOW,
    "finally": [{**SLOW[0], "id": "y"}],
    "finally_timeout_s": 1e9,
}


@pytest.mark.parametrize(
    ("tasks", "finally_", "minutes"),
    [
        ([], SLOW, 2),
        ([{"id": "a", "tool": "s:slow", "timeout_s": 1e6}], SLOW, 4),
        ([], [{"id": "o", "workflow": LASTS}], 4),
        ([{"id": "o", "workflow": LASTS}], SLOW, 4),
        ([{"id": "o", "workflow": {**LASTS, "timeout_s": 60}}], SLOW, 3),
    ],
)
async def test_finally_takes_as_long_as_the_operator_grants(
    tasks: list[Any], finally_: list[dict[str, Any]], minutes: float
) -> None:
    result = await run(made("b", *tasks, finally_=finally_), Counting(), Budget(minutes=2))
    assert result.duration_ms == minutes * 60_000
    assert (result.status, result.reason) == ("failed", "budget")
    last = result.tasks["z" if finally_ is SLOW else "o"]
    assert "budget" in (last.reason or "")


async def test_a_shorter_limit_of_the_workflow_holds() -> None:
    flow = made("a", finally_=SLOW).model_copy(update={"finally_timeout_s": 7})
    result = await run(flow, Counting(), Budget(minutes=2))
    assert (result.status, result.duration_ms) == ("partial", 7000)
    assert result["z"].reason == "the tasks of finally reached their limit of 7 s"


@pytest.mark.parametrize("inside", [False, True])
async def test_the_answers_of_finally_count(inside: bool) -> None:
    chain = {"tasks": many(9), "max_concurrency": 1}
    inner: dict[str, Any] = {
        "id": "o",
        "workflow": {**chain, "tasks": many(1, name="x"), "finally": many(9)},
    }
    flow = made(*([inner] if inside else ["a"]), finally_=[{"id": "y", "workflow": chain}])
    caller = Counting()
    result = await run(flow, caller, Budget(result_mb=1), max_concurrency=1)
    assert (result.reason, len(caller.made)) == ("budget", 1 + 3)
    caller = Counting()  # those that a run may hold in memory, too
    result = await run(flow, caller, Budget(calls=99), max_concurrency=1, max_run_mb=1)
    assert (result.reason, len(caller.made)) == ("budget", 1 + 3)


async def test_what_is_left_for_finally_is_told_while_it_runs() -> None:
    told: list[Event] = []
    servers = Servers(budget=Budget(calls=LIMIT, minutes=9))
    flow = made("a", "b: a", finally_=many(2), max_concurrency=1, budget={"calls": 3})
    await Run(flow, Counting(), servers=servers, observers=[told.append]).execute()
    left = [event.left for event in told if isinstance(event, BudgetSpent)]
    assert [each["calls"] for each in left] == [2, 1, 4, 3]
    assert left[-1] == {"calls": 3}


CRASHES: dict[str, list[dict[str, Any]]] = {
    "items": [{**EACH[0], "for_each": list(range(99))}],
    "a workflow inside": HOSTILE["its finally"],
    "a task with the name of a budget": [
        {"id": "operator", "workflow": INNER, "repeat": AGAIN},
    ],
}


@pytest.mark.parametrize("finally_", CRASHES.values(), ids=CRASHES)
async def test_a_run_that_is_resumed_goes_on_with_what_is_left(
    finally_: list[dict[str, Any]],
) -> None:
    flow, left = made("a", "b: a", finally_=finally_), 4
    caller, memory, result = Counting(), Memory(), None

    async def call(call: Call, attempt: Attempt) -> Any:
        if memory.has_ended:
            raise Crash
        return await caller(call, attempt)

    while result is None:
        memory.has_ended, memory.puts, memory.left = False, 0, left
        left += 7
        of_run = cast("Writer", memory), Lease("r", 1), memory.records
        recorder = RunRecorder(*of_run, unknown="repeat")
        settings = RunSettings(recorder=recorder)
        servers = Servers(budget=Budget(calls=LIMIT))
        try:
            result = await Run(flow, call, settings, servers=servers).execute()
        except BaseException:
            if not memory.has_ended:
                raise
    assert left > 11  # it was interrupted
    assert result.reason == "budget"
    assert sum(task not in ("a", "b") for task in caller.made) <= LIMIT
