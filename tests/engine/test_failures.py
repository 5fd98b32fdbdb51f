"""What one failure means for the rest: items under fail_fast, fallbacks and what they read."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]


def of_items(number: int, slots: int = 0, **fields: Any) -> Workflow:
    """A task with so many items, under fail_fast."""
    task = {"id": "m", "tool": "fake:m", "for_each": list(range(number)), **fields}
    return workflow(task, on_error="fail_fast", max_concurrency=slots)


def item_statuses(result: RunResult) -> list[str]:
    return [item.status for item in result["m"].items or ()]


@pytest.mark.parametrize("limit", [{"max_parallel": 1}, {"slots": 1}], ids=["workers", "slots"])
async def test_under_fail_fast_no_item_begins_after_one_has_failed(limit: dict[str, int]) -> None:
    caller = ScriptedCaller({"m": [(1, "first"), (1, failing("second")), (1, "never")]})
    plan = of_items(6, **limit)
    result = await Run(plan, caller).execute()
    assert len(caller.calls) == 2
    assert item_statuses(result) == ["success", "error", *["skipped"] * 4]
    assert result["m"].output == ["first", None, None, None, None, None]
    items = result["m"].items or ()
    assert items[2].outcome.to_dict()["reason"] == "item 1 failed, and on_error is fail_fast"
    assert (result["m"].error or failing().error).message == "1 of 6 items failed; item 1: second"
    assert result.status == "failed"


async def test_items_that_have_begun_go_on_when_one_fails_fast() -> None:
    caller = ScriptedCaller({"m": [(1, failing()), (2, "second"), (9, "never")]})
    result = await Run(of_items(4, max_parallel=2), caller).execute()
    assert item_statuses(result) == ["error", "success", "skipped", "skipped"]
    assert result["m"].output == [None, "second", None, None]


async def test_without_fail_fast_all_items_are_called() -> None:
    task = {"id": "m", "tool": "fake:m", "for_each": [0, 1, 2], "max_parallel": 1}
    caller = ScriptedCaller({"m": [(1, failing()), (1, "x")]})
    result = await Run(workflow(task), caller).execute()
    assert item_statuses(result) == ["error", "success", "success"]


async def test_what_only_a_fallback_reads_does_not_decide_whether_the_task_runs() -> None:
    primary = {"id": "p", "tool": "fake:p", "fallback": {"value": "$OUTPUT[backup]"}}
    caller = ScriptedCaller({"backup": [(1, failing("gone"))], "p": [(1, "mine")]})
    result = await Run(workflow("backup", primary), caller).execute()
    assert (result["p"].status, result["p"].output) == ("success", "mine")
    assert result["p"].started_ms == 1000  # it was waited for


async def test_a_fallback_whose_reference_failed_fails_alone() -> None:
    primary = {"id": "p", "tool": "fake:p", "fallback": {"value": "$OUTPUT[backup]"}}
    caller = ScriptedCaller({"backup": [(1, failing("gone"))], "p": [(1, failing("mine"))]})
    result = await Run(workflow("backup", primary), caller).execute()
    error = result["p"].error
    assert error is not None
    assert error.message.startswith("mine; its fallback failed, too: $OUTPUT[backup]")


async def test_what_the_call_and_its_fallback_read_decides() -> None:
    both = {
        "id": "p",
        "tool": "fake:p",
        "arguments": {"x": "$OUTPUT[backup]"},
        "fallback": {"value": "$OUTPUT[backup]"},
    }
    caller = ScriptedCaller({"backup": [(1, failing("gone"))]})
    result = await Run(workflow("backup", both), caller).execute()
    assert result["p"].status == "skipped"


async def test_a_run_in_which_nothing_failed_is_not_failed() -> None:
    gate = {"id": "gate", "tool": "fake:t", "when": "false"}
    result = await Run(workflow(gate, "work: gate", "report: work"), ScriptedCaller()).execute()
    assert [task.status for task in result.tasks.values()] == ["skipped"] * 3
    assert result.status == "partial"


async def test_a_fallback_keeps_the_outcomes_of_the_items() -> None:
    task = {"id": "m", "tool": "fake:m", "for_each": [0, 1], "fallback": {"value": "n/a"}}
    caller = ScriptedCaller({"m": [(1, "good"), (1, failing())]})
    result = await Run(workflow(task, max_concurrency=1), caller).execute()
    document = result.to_dict()["tasks"]["m"]
    assert document["output"] == "n/a"
    assert [(item["status"], item.get("output")) for item in document["items"]] == [
        ("success", "good"),
        ("error", None),
    ]
