"""The table of items in docs/semantics.md is true: each combination does what its row says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.workflow.model import Schedule
from tests.engine.test_semantics_table import EACH_ITEM, OF_ITEMS, combinations, the_row
from tests.fakes import failing, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

TURNS = {"until": "LAST.turn == 2", "every_s": 1, "max_times": 2}
CALLS: dict[str, dict[str, Any]] = {
    "answer": {},
    "answer on retry": {"retry": {"max_attempts": 2, "initial_s": 1}},
    "answer in a later turn": {"repeat": TURNS},
    "fails": {},
    "not resolved": {"arguments": {"x": "$ITEM.nothing"}},
    "used up": {"repeat": TURNS | {"until": "LAST == 'never'"}},
    "too late": {"deadline_s": 5},
}
KINDS = {
    "fails": "tool_error",
    "not resolved": "reference_error",
    "used up": "not_done",
    "too late": "timeout",
}
CONDITIONS = {"true": "true", "false": "ITEM.of == 'b'", "fails": "length(INDEX) > 1"}
FALLBACKS: dict[str, dict[str, Any]] = {
    "none": {},
    "value": {"item_fallback": {"value": "instead"}},
    "tool": {"item_fallback": {"tool": "s:instead"}},
    "broken value": {"item_fallback": {"value": "$ITEM.nothing"}},
    "failing tool": {"item_fallback": {"tool": "s:fails"}},
}


class Tools:
    """Tools by the name of what they do."""

    def __init__(self) -> None:
        self._made: Counter[str] = Counter()

    async def __call__(self, call: Call, _: Attempt) -> Any:
        self._made[call.task] += 1
        first = self._made[call.task] == 1
        if call.tool == "instead":
            return "instead"
        if call.tool == "fails" or (call.tool == "answer on retry" and first):
            raise failing()
        await anyio.sleep(60 if call.tool == "too late" else 0)
        return {"turn": self._made[call.task]}


@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
async def test_each_item_comes_to_what_its_row_says(schedule: Schedule) -> None:
    cases = dict(enumerate(combinations(OF_ITEMS)))
    tasks = [
        {
            "id": f"t{number}",
            "tool": f"s:{case['its call']}",
            "for_each": [{"of": "a"}],
            "item_when": CONDITIONS[case["item_when"]],
            **CALLS[case["its call"]],
            **FALLBACKS[case["item_fallback"]],
        }
        for number, case in cases.items()
    ]
    result = await Run(workflow(*tasks, schedule=schedule), Tools()).execute()
    for number, case in cases.items():
        row, task = the_row(EACH_ITEM, **case), result[f"t{number}"]
        ((item,), output) = task.items or (), task.output
        recovered = row["the item"] == "recovered"
        assert item.status == ("success" if recovered else row["the item"]), case
        assert task.status == row["the task, if all other items succeed"], case
        if row["in the output"] == "the answer":
            assert "turn" in output[0], case
        else:
            assert output == [None if row["in the output"] == "null" else "instead"], case
        kind = "reference_error" if case["item_when"] == "fails" else KINDS.get(case["its call"])
        found = None if item.error is None else item.error.kind
        expects_error = recovered or row["the item"] == "error"
        assert found == (kind if expects_error else None), case
