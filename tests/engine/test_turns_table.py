"""The tables of docs/semantics.md on repeated calls and on end_run, run row by row."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.workflow.model import Schedule
from tests.engine.test_semantics_table import END_RUNS, ENDED_BY, TURNS, TURNS_END, the_row
from tests.fakes import Row, ScriptedCaller, failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]


ANSWERS: list[Row] = [(1, {"n": 1}), (1, {"n": 2}), (1, {"n": 3})]
SITUATIONS: dict[str, tuple[dict[str, Any], list[Row]]] = {
    "until is true in the end": ({}, ANSWERS),
    "until is never true": ({"max_times": 2}, ANSWERS),
    "one fails": ({}, [ANSWERS[0], (1, failing())]),
    "until cannot be evaluated": ({"until": "length(LAST.n) == `3`"}, ANSWERS),
    "reach deadline_s": ({"every_s": 60}, ANSWERS),
}
OUTPUTS = {"the last answer": {"n": 3}, "what each answer added": [1, 2, 3], "none": None}
KINDS = {"none": None, "the call's": "tool_error"}


@pytest.mark.parametrize("turns", TURNS_END)
@pytest.mark.parametrize("collect", ["no", "yes"])
async def test_each_row_on_turns_is_what_happens(
    turns: str, collect: str, schedule: Schedule
) -> None:
    row = the_row(TURNS, **{"the turns": turns, "collect": collect})
    fields, rows = SITUATIONS[turns]
    repeat = {"until": "LAST.n == `3`", "every_s": 1, **fields}
    if collect == "yes":
        repeat["collect"] = "LAST.n"
    task = {"id": "a", "tool": "fake:a", "repeat": repeat, "deadline_s": 20}
    result = await Run(workflow(task, schedule=schedule), ScriptedCaller({"a": rows})).execute()
    error = result["a"].error
    assert (result["a"].status, result["a"].output) == (row["status"], OUTPUTS[row["output"]])
    kind = row["error"]
    assert (error.kind if error else None) == KINDS.get(kind, kind)


OF_TASK: dict[str, dict[str, Any]] = {
    "success": {},
    "recovered": {"tool": "fake:bad", "fallback": {"value": 1}},
    "error": {"tool": "fake:bad"},
    "skipped by its condition": {"when": False},
}


@pytest.mark.parametrize("status", OF_TASK)
@pytest.mark.parametrize("end_run", END_RUNS)
@pytest.mark.parametrize("failed", ["no", "yes"])
async def test_each_row_on_end_run_is_what_happens(
    status: str, end_run: str, failed: str, schedule: Schedule
) -> None:
    words = {
        "the task with end_run": status,
        "end_run": end_run,
        "a task has failed": failed,
    }
    row = the_row(ENDED_BY, **words)
    task = {"id": "a", "tool": "fake:a", "end_run": end_run, **OF_TASK[status]}
    others: list[dict[str, Any]] = [
        {"id": "early", "tool": "fake:early"},
        {"id": "running", "tool": "fake:running"},
        {"id": "later", "tool": "fake:later", "depends_on": ["running"]},
    ]
    script: dict[str, list[Row]] = {"a": [(2, 1)], "bad": [(2, failing())], "running": [(9, 1)]}
    script["early"] = [(1, failing() if failed == "yes" else 1)]
    plan = workflow(task, *others, schedule=schedule)
    result = await Run(plan, ScriptedCaller(script)).execute()
    rest = (result["running"].status, result["later"].status)
    ended = rest == ("cancelled", "skipped")
    assert ended or rest == ("success", "success")
    assert ended == (row["the rest"] == "is ended")
    assert result.status == (row["the run"] if ended else went_on(result))


def went_on(result: RunResult) -> str:
    """The status of a run that nothing ended, in which some tasks succeeded."""
    failed = any(task.status == "error" for task in result.tasks.values())
    return "partial" if failed else "success"
