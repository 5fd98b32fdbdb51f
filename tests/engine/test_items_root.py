"""`$ITEMS[id]`: how the items of a `for_each` ended, for those that come behind it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.check.checker import prove
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.errors import WorkflowError
from orchestrator.schema.tool import Tool
from tests.fakes import failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

EACH = {"id": "a", "tool": "fake:a", "for_each": [1, 2, 3], "arguments": {"x": "$ITEM"}}
DONE = {"id": "b", "tool": "fake:b", "run_if": "all_done"}


async def odd_fails(call: Call, _: Attempt) -> Any:
    if call.tool == "a" and call.arguments["x"] % 2:
        raise failing(f"no {call.arguments['x']}")
    return call.arguments


async def run(*tasks: Any, **fields: Any) -> RunResult:
    return await Run(workflow(*tasks, **fields), odd_fails).execute()


async def test_each_item_has_its_index_status_output_and_error() -> None:
    result = await run(EACH, {**DONE, "arguments": {"all": "$ITEMS[a]"}})
    error = {"kind": "tool_error", "message": "no 1", "retryable": True, "details": {}}
    first, second, third = result["b"].output["all"]
    assert first == {"index": 0, "status": "error", "output": None, "error": error}
    assert second == {"index": 1, "status": "success", "output": {"x": 2}, "error": None}
    assert third["error"]["message"] == "no 3"


async def test_paths_and_expressions_read_it_too() -> None:
    reads = {
        "first": "$ITEMS[a][0].error.message",
        "braced": "${ITEMS[a][0].status}",
        "failed": "${ITEMS[a][?status == 'error'].index}",
        "inside": "${OUTPUT[a][?@ != null] | length(ITEMS[a])}",
    }
    result = await run(EACH, {**DONE, "arguments": reads, "when": "length(ITEMS[a]) > 0"})
    assert result["b"].output == {
        "first": "no 1", "braced": "error", "failed": [0, 2], "inside": 3,
    }  # fmt: skip


async def test_it_makes_a_dependency_and_can_be_gone_over() -> None:
    again = {
        **DONE,
        "for_each": "${ITEMS[a][?status == 'error'].index}",
        "arguments": {"x": "$ITEM"},
    }
    result = await run(again, EACH)
    assert result.generations == [["a"], ["b"]]
    assert result["b"].output == [{"x": 0}, {"x": 2}]


async def test_an_item_that_recovered_keeps_its_error() -> None:
    result = await run({**EACH, "item_fallback": {"value": 0}}, output="$ITEMS[a]")
    first = result.output[0]
    assert (first["status"], first["output"]) == ("success", 0)
    assert first["error"]["message"] == "no 1"
    assert result["a"].items is not None
    assert result["a"].items[0].error is not None
    assert result.status == "success"


async def test_of_a_task_that_was_skipped_it_is_empty() -> None:
    result = await run({**EACH, "when": False}, {**DONE, "arguments": {"all": "$ITEMS[a]"}})
    assert result["b"].output == {"all": []}


@pytest.mark.parametrize("text", ["$ITEMS[b]", "${ITEMS[b]}", "${length(ITEMS[b])}"])
def test_of_one_call_there_are_no_items(text: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        workflow(EACH, "b", {"id": "c", "tool": "fake:c", "arguments": {"x": text}})
    (problem,) = raised.value.problems
    assert (problem.code, problem.path) == ("no_items_there", "/tasks/2/arguments/x")
    assert problem.message.endswith('needs a for_each, which task "b" does not have')


@pytest.mark.parametrize("text", ["$ITEMS", "$ITEMS.x", "${ITEMS}", "${ITEMS.*}"])
def test_it_needs_the_id_of_a_task(text: str) -> None:
    with pytest.raises(WorkflowError, match=r"ITEMS\[id\]"):
        workflow({**EACH, "arguments": {"x": text}})


def test_the_checker_knows_its_type() -> None:
    schema = {"type": "object", "properties": {"t": {"type": "string"}}, "required": ["t"]}
    wants = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tools = {
        "fake:a": Tool("fake", "a", {"type": "object"}, output_schema=schema),
        "fake:b": Tool("fake", "b", wants),
    }

    def found(text: str) -> list[tuple[str, str]]:
        made = workflow(EACH, {**DONE, "arguments": {"n": text}})
        return [(each.code, each.severity) for each in prove(made, tools)]

    assert found("$ITEMS[a][0].index") == []
    assert found("${length(ITEMS[a])}") == []
    assert found("$ITEMS[a][0].indx")[-1] == ("unknown_place", "error")
    assert found("$ITEMS[a]") == [("wrong_argument", "error")]
