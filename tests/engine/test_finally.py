"""Tasks of `finally`, on a virtual clock: times are asserted exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import anyio
import pytest

from orchestrator.check.lint import warnings_of
from orchestrator.engine.events import Event, GenerationStarted, RunStarted
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import WorkflowError
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.task import Task as TaskInFile
from tests.engine.test_semantics_table import FINALLY as TABLE
from tests.engine.test_semantics_table import the_row
from tests.fakes import Row, ScriptedCaller, failing, workflow
from tests.model import Task
from tests.random_cases import Profile, random_case
from tests.stage import as_file, play

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]


def last(**fields: Any) -> dict[str, Any]:
    return {"id": "z", "tool": "fake:z", **fields}


def plan(*tasks: Any, finally_: Any = (), **fields: Any) -> Workflow:
    return workflow(*tasks, **fields, **{"finally": list(finally_) or [last()]})


def runs(plan: Workflow, **script: Row) -> tuple[Run, ScriptedCaller]:
    caller = ScriptedCaller({tool: [row] for tool, row in script.items()})
    return Run(plan, caller), caller


async def ended(run: Run, *, after: float, times: int = 1) -> RunResult:
    """The result of a run that is cancelled after some seconds, and again each second."""
    async with anyio.create_task_group() as group:

        async def cancel() -> None:
            await anyio.sleep(after)
            for _ in range(times):
                run.cancel("enough")
                await anyio.sleep(1)

        group.start_soon(cancel)
        result = await run.execute()
        group.cancel_scope.cancel()
    return result


# When they run.


@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
async def test_they_run_in_their_order_when_all_others_have_settled(schedule: Schedule) -> None:
    more = {"id": "y", "tool": "fake:y", "arguments": {"of": "$OUTPUT[z].seen"}}
    seen = last(arguments={"seen": "${STATUS[b]}"})
    run, caller = runs(plan("a", "b: a", "c", finally_=[more, seen], schedule=schedule), c=(9, 1))
    result = await run.execute()
    assert caller.log[-4:] == ["start z", "end z", "start y", "end y"]
    assert result["y"].output == {"of": "success"}
    assert (result["z"].started_ms, result.status) == (9000, "success")
    assert result.to_dict()["tasks"]["z"]["generation"] is None
    assert result.generations == [["a", "c"], ["b"]]
    assert set(result.output) == {"b", "c"}


async def test_they_see_what_failed_and_what_never_began() -> None:
    reads = {
        "failed": "$ERROR[a].kind", "late": "$ERROR[late].message", "status": "${STATUS[late]}",
        "none": "${OUTPUT[late]}",
    }  # fmt: skip
    made = plan("a", "late", finally_=[last(arguments=reads)], timeout_s=5)
    run, _ = runs(made, a=(0, failing()), late=(60, 1))
    assert (await run.execute())["z"].output == {
        "failed": "tool_error", "late": "the run reached its limit of 5 s", "status": "cancelled",
        "none": None,
    }  # fmt: skip


async def test_a_reference_to_what_is_not_there_fails_them_alone() -> None:
    run, _ = runs(plan("a", finally_=[last(arguments={"x": "$OUTPUT[a]"})]), a=(0, failing()))
    result = await run.execute()
    assert result["z"].error is not None
    assert result["z"].error.kind == "reference_error"


async def test_run_if_and_when_decide_about_them_too() -> None:
    alarm = last(depends_on=["a"], run_if="any_failed")
    tidy = {"id": "y", "tool": "fake:y", "when": "STATUS[a] == 'error'"}
    run, caller = runs(plan("a", finally_=[alarm, tidy]))
    result = await run.execute()
    assert (result["z"].status, result["y"].status) == ("skipped", "skipped")
    assert result.status == "partial"  # one was skipped behind another task
    assert len(caller.calls) == 1


@pytest.mark.parametrize("fails", [True, False])
async def test_without_dependencies_any_failed_is_about_all_tasks(fails: bool) -> None:
    alarm = last(run_if="any_failed")
    made = plan("a", "b", finally_=[alarm], on_error="fail_fast")
    run, _ = runs(made, b=(1, failing() if fails else 1))
    assert (await run.execute())["z"].status == ("success" if fails else "skipped")
    assert [each for each in warnings_of(made, {}) if each.code == "never_runs"] == []
    assert Workflow.load(made.to_dict()) == made


async def test_all_success_is_kept_where_it_is_written() -> None:
    made = plan("a", finally_=[last(depends_on=["a"], run_if="all_success")])
    assert Workflow.load(made.to_dict()) == made
    run, _ = runs(made, a=(0, failing()))
    assert (await run.execute())["z"].status == "skipped"


# What ends the run does not end them.


@pytest.mark.parametrize(
    "ending",
    [{"on_error": "fail_fast"}, {"timeout_s": 2.0}, {}],
    ids=["fail_fast", "the limit of the run", "cancelled"],
)
async def test_they_run_whatever_has_ended_the_run(ending: dict[str, Any]) -> None:
    run, caller = runs(plan("a", "b", **ending), a=(1, failing()), b=(60, 1), z=(7, "tidy"))
    result = await ended(run, after=3)
    assert "cancelled b" in caller.log
    assert (result["z"].status, result["z"].output) == ("success", "tidy")
    assert result.status == ("failed" if "on_error" in ending else "cancelled")
    assert result["z"].duration_ms == 7000


async def test_cancelled_from_outside_they_still_run() -> None:
    run, _ = runs(plan("a"), a=(60, 1), z=(7, "tidy"))
    with anyio.move_on_after(2) as scope:
        await run.execute()
    assert scope.cancelled_caught
    assert run.result is not None
    assert (run.result["z"].output, run.result.duration_ms) == ("tidy", 9000)


async def test_one_cancel_keeps_them_running_and_a_second_one_ends_them() -> None:
    run, _ = runs(plan("a"), z=(7, "tidy"))
    result = await ended(run, after=3)
    assert (result.status, result["z"].output) == ("success", "tidy")
    run, caller = runs(plan("a"), z=(7, "tidy"))
    result = await ended(run, after=3, times=2)
    assert (result.status, result["z"].status, result["z"].duration_ms) == (
        "cancelled", "cancelled", 4000,
    )  # fmt: skip
    assert caller.log[-1] == "cancelled z"


async def test_cancelled_at_once_they_never_run() -> None:
    run, caller = runs(plan("a"))
    assert run.cancel("no", at_once=True) is True
    assert run.cancel("no") is False
    assert (await run.execute())["z"].status == "cancelled"
    assert not caller.calls


async def test_cancel_says_whether_anything_was_left_to_end() -> None:
    run, _ = runs(plan("a"))
    assert [run.cancel(), run.cancel(), run.cancel()] == [True, True, False]
    run, _ = runs(workflow("a"))
    assert [run.cancel(), run.cancel()] == [True, False]


async def test_together_they_have_a_limit() -> None:
    after = {"id": "y", "tool": "fake:y", "depends_on": ["z"]}
    run, _ = runs(plan("a", finally_=[last(), after], finally_timeout_s=4), z=(60, 1))
    result = await run.execute()
    assert [result[task].status for task in "azy"] == ["success", "cancelled", "cancelled"]
    assert result["z"].reason == "the tasks of finally reached their limit of 4 s"
    assert (result.duration_ms, result.status) == (4000, "partial")


async def test_what_waited_for_a_slot_when_the_run_ended_is_forgotten() -> None:
    many = [{"id": f"m{n}", "tool": "fake:b"} for n in range(5)]
    tidy = [{"id": f"z{n}", "tool": "fake:z"} for n in range(3)]
    made = plan("a", *many, finally_=tidy, max_concurrency=2, on_error="fail_fast")
    run, caller = runs(made, a=(1, failing()), b=(60, 1), z=(2, 1))
    result = await run.execute()
    assert [result[f"z{n}"].started_ms for n in range(3)] == [1000, 1000, 3000]
    assert sorted(task for task, _ in caller.calls) == ["a", "m0", "z0", "z1", "z2"]


async def test_one_of_them_can_be_cancelled_alone() -> None:
    run, _ = runs(plan("a", finally_=[last(), {"id": "y", "tool": "fake:y"}]), z=(9, 1), y=(9, 1))
    async with anyio.create_task_group() as group:

        async def cancel() -> None:
            await anyio.sleep(1)
            assert run.cancel_task("z")

        group.start_soon(cancel)
        result = await run.execute()
    assert (result["z"].status, result["y"].status) == ("cancelled", "success")


async def test_events_name_them_and_announce_no_generation() -> None:
    seen: list[Event] = []
    await Run(plan("a"), ScriptedCaller(), observers=[seen.append]).execute()
    (started,) = [event for event in seen if isinstance(event, RunStarted)]
    assert started.finally_tasks == ["z"]
    assert len([event for event in seen if isinstance(event, GenerationStarted)]) == 1


# The table of docs/semantics.md.

Made = Callable[[list[dict[str, Any]]], tuple[Workflow, dict[str, Row]]]
_FAILS: Row = (1, failing())
THE_TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Row]]] = {
    "all succeed": ({}, {}, {}),
    "some fail": ({}, {}, {"a": _FAILS}),
    "all fail": ({}, {}, {"a": _FAILS, "b": _FAILS}),
    "end at a failure": ({"on_error": "fail_fast"}, {}, {"a": _FAILS}),
    "are ended as a success": ({}, {"end_run": "success"}, {"a": (1, 1), "b": (60, 1)}),
    "are ended as failed": ({}, {"end_run": "failed"}, {"a": (1, 1), "b": (60, 1)}),
    "reach the limit of the run": ({"timeout_s": 2}, {}, {"b": (60, 1)}),
    "are cancelled": ({}, {}, {"b": (60, 1)}),
}
OF_FINALLY: dict[str, dict[str, Any]] = {
    "success": {},
    "error": {"arguments": {"x": "$OUTPUT[y].nothing"}},
    "skipped by its condition": {"when": False},
    "skipped by a dependency": {"run_if": "any_failed", "depends_on": ["y"]},
    "cancelled": {"tool": "fake:slow"},
}


@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
@pytest.mark.parametrize("tasks", THE_TASKS)
async def test_each_row_is_what_happens(tasks: str, schedule: Schedule) -> None:
    fields, of_a, script = THE_TASKS[tasks]
    for status, of_z in OF_FINALLY.items():
        row = the_row(TABLE, **{"the tasks": tasks, "a task of finally": status})
        first = {"id": "y", "tool": "fake:y"}
        made = plan(
            {"id": "a", "tool": "fake:a", **of_a}, "b", finally_=[first, last(**of_z)],
            **fields, schedule=schedule,
        )  # fmt: skip
        run, _ = runs(made, **script, slow=(100, 1))
        result = await (ended(run, after=2) if tasks == "are cancelled" else run.execute())
        assert result["z"].status == status.partition(" ")[0], status
        assert result.status == row["the run"], (tasks, status)


# What is wrong with them.


def findings(*tasks: Any, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(WorkflowError) as raised:
        plan(*tasks, **fields)
    return [(problem.code, problem.path) for problem in raised.value.problems]


def test_nothing_outside_refers_to_them() -> None:
    reads = {"id": "a", "tool": "fake:a", "arguments": {"x": "$OUTPUT[z]"}, "when": "STATUS[z]"}
    assert findings(reads, "b: z", output="$OUTPUT[z]") == [
        ("reads_finally", "/tasks/0/arguments/x"),
        ("reads_finally", "/tasks/0/when"),
        ("reads_finally", "/tasks/1/depends_on/0"),
        ("reads_finally", "/output"),
    ]


def test_what_may_be_meant_is_none_of_them_but_in_finally_itself() -> None:
    reads = {"arguments": {"x": "$OUTPUT[tidyy]"}}
    with pytest.raises(WorkflowError) as raised:
        plan({"id": "a", "tool": "fake:a", **reads}, finally_=[last(**reads), last(id="tidy")])
    assert [each.alternatives for each in raised.value.problems] == [(), ("tidy",)]


def test_ids_are_unique_over_both() -> None:
    assert findings("z") == [("duplicate_id", "/finally/0/id")]


def test_mistakes_in_them_have_their_place() -> None:
    wrong = last(arguments={"x": "$OUTPUT[nope]", "y": "$ITEM"}, args={}, wen=1)
    circle = [
        {"id": "x", "tool": "fake:x", "depends_on": ["y"]},
        {"id": "y", "tool": "fake:y", "depends_on": ["x"]},
    ]
    ends = last(id="v", critical=True, end_run="success")
    assert findings("a", finally_=[wrong, *circle, ends]) == [
        ("unknown_task", "/finally/0/arguments/x"),
        ("no_item_here", "/finally/0/arguments/y"),
        ("doubled_field", "/finally/0/args"),
        ("unknown_field", "/finally/0/wen"),
        ("cycle", "/finally/1"),
        ("wrong_value", "/finally/3/critical"),
        ("wrong_value", "/finally/3/end_run"),
    ]  # fmt: skip


def test_in_python_the_field_has_an_underscore() -> None:
    made = Workflow(
        tasks=[TaskInFile(id="a", tool="s:t")], finally_=[TaskInFile(id="z", tool="s:t")]
    )
    assert made.to_dict()["finally"] == [{"id": "z", "tool": "s:t"}]
    assert made.finally_[0].run_if == "all_done"


# In a workflow that a task runs.


def outer(**fields: Any) -> Workflow:
    inner = {"tasks": [{"id": "a", "tool": "fake:a"}], "finally": [last()]}
    return plan(
        {"id": "o", "workflow": inner}, "b", finally_=[{"id": "y", "tool": "fake:y"}], **fields
    )


async def test_an_inner_workflow_cleans_up_too_and_before_the_outer_one() -> None:
    run, caller = runs(outer(on_error="fail_fast"), a=(60, 1), b=(1, failing()), z=(7, "tidy"))
    result = await run.execute()
    assert caller.log[-5:] == ["cancelled o/a", "start o/z", "end o/z", "start y", "end y"]
    assert result["o"].status == "cancelled"
    assert result["o"].tasks is not None
    assert result["o"].tasks["z"].output == "tidy"
    assert (result["y"].started_ms, result.status) == (8000, "failed")


async def test_a_second_cancel_reaches_the_clean_up_of_an_inner_workflow() -> None:
    run, caller = runs(outer(), a=(60, 1), b=(60, 1), z=(60, "tidy"))
    result = await ended(run, after=3, times=2)
    assert caller.log[-1] == "cancelled o/z"
    assert (result["y"].status, result.duration_ms) == ("cancelled", 4000)


async def test_work_that_waits_for_a_slot_does_not_keep_an_inner_clean_up_waiting() -> None:
    many = [{"id": f"m{n}", "tool": "fake:b"} for n in range(5)]
    inner = {"tasks": [{"id": "a", "tool": "fake:a"}], "finally": [last()]}
    made = plan(
        {"id": "o", "workflow": inner}, *many, max_concurrency=1, on_error="fail_fast",
        finally_=[{"id": "y", "tool": "fake:y"}],
    )  # fmt: skip
    run, caller = runs(made, a=(60, 1), z=(7, "tidy"))
    result = await ended(run, after=3)
    assert "start o/a" in caller.log
    assert result["o"].tasks is not None
    assert result["o"].tasks["z"].started_ms == 3000
    assert result["y"].started_ms == 10_000


async def test_a_clean_up_that_fails_fails_the_task_around_it() -> None:
    run, _ = runs(outer(), z=(1, failing()))
    result = await run.execute()
    assert result["o"].status == "error"


# Random runs.


@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
async def test_whatever_becomes_of_random_runs_they_see_all_of_it(schedule: Schedule) -> None:
    profiles = (Profile(ends=True, limits=True), Profile(ends=True, cancels=True))
    for number, profile in product(range(10), profiles):
        case = random_case(number, profile)
        statuses = {task.id: f"${{STATUS[{task.id}]}}" for task in case.tasks}
        tidy = {"id": "tidy", "tool": "s9:tidy", "arguments": statuses}
        seen = {"id": "seen", "value": "$OUTPUT[tidy]"}
        made = Workflow.load(as_file(case) | {"finally": [seen, tidy]})
        told = Task("tidy", rows=(((0.5, "ok"),),))
        stage, result = await play(replace(case, tasks=(*case.tasks, told)), made, schedule)
        found = {task: settled.status for task, settled in result.tasks.items()}
        assert (found.pop("tidy"), found.pop("seen")) == ("success", "success"), number
        assert stage.given["tidy", None] == [found], number
        ends = [settled.started_ms or 0 for settled in result.tasks.values()]
        assert result["tidy"].started_ms == max(ends), number


@pytest.mark.parametrize("fails", [False, True])
async def test_a_task_that_depends_on_nothing_is_about_all_tasks(fails: bool) -> None:
    on_failure = last(id="y", run_if="any_failed")
    on_success = last(id="z", run_if="all_success")
    run, _ = runs(
        plan("a", "b", finally_=[on_failure, on_success]), **({"b": _FAILS} if fails else {})
    )
    result = await run.execute()
    expected = ("success", "skipped") if fails else ("skipped", "success")
    assert (result["y"].status, result["z"].status) == expected
