"""What happened in a run: its calls, the path that decided its time, and what failed first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.report.perfetto import trace
from orchestrator.report.run_history import RunHistory
from orchestrator.report.run_text import failure_lines, headline, path_lines
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import virtual_clock

INPUTS = {"cities": ["Rome", "Oslo"]}
Times = dict[str, float]


def history(
    plan: Workflow, times: Times, backend: str = "asyncio", broken: str = "", **settings: Any
) -> RunHistory:
    script = {
        tool: [(s, failing("it broke") if tool == broken else 1)] for tool, s in times.items()
    }
    settings = {"run_id": "r1", **settings}

    async def executed() -> RunHistory:
        run = Run(plan, ScriptedCaller(script), RunSettings(**settings), inputs=INPUTS)
        result = await run.execute()
        # As it comes from a journal.
        return RunHistory(RunResult.from_dict(result.to_dict()), plan, run.inputs)

    name, options = virtual_clock(backend)
    return anyio.run(executed, backend=name, backend_options=options)


def steps(found: RunHistory) -> list[tuple[str, str, str | None, float]]:
    return [
        (
            step.span.where,
            "call" if step.cause is None else step.cause.kind,
            None if step.holder is None else step.holder.where,
            round(step.took_ms),
        )
        for step in found.path
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_path_goes_over_the_dependency_that_ended_last(backend: str) -> None:
    plan = workflow("a", "b", "c: a b", "d", schedule="dataflow")
    found = history(plan, {"a": 1, "b": 2, "c": 3, "d": 4}, backend)
    assert steps(found) == [("b", "call", None, 2000), ("c", "call", None, 3000)]
    assert found.by_reason() == {None: 5000.0}
    assert list(path_lines(found)) == [
        "0.0 ms  b (fake:b) took 2.00 s",
        "2.00 s  c (fake:c) took 3.00 s",
    ]
    assert found.path_tasks == ["b", "c"]
    assert headline(found) == (
        "4 tasks (4 succeeded) in 5.00 s, 2.0 times as fast as one call after the other"
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_path_names_the_last_of_a_generation_and_the_holder_of_a_slot(backend: str) -> None:
    plan = workflow("a", "b", "c: a")
    found = history(plan, {"a": 1, "b": 4, "c": 2}, backend)
    assert steps(found) == [("b", "call", None, 4000), ("c", "call", None, 2000)]
    (barrier,) = found.analysis.waits
    assert barrier.cause is not None
    assert barrier.holder is not None
    assert (barrier.cause.kind, barrier.holder.where, barrier.took_ms) == ("generation", "b", 3000)
    # As it comes from a document, which has no waits: what ended when a call began held it up.
    found = history(workflow("a", "b", "c"), {"a": 2, "b": 1, "c": 3}, backend, max_concurrency=1)
    assert [span.path for span in found.tasks.values()] == found.path_tasks
    assert [step.to_ms for step in found.path] == [2000, 3000, 6000]


def test_a_wait_has_the_cause_that_was_kept() -> None:
    plan = workflow("a", "b: a")
    found = history(plan, {"a": 1, "b": 1})
    for what, said in (
        ('server "fake"', 'b waited 400 ms for the start of "fake"'),
        ("its next attempt", "b waited 400 ms for its next attempt (backoff of retry)"),
        ("", "b waited 400 ms for the engine and the journal"),
    ):
        waits = ((what, 1000.0, 400.0),) if what else ()
        late = replace(found.result.tasks["b"], started_ms=1400.0, waits=waits)
        timed = {**found.result.tasks, "b": late}
        lines = path_lines(RunHistory(found.result, plan, timed=timed))
        assert list(lines)[1] == f"1.00 s  {said}"


def test_what_failed_first_has_its_arguments_and_what_was_skipped_for_it() -> None:
    each = {
        "id": "each",
        "tool": "fake:each",
        "for_each": "$INPUT.cities",
        "arguments": {"city": "$ITEM", "at": "$INDEX"},
    }
    plan = workflow(each, "b: each", "c: b", "other", inputs={"cities": {"type": "array"}})
    found = history(plan, {"each": 1, "other": 2}, broken="each")
    failure = found.first_failure
    assert failure is not None
    assert (failure.path, failure.arguments) == ("each[0]", {"city": "Rome", "at": 0})
    assert failure.skipped == ("b", "c")
    first, skipped = failure_lines(found)
    assert first == 'Task "each[0]" (fake:each) failed first, 1.00 s into the run: tool_error.'
    assert skipped == "Skipped because of it: b, c."
    assert [call.path for call in found.calls] == ["each[0]", "each[1]", "other"]
    assert found.by_tool() == {"fake:each": (2, 2000.0, 0.0), "fake:other": (1, 2000.0, 0.0)}
    assert found.by_server() == {"fake": (3, 4000.0, 0.0)}
    without = RunHistory(found.result, plan)
    assert without.first_failure is not None
    assert without.first_failure.arguments is None
    assert history(plan, {}).first_failure is None


def test_calls_inside_of_a_workflow_are_found() -> None:
    inner = {"name": "inner", "tasks": [{"id": "x", "tool": "fake:x"}]}
    plan = workflow({"id": "a", "workflow": inner, "for_each": ["p", "q"]})
    found = history(plan, {"x": 1})
    assert [call.path for call in found.calls] == ["a[0]/x", "a[1]/x"]
    assert {call.task for call in found.calls} == {"a"}
    assert [step.span.where for step in found.path] == ["a[1]/x"]
    assert found.path_tasks == ["a"]


def test_a_run_in_which_nothing_began_has_no_path() -> None:
    found = history(workflow({"id": "a", "tool": "fake:a", "when": "`false`"}), {})
    assert found.path == []
    assert found.ends_ms == 0.0
    assert found.calls == []


def test_bars_of_one_lane_of_a_trace_do_not_overlap() -> None:
    plan = workflow("a", "b", "c: a", "d: a b", schedule="dataflow")
    events = trace(history(plan, {"a": 1, "b": 3, "c": 1, "d": 1}))["traceEvents"]
    bars = [event for event in events if event["ph"] == "X"]
    assert [(bar["name"], bar["tid"], bar["ts"], bar["dur"]) for bar in bars] == [
        ("a fake:a", 1, 0.0, 1e6),
        ("b fake:b", 2, 0.0, 3e6),
        ("c fake:c", 1, 1e6, 1e6),
        ("d fake:d", 1, 3e6, 1e6),
    ]
    assert [event["ph"] for event in events].count("s") == 3
    lanes = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert lanes == {"workflow", "lane 1", "lane 2"}
