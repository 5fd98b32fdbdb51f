"""A run can be given results that exist already, and starts from there."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from orchestrator.engine.events import Event, TaskSettled
from orchestrator.engine.outcome import Success
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.workflow.model import Schedule
from tests.fakes import ScriptedCaller, failing, workflow

pytestmark = pytest.mark.anyio

SCHEDULES: list[Schedule] = ["generations", "dataflow"]


@pytest.fixture(params=SCHEDULES)
def settings(request: pytest.FixtureRequest) -> RunSettings:
    return RunSettings(schedule=request.param)


def read_back(result: RunResult, *tasks: str) -> dict[str, TaskResult]:
    """The results of these tasks, as a journal would give them."""
    document: Any = json.loads(result.to_json())
    return {task: TaskResult.from_dict(task, document["tasks"][task]) for task in tasks}


PLAN = workflow(
    "a",
    "bad",
    {"id": "each", "tool": "fake:each", "for_each": [1, 2], "arguments": {"n": "$ITEM"}},
    {"id": "b", "tool": "fake:b", "arguments": {"a": "$OUTPUT[a].n", "each": "$OUTPUT[each]"}},
    "after: b",
    {
        "id": "why",
        "tool": "fake:why",
        "run_if": "any_failed",
        "depends_on": ["bad"],
        "arguments": {"error": "$ERROR[bad].message"},
    },
)
SCRIPT: dict[str, Any] = {"a": [(0.01, {"n": 1})], "bad": [(0, failing("broken"))]}


async def test_settled_tasks_are_not_called_again_and_all_else_goes_on_from_them(
    settings: RunSettings,
) -> None:
    whole = await Run(PLAN, ScriptedCaller(SCRIPT), settings).execute()
    for known in (["a"], ["a", "bad"], ["a", "bad", "each", "b"], list(whole.tasks)):
        settled = read_back(whole, *known)
        caller = ScriptedCaller(SCRIPT)
        result = await Run(PLAN, caller, settings, settled=settled).execute()
        assert {task for task, _ in caller.calls} == set(whole.tasks) - set(known)
        assert {task: result[task] for task in known} == settled
        assert result.output == whole.output
        assert result.status == whole.status == "partial"
        for task, outcome in whole.tasks.items():
            assert result[task].outcome == outcome.outcome
    assert list(result.tasks) == list(whole.tasks)


async def test_dependents_of_a_settled_task_start_at_once(settings: RunSettings) -> None:
    settled = {"a": TaskResult("a", Success({"n": 1}), 0, 1, 0.0, 60_000.0)}
    caller = ScriptedCaller({"a": [(60, None)]})
    with anyio.fail_after(30):
        result = await Run(workflow("a", "b: a"), caller, settings, settled=settled).execute()
    assert [task for task, _ in caller.calls] == ["b"]
    assert result.sequential_ms >= 60_000


async def test_each_task_is_reported_once_as_settled(settings: RunSettings) -> None:
    whole = await Run(PLAN, ScriptedCaller(SCRIPT), settings).execute()
    events: list[Event] = []
    settled = read_back(whole, "a", "bad")
    run = Run(PLAN, ScriptedCaller(SCRIPT), settings, observers=[events.append], settled=settled)
    assert run.status().settled == 2
    await run.execute()
    reported = [event.task for event in events if isinstance(event, TaskSettled)]
    assert reported[:2] == ["a", "bad"]
    assert sorted(reported) == sorted(whole.tasks)
    assert events[0].name == "run_started"


async def test_a_settled_failure_ends_the_run_as_it_did_before(settings: RunSettings) -> None:
    plan = workflow({"id": "bad", "tool": "fake:bad", "critical": True}, "slow", "b")
    script: dict[str, Any] = {"bad": [(0, failing())], "slow": [(60, None)]}
    with anyio.fail_after(30):
        first = await Run(plan, ScriptedCaller(script), settings).execute()
        caller = ScriptedCaller(script)
        again = await Run(plan, caller, settings, settled=read_back(first, "bad")).execute()
    assert caller.calls == []
    assert (again.status, again.error) == (first.status, first.error)


async def test_a_settled_task_cannot_be_cancelled_and_has_to_be_of_the_workflow() -> None:
    settled = {"a": TaskResult("a", Success(1), 0)}
    run = Run(workflow("a", "b"), ScriptedCaller(), settled=settled)
    assert not run.cancel_task("a")
    with pytest.raises(ValueError, match='unknown task "aa"'):
        Run(workflow("a"), ScriptedCaller(), settled={"aa": settled["a"]})
