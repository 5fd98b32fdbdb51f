"""`$RUN`: the id, the start and the workflow of a run, wherever `$INPUT` can be read."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import CallError, WorkflowError
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.references import Compiler
from orchestrator.expressions.scope import Reference, Scope, ScopeKey
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing

SETTINGS = RunSettings(run_id="r7", started_at="2026-01-01T00:00:00.000Z")
SCOPE = Scope(
    run={"id": "r7", "started_at": "2026-01-01", "workflow": "w"}, outputs={"a": [{"RUN": 1}]}
)


@pytest.mark.anyio
async def test_the_run_is_readable_in_every_field_and_the_same_at_any_time() -> None:
    task: dict[str, Any] = {
        "id": "a",
        "tool": "s:a",
        "for_each": "${[RUN.id, $RUN.workflow, now_iso()]}",
        "when": "RUN.workflow == 'nightly'",
        "locks": ["run:$RUN.id:$ITEM"],
        "arguments": {"it": "$ITEM", "at": "$RUN.started_at", "in $RUN.workflow": 1},
    }
    failed = {"id": "b", "tool": "s:b", "fallback": {"value": "run $RUN.id"}}
    after = {"id": "c", "tool": "s:c", "depends_on": ["a"], "arguments": {"at": "${now_iso()}"}}
    output = {"run": "$RUN.id", "day": "${slice(now_iso(), 0, 10)}", "all": "${RUN}"}
    plan = Workflow.load({"name": "nightly", "tasks": [task, failed, after], "output": output})
    caller = ScriptedCaller({"b": [(0, failing("broken"))]})
    result = await Run(plan, caller, SETTINGS).execute()
    start = SETTINGS.started_at
    assert result["a"].output == [
        {"it": it, "at": start, "in nightly": 1} for it in ("r7", "nightly", start)
    ]
    assert result["b"].output == "run r7"
    assert result["c"].output == {"at": start}
    assert result.output == {
        "run": "r7",
        "day": "2026-01-01",
        "all": {"id": "r7", "started_at": start, "workflow": "nightly"},
    }
    assert (result.run_id, result.started_at) == ("r7", start)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$RUN.id", "r7"),
        ('$RUN["id"]', "r7"),
        ("run $RUN.id.", "run r7."),
        ("${RUN.id}.txt", "r7.txt"),
        ("${$RUN.id}", "r7"),
        ("${RUN | id}", "r7"),
        ("${OUTPUT[a][?RUN.id == 'r7']}", [{"RUN": 1}]),
        ("${OUTPUT[a][?@.RUN == 1] | [0].RUN}", 1),
        ("${map(&RUN.workflow, OUTPUT[a])}", ["w"]),
        ("$RUNS and $RUN_ID and $$RUN", "$RUNS and $RUN_ID and $RUN"),
    ],
)
def test_a_reference_to_the_run_has_its_value(text: str, value: Any) -> None:
    compiler = Compiler()
    template = compiler.compile(text)
    assert compiler.faults == []
    assert template.resolve(SCOPE) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$RUN", "expected $RUN.id, $RUN.started_at or $RUN.workflow"),
        ("$RUN.idd", '$RUN.workflow. Did you mean "id"?'),
        ("$RUN[0]", "expected $RUN.id"),
        (
            "${RUN.started}",
            'expected RUN.id, RUN.started_at or RUN.workflow. Did you mean "started',
        ),
        ("${OUTPUT[a][?x == RUN.name]}", "expected RUN.id"),
        ("${RUN.id", 'missing "}"'),
        ("${RUNN.id}", 'unknown root "RUNN". Did you mean "RUN"'),
    ],
)
def test_what_a_run_does_not_have_is_found_before_it(text: str, message: str) -> None:
    task = {"id": "b", "tool": "s:b", "arguments": {"x": text}}
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [{"id": "a", "tool": "s:a"}, task]})
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("malformed_reference", "/tasks/1/arguments/x")
    assert message in problem.message


def test_a_path_into_a_text_of_the_run_names_the_run() -> None:
    reference = Compiler().compile("$RUN.id.x")
    assert isinstance(reference, Reference)
    assert reference.places == (ScopeKey("RUN", "id"),)
    with pytest.raises(CallError, match=r'\$RUN.id has no property "x" \(it is string "r7"\)'):
        reference.resolve(SCOPE)


def test_before_a_run_there_is_none() -> None:
    with pytest.raises(CallError, match=r"\$RUN.id has no value here"):
        Compiler().compile("$RUN.id").resolve(Scope())
    assert compile_expression("now_iso()").evaluate(Scope()) is None
