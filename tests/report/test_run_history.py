"""What happened in a run: its calls, the path that decided its time, and what failed first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator.calls.causes import Cause
from orchestrator.engine.outcome import Success
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.report.perfetto import trace
from orchestrator.report.run_history import RunHistory
from orchestrator.report.run_text import failure_lines, headline
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import virtual_clock

INPUTS = {"cities": ["Rome", "Oslo"]}
Times = Mapping[str, float]


def history(
    plan: Workflow, times: Times, backend: str = "asyncio", broken: str = "", **settings: Any
) -> RunHistory:
    script = {
        tool: [(each, failing("it broke") if tool == broken else 1)] for tool, each in times.items()
    }
    settings = {"run_id": "r1", **settings}

    async def executed() -> RunHistory:
        run = Run(plan, ScriptedCaller(script), RunSettings(**settings), inputs=INPUTS)
        result = await run.execute()
        # As it comes from a journal.
        return RunHistory(RunResult.from_dict(result.to_dict()), plan, run.inputs)

    name, options = virtual_clock(backend)
    return anyio.run(executed, backend=name, backend_options=options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_path_is_the_one_that_explain_tells(backend: str) -> None:
    plan = workflow("a", "b", "c: a b", "d", schedule="dataflow")
    found = history(plan, {"a": 1, "b": 2, "c": 3, "d": 4}, backend)
    assert found.path == ["b", "c"]
    assert found.by_reason() == {"calls": 5000.0}
    assert {call.where: call.ready_ms for call in found.calls} == {
        "a": 0.0,
        "b": 0.0,
        "c": 2000.0,
        "d": 0.0,
    }
    assert headline(found) == (
        "4 tasks (4 succeeded) in 5.00 s, 2.0 times as fast as one call after the other"
    )


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
    assert [call.where for call in found.calls] == ["each[0]", "each[1]", "other"]
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
    assert [call.where for call in found.calls] == ["a[0]/x", "a[1]/x"]
    assert {call.root for call in found.calls} == {"a"}
    assert found.path == ["a"]


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


def test_a_run_without_a_speedup_has_none_in_its_headline() -> None:
    found = history(workflow("a"), {"a": 1})
    result = replace(found.result, speedup=None)
    assert headline(RunHistory(result, found.workflow)) == "1 task (1 succeeded) in 1.00 s"
    result = replace(found.result, speedup=0.8)  # a person was waited for
    assert headline(RunHistory(result, found.workflow)) == "1 task (1 succeeded) in 1.00 s"


def test_a_wait_has_the_cause_that_was_kept() -> None:
    plan = workflow("a", "b: a")
    found = history(plan, {"a": 1, "b": 1})
    for what, said in (
        (Cause("server_start", "fake"), 'the start of server "fake"'),
        (Cause("server_start"), "the start of all servers, to check the plan"),
        (Cause("retry"), "its next attempt (backoff of retry)"),
        (Cause("turn", "fake"), 'its turn at server "fake", which asks people'),
        (None, "the engine and the journal"),
    ):
        waits = ((what, 1000.0, 400.0),) if what else ()
        late = replace(found.result.tasks["b"], started_ms=1400.0, waits=waits)
        timed = {**found.result.tasks, "b": late}
        assert RunHistory(found.result, plan, timed=timed).by_reason()[said] == 400.0


def test_what_only_asked_a_person_is_a_call_that_waited_until_the_answer() -> None:
    plan = workflow("a", {"id": "go", "ask": {"message": "go?"}, "depends_on": ["a"]})
    found = history(plan, {"a": 1})
    asked = TaskResult("go", Success(output=True), 1, waits=((Cause("answer"), 1000.0, 500.0),))
    tasks = {**found.result.tasks, "go": asked}
    told = RunHistory(replace(found.result, tasks=tasks), plan)
    assert [(call.where, call.started_ms, call.waited_ms) for call in told.calls] == [
        ("a", 0.0, 0.0),
        ("go", 1500.0, 500.0),
    ]
    assert told.tasks["go"].target == "ask"
    assert told.by_reason() == {"calls": 1000.0, "the answer to a question": 500.0}
    assert list(told.by_tool()) == ["fake:a"]


def test_a_loop_of_workflows_in_which_nothing_began_is_a_call_of_each_item() -> None:
    inner = {"name": "inner", "tasks": [{"id": "x", "tool": "fake:x"}]}
    plan = workflow({"id": "a", "workflow": inner, "for_each": ["p", "q"]})
    found = history(plan, {"x": 1})
    items = found.result.tasks["a"].items or ()
    empty = replace(found.result.tasks["a"], items=tuple(replace(i, tasks={}) for i in items))
    told = RunHistory(replace(found.result, tasks={"a": empty}), plan)
    assert [(call.where, call.root, call.server) for call in told.calls] == [
        ("a[0]", "a", ""),
        ("a[1]", "a", ""),
    ]
    assert told.by_tool() == {}
    assert told.tasks["a"].duration_ms == 1000.0
