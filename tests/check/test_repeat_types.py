"""What `repeat` reads and gives has types."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.schema.tool import Tool
from tests.fakes import workflow

PAGE = {
    "type": "object",
    "properties": {
        "state": {"enum": ["busy", "done"]},
        "rows": {"type": "array", "items": {"type": "string"}},
        "row": {"type": ["string", "null"]},
        "next": {"type": "string"},
    },
    "required": ["state", "rows", "row"],
}


def accepting(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


TOOLS = {
    "fake:a": Tool("fake", "a", accepting(cursor={"type": "string"}), output_schema=PAGE),
    "fake:b": Tool("fake", "b", accepting(x={"type": "array", "items": {"type": "integer"}})),
}


def found(reads: str = "$OUTPUT[a]", cursor: Any = None, **repeat: Any) -> list[tuple[str, str]]:
    """What is found in a task that repeats and one that takes an array of integers from it."""
    arguments = {} if cursor is None else {"cursor": cursor}
    each = {"until": "LAST.state == 'done'", **repeat}
    first = {"id": "a", "tool": "fake:a", "arguments": arguments, "repeat": each}
    second = {"id": "b", "tool": "fake:b", "arguments": {"x": reads}}
    return [
        (problem.code, problem.message)
        for problem in prove(workflow(first, second), TOOLS)
        if problem.severity != "note"
    ]


def test_pages_and_states_that_fit_have_no_findings() -> None:
    assert found("${map(&length(@), OUTPUT[a])}", "$LAST.next", collect="LAST.rows") == []
    assert found("${map(&length(@), OUTPUT[a])}", "${LAST.next}", collect="LAST.next") == []
    assert found("${map(&length(@), OUTPUT[a])}", collect="LAST.row") == []


@pytest.mark.parametrize("collect", ["LAST.rows", "LAST.state", "LAST.next"])
def test_what_is_collected_has_the_type_of_its_items(collect: str) -> None:
    ((code, message),) = found(collect=collect)
    assert code == "may_not_fit"
    assert "expected integer, may be" in message


def test_the_last_answer_has_the_type_of_the_tools_output() -> None:
    ((code, message),) = found("$OUTPUT[a].rows", "$LAST.nxt")[:1]
    assert code == "unknown_place"
    assert '$LAST has no property "nxt"' in message
    codes = {code for code, _ in found(until="LAST.state == 'finished'")}
    assert codes == {"never_true", "wrong_argument"}  # and not that it is never true as a whole
    codes = {code for code, _ in found(until="LAST.status == 'done'")}
    assert "always_null" in codes


def test_a_condition_against_run_if_says_which_one_would_do() -> None:
    reads = {"id": "b", "tool": "fake:b", "when": "STATUS[a] == 'success'", "run_if": "any_failed"}
    (problem, *_) = prove(workflow("a", reads), {})
    assert problem.code == "never_runs"
    assert '"all_success"' in problem.hint


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("3", "until is true after any answer, so the call is made only once"),
        ("'done'", "until is true after any answer"),
        ("length(LAST.rows)", "until is true after any answer"),  # 0 is true in JMESPath
        ("false", "until is never true, so the task fails after max_times calls"),
        ("''", "until is never true"),
    ],
)
def test_a_condition_that_no_answer_can_change_is_a_warning(until: str, said: str) -> None:
    (message,) = [message for _, message in found(until=until) if message.startswith("until")]
    assert message.startswith(said)
