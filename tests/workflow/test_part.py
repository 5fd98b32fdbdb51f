"""Some items of a task as a workflow of its own."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.workflow.model import Workflow
from orchestrator.workflow.part import part_of, read_by_items

A = {"id": "a", "value": {"x": 1}}
B = {"id": "b", "value": [1]}


def whole(**fields: Any) -> Workflow:
    task = {"id": "map", "tool": "s:t", "for_each": "$OUTPUT[b]", **fields}
    more = {"timeout_s": 5, "budget": {"minutes": 1}, "finally": [{"id": "end", "tool": "s:end"}]}
    return Workflow.load({"tasks": [A, B, task], **more})


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"arguments": {"n": "$ITEM"}}, []),
        ({"when": "OUTPUT[a].x == `1`", "fallback": {"value": "$OUTPUT[a]"}}, []),
        ({"arguments": {"n": ["$OUTPUT[a].x", {"at $INDEX": "of ${OUTPUT[a].x}"}]}}, ["a"]),
        ({"arguments": {"$OUTPUT[a].x": 1}}, ["a"]),
        ({"arguments": {"n": "$OUTPUT[b][0]"}}, ["b"]),
        ({"item_when": "STATUS[a] == 'success'"}, ["a"]),
        ({"item_fallback": {"value": ["$ITEMS[map]", "$OUTPUT[a]"][1]}}, ["a"]),
        ({"item_fallback": {"tool": "s:u", "arguments": {"of": "$OUTPUT[a]"}}}, ["a"]),
        ({"approve": {"message": "$OUTPUT[a]?"}}, ["a"]),
        ({"repeat": {"until": "LAST.n > OUTPUT[a].x"}}, ["a"]),
        ({"repeat": {"until": "true", "collect": "[OUTPUT[a].x, LAST]"}}, ["a"]),
        ({"depends_on": ["a"]}, []),
    ],
)
def test_a_part_needs_what_its_calls_read(fields: dict[str, Any], read: list[str]) -> None:
    assert read_by_items(whole(**fields).plan.tasks["map"]) == read


def test_a_part_makes_the_calls_of_its_items_and_nothing_else() -> None:
    fields = {"retry": 2, "delay_s": 1, "critical": True, "spread": True, "end_run": "success"}
    arguments = {"n": "${OUTPUT[a].x}"}
    of = whole(**fields, arguments=arguments, fallback={"value": 0}, when="OUTPUT[b] != `3`")
    part = part_of(of, "map", ["x", "y"], 500, 3)
    assert (part.timeout_s, part.budget, part.plan.finally_) == (None, None, None)
    assert (of.timeout_s, part.on_error, part.name) == (5, of.on_error, of.name)
    assert (list(part.plan.tasks), part.plan.generations) == (["a", "map"], [["map"]])
    assert (part.plan.servers, list(part.plan.targets)) == (["s"], ["s:t"])
    task = part.plan.tasks["map"]
    policies = task.policies
    assert (task.dependencies, task.arguments) == ((), of.plan.tasks["map"].arguments)
    gone = policies.when, policies.fallback, policies.delay_s, policies.end_run
    assert (gone, policies.critical, policies.spread) == ((None,) * 4, False, False)
    assert (policies.max_parallel, policies.retry) == (3, of.plan.tasks["map"].policies.retry)
    assert of.plan.tasks["map"].policies.spread
    assert part_of(of, "map", [1], 0, 0).plan.tasks["map"].policies.max_parallel is None
