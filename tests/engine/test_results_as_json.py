"""Outcomes and results go through JSON and back unchanged."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.outcome import (
    Cancelled,
    Failure,
    Outcome,
    Skipped,
    Success,
    outcome_from_dict,
)
from orchestrator.engine.result import EndReason, ItemResult, RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.errors import ERROR_KINDS, TaskError
from tests.fakes import ScriptedCaller, failing, workflow

# Values are large, and the machine may be busy: how long they take to draw says nothing.
fewer = settings(max_examples=50)
TEXTS = st.text(max_size=8)
NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
MILLISECONDS = st.integers(0, 10**12).map(lambda microseconds: microseconds / 1000)
ERRORS = st.builds(
    TaskError,
    st.sampled_from(ERROR_KINDS),
    TEXTS,
    st.booleans(),
    st.dictionaries(TEXTS, VALUES, max_size=3),
)
NOTHING_CALLED = st.builds(Skipped, TEXTS, st.booleans())
OUTCOMES = st.one_of(
    st.builds(Success, VALUES, st.none() | ERRORS),
    st.builds(Failure, ERRORS, st.none() | st.lists(VALUES, max_size=3)),
    NOTHING_CALLED,
    st.builds(Cancelled, TEXTS, st.none() | st.lists(VALUES, max_size=3)),
)
ITEM_OUTCOMES = st.one_of(
    st.builds(Success, VALUES), st.builds(Failure, ERRORS), st.builds(Cancelled, TEXTS)
)


def measured() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "attempts": st.integers(0, 9),
            "started_ms": st.none() | MILLISECONDS,
            "duration_ms": MILLISECONDS,
            "waited_ms": MILLISECONDS,
        }
    )


@st.composite
def items(draw: st.DrawFn) -> tuple[ItemResult, ...]:
    outcomes = draw(st.lists(ITEM_OUTCOMES | NOTHING_CALLED, max_size=4))
    return tuple(
        ItemResult(index, outcome, **draw(measured())) for index, outcome in enumerate(outcomes)
    )


@st.composite
def task_results(draw: st.DrawFn, task: str = "a") -> TaskResult:
    """Results as a run gives them: a `for_each` has the outputs of its items, or a fallback's."""
    parts = draw(st.none() | items())
    if parts is None:
        outcome: Any = draw(OUTCOMES)
    else:
        outputs = [item.output for item in parts]
        reason, error = draw(TEXTS), draw(ERRORS)
        choices = [Success(outputs), Failure(error, outputs), Cancelled(reason, outputs)]
        choices.append(Success(draw(VALUES), error))
        outcome = draw(st.sampled_from(choices))
    return TaskResult(task, outcome, draw(st.integers(0, 99)), items=parts, **draw(measured()))


@st.composite
def run_results(draw: st.DrawFn) -> RunResult:
    names = draw(st.lists(TEXTS, max_size=3, unique=True))
    made_up = st.builds(MadeUp, st.sampled_from(["output_schema", "assumed"]), TEXTS)
    return RunResult(
        run_id=draw(TEXTS),
        workflow=draw(TEXTS),
        status=draw(st.sampled_from(["success", "partial", "failed", "cancelled", "paused"])),
        started_at=draw(TEXTS),
        duration_ms=draw(MILLISECONDS),
        schedule=draw(st.sampled_from(["generations", "dataflow"])),
        generations=[names] if names else [],
        edges=[[name, name] for name in names],
        sequential_ms=draw(MILLISECONDS),
        critical_path_ms=draw(MILLISECONDS),
        speedup=draw(MILLISECONDS),
        other_schedule={"schedule": "dataflow", "duration_ms": draw(MILLISECONDS)},
        output=draw(VALUES),
        reason=draw(st.none() | st.sampled_from(get_args(EndReason))),
        error=draw(st.none() | ERRORS),
        tasks={name: draw(task_results(name)) for name in names},
        made_up=draw(st.none() | st.fixed_dictionaries(dict.fromkeys(names, made_up))),
    )


def through_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


@fewer
@given(ERRORS)
def test_an_error_comes_back_unchanged(error: TaskError) -> None:
    assert TaskError.from_dict(through_json(error.to_dict())) == error


@fewer
@given(OUTCOMES)
def test_an_outcome_comes_back_unchanged(outcome: Outcome) -> None:
    assert outcome_from_dict(through_json(outcome.to_dict())) == outcome


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match='unknown status "asleep"'):
        outcome_from_dict({"status": "asleep", "output": None, "error": None})


@fewer
@given(items())
def test_an_item_comes_back_unchanged_with_its_output(parts: tuple[ItemResult, ...]) -> None:
    for item in parts:
        assert ItemResult.from_dict(through_json(item.to_dict()), item.output) == item


@fewer
@given(task_results())
def test_a_task_comes_back_unchanged(result: TaskResult) -> None:
    assert TaskResult.from_dict(result.id, through_json(result.to_dict())) == result


@fewer
@given(run_results())
def test_a_run_comes_back_unchanged(result: RunResult) -> None:
    assert RunResult.from_dict(through_json(result.to_dict())) == result
    assert RunResult.from_dict(json.loads(result.to_json())) == result


MEASURED = ["attempts", "started_ms", "duration_ms", "waited_ms"]
TASK = ["status", "output", "error", "generation", *MEASURED]
ITEM = ["index", "status", "error", *MEASURED]


@pytest.mark.anyio
async def test_the_document_of_a_run_comes_back_unchanged_and_has_only_these_members() -> None:
    each = {"tool": "fake:each", "arguments": {"n": "$ITEM"}, "for_each": [1, 2]}
    plan = workflow(
        {"id": "ok", "tool": "fake:ok"},
        {"id": "broken", "tool": "fake:broken"},
        {"id": "behind", "tool": "fake:ok", "depends_on": ["broken"]},
        {"id": "unwanted", "tool": "fake:ok", "when": "`false`"},
        {"id": "each", **each},
        {"id": "rescued", **each, "fallback": {"value": "instead"}},
    )
    script: dict[str, Any] = {"broken": [(0, failing())], "each": [(0, 1), (0, failing()), (0, 1)]}
    result = await Run(plan, ScriptedCaller(script)).execute()
    document = through_json(result.to_dict())
    assert RunResult.from_dict(document).to_dict() == document
    tasks = document["tasks"]
    assert {task: sorted({*members} - {*TASK}) for task, members in tasks.items()} == {
        "ok": [],
        "broken": [],
        "behind": ["reason"],
        "unwanted": ["by_condition", "reason"],
        "each": ["items"],
        "rescued": ["items", "recovered"],
    }
    assert document["summary"] == {
        "total": 6, "succeeded": 2, "failed": 2, "skipped": 2, "cancelled": 0, "waiting": 0
    }  # fmt: skip
    assert document["edges"] == [["broken", "behind"]]
    assert all({*TASK} <= {*members} for members in tasks.values())
    assert [list(item) for item in tasks["each"]["items"]] == [ITEM, ITEM]
    assert [list(item) for item in tasks["rescued"]["items"]] == [[*ITEM, "output"]] * 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "fields", "task"),
    [
        (None, {}, {}),
        ("critical", {"on_error": "fail_fast"}, {"critical": True}),
        ("fail_fast", {"on_error": "fail_fast"}, {}),
        ("timeout", {"timeout_s": 0.001}, {"tool": "fake:slow"}),
        ("end_run", {}, {"tool": "fake:ok", "end_run": "success"}),
        ("end_run", {}, {"tool": "fake:ok", "end_run": "failed"}),
        ("cancelled", {}, {"tool": "fake:slow"}),
    ],
)
async def test_the_document_says_what_ended_the_run(
    reason: str | None, fields: dict[str, Any], task: dict[str, Any]
) -> None:
    plan = workflow(
        {"id": "a", "tool": "fake:broken", **task},
        {"id": "c", "tool": "fake:ok", "depends_on": ["b", "a"]},
        {"id": "b", "tool": "fake:ok", "depends_on": ["a"]},
        **fields,
    )
    run = Run(plan, ScriptedCaller({"broken": [(0, failing())], "slow": [(3600, 1)]}))
    if reason == "cancelled":
        run.cancel()
    document = (await run.execute()).to_dict()
    assert document["reason"] == reason
    assert document["edges"] == [["a", "b"], ["a", "c"], ["b", "c"]]
    summary = document["summary"]
    assert summary.pop("total") == sum(summary.values()) == 3
    assert (document["speedup"] is None) is (document["status"] == "cancelled")
