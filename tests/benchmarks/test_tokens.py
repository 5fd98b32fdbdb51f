"""Tokens of conversations."""

from __future__ import annotations

from benchmarks.tokens import TASK, Turn, cost_of, table
from orchestrator.documents.encode import to_json
from orchestrator.serve.answers import ServedTool


def test_each_turn_reads_the_tools_and_all_that_was_before() -> None:
    tool = ServedTool("t", "", "", {})
    first, second = Turn([("t", {})], [{"a": 1}]), Turn([("t", {"b": 2})], [{}])
    cost = cost_of([tool], [first, second], len)
    start = cost.definitions + len(TASK)
    calls = [len(turn.written()) for turn in (first, second)]
    results = [len(turn.read()) for turn in (first, second)]
    after = start + calls[0] + results[0]
    assert cost.turns == 3
    assert cost.definitions == len(to_json([{"name": "t", "description": "", "parameters": {}}]))
    assert cost.read == start + after + after + calls[1] + results[1]
    assert cost.written == sum(calls)
    assert table({"x": cost}).splitlines()[-1].startswith("| x | 3 | ")
