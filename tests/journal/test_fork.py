"""A fork makes again what has changed, and what reads something else for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.result import RunResult
from orchestrator.engine.reuse import Reuse
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.engine.settled import Settled
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow

pytestmark = pytest.mark.anyio
EACH = {"n": "$ITEM", "y": "$INPUT.y"}
FLOW: dict[str, Any] = {
    "inputs": {"x": {"default": 1}, "y": {"default": 1}},
    "tasks": [
        {"id": "a", "tool": "s:half", "arguments": {"n": "$INPUT.x"}},
        {"id": "b", "tool": "s:t", "arguments": {"n": "$OUTPUT[a].n"}},
        {"id": "each", "tool": "s:t", "arguments": EACH, "for_each": [1, 2]},
        {"id": "r", "tool": "s:t", "repeat": {"until": "OUTPUT[b].n > `-1`", "every_s": 0}},
        {"id": "v", "value": "$OUTPUT[b].n"},
        {"id": "bad", "tool": "s:bad"},
        {"id": "saved", "tool": "s:bad", "fallback": {"value": 1}},
    ],
}  # fmt: skip


def changed(task: str, **fields: Any) -> dict[str, Any]:
    tasks = [each | (fields if each["id"] == task else {}) for each in FLOW["tasks"]]
    return FLOW | {"tasks": tasks}


async def made(
    flow: Mapping[str, Any] = FLOW,
    inputs: Mapping[str, Any] | None = None,
    before: tuple[Workflow, RunResult, Mapping[str, Any]] | None = None,
) -> tuple[list[str], RunResult, Mapping[str, Any]]:
    """The calls of a run, its result and its inputs."""
    calls: list[str] = []

    async def call(call: Call, _: Attempt) -> Any:
        calls.append(call.task)
        if call.tool == "bad":
            raise LookupError
        return {"n": call.arguments.get("n", 0) // 2 if call.tool == "half" else 1}

    workflow, reuse = Workflow.load(flow), None
    values = complete_inputs(workflow.inputs, inputs or {}, "flow")
    if before is not None:
        settled = Settled(before[2])
        for result in before[1].tasks.values():
            settled.add(result)
        reuse = Reuse(before[0], settled, workflow)
    run = Run(workflow, call, RunSettings(reuse=reuse), inputs=values)
    return calls, await run.execute(), values


async def forked(flow: Mapping[str, Any] = FLOW, **inputs: Any) -> set[str]:
    """The tasks that a fork makes, besides those that had failed."""
    _, result, values = await made()
    calls, again, _ = await made(flow, inputs, (Workflow.load(FLOW), result, values))
    assert {"bad", "saved"} <= set(calls)
    assert again["v"].output == again["b"].output["n"]
    assert [each.generation for each in again.tasks.values()] == [
        each.generation for each in Workflow.load(flow).plan.tasks.values()
    ]
    return set(calls) - {"bad", "saved"}


async def test_without_a_change_only_what_had_failed_is_made() -> None:
    assert await forked() == set()
    assert await forked(changed("b", description="new")) == set()


async def test_a_changed_definition_is_made_and_what_reads_another_value() -> None:
    assert await forked(changed("a", timeout_s=3)) == {"a"}
    assert await forked(changed("a", tool="s:t")) == {"a", "b"}
    assert await forked(changed("each", for_each=[1, 2, 3])) == {"each"}


async def test_an_input_that_comes_to_the_same_value_changes_nothing_behind_it() -> None:
    assert await forked(x=0) == {"a"}
    assert await forked(x=2) == {"a", "b"}


async def test_items_are_compared_with_all_that_they_read() -> None:
    assert await forked(y=2) == {"each"}


async def test_what_repeats_is_made_again_where_what_it_waits_for_has_another_output() -> None:
    _, result, values = await made()
    other = result["b"].to_dict() | {"output": {"n": 0}}
    tasks = dict(result.tasks) | {"b": type(result["b"]).from_dict("b", other)}
    before = Workflow.load(FLOW), RunResult(**{**_parts(result), "tasks": tasks}), values
    calls, _, _ = await made(before=before)
    assert "r" not in calls
    calls, _, _ = await made(changed("b", timeout_s=9), before=before)
    assert {"b", "r"} <= set(calls)


async def test_items_with_long_expressions_are_compared_too() -> None:
    """What takes too long for the event loop is not taken for the same."""
    flow = changed("each", arguments={"n": "$ITEM", "y": "${INPUT.y[?n > `995`].n}"})
    numbers = [{"n": n} for n in range(1000)]
    _, result, values = await made(flow, {"y": numbers})
    before = Workflow.load(flow), result, values
    calls, _, _ = await made(flow, {"y": numbers[:-1]}, before)
    assert "each" in calls
    calls, _, _ = await made(flow, {"y": numbers}, before)
    assert "each" not in calls


def _parts(result: RunResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__slots__}
