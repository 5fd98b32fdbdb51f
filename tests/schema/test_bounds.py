"""No schema and no value makes a check take more than linear time."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import WorkflowError
from orchestrator.schema.patterns import BUDGET, backtracks, matches
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import schema_type
from orchestrator.schema.validator import Validator
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow

SLOW = "a" * 50_000 + "!"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("^(a+)+$", False),
        ("^(a|a)*$", False),
        ("(a*)*b", False),
        ("^(?:a?){30}a{30}$", False),
        ("(.*a){25}", True),
        # These look around or refer back: beyond the budget they fit.
        ("(?=a)(a+)+$", True),
        (r"^(a+)+\1$", True),
        (r"(?<!b)(a+)+$", True),
        (r"^(?!x)(a|aa)+$", True),
    ],
)
def test_a_pattern_is_matched_in_bounded_time(pattern: str, fits: bool) -> None:
    assert Validator({"pattern": pattern}).fits(SLOW) is fits
    assert Validator({"propertyNames": {"pattern": pattern}}).fits({SLOW: 1}) is fits
    assert Validator({"anyOf": [{"pattern": pattern}]}).fits(SLOW) is fits
    assert matches(pattern, SLOW) is fits


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"^(?=.*\d)[a-z\d]{4,}$", "abc1", True),
        (r"^(?=.*\d)[a-z\d]{4,}$", "abcd", False),
        (r"^(?!tmp_)", "tmp_x", False),
        (r"(['\"]).*\1", "'x\"", False),
    ],
)
def test_a_pattern_that_looks_around_counts_for_short_strings(
    pattern: str, text: str, fits: bool
) -> None:
    assert backtracks(pattern)
    schema = {"properties": {"x": {"pattern": pattern}}}
    found = list(Validator(schema).violations({"x": text}))
    assert (found == []) is fits
    assert [(v.keyword, v.path, v.expected) for v in found] == (
        [] if fits else [("pattern", ("x",), pattern)]
    )
    assert Validator(schema).fits({"x": text}) is fits


def test_many_strings_share_the_budget_of_one_value() -> None:
    validator = Validator({"items": {"pattern": "^(?=a)(a+)+!$"}})
    text = "a" * 100 + "!"
    assert len(text) ** 2 * 1000 > BUDGET
    assert validator.fits([text] * 1000)
    assert not validator.fits(["b"])  # the next value has a budget of its own


def test_a_pattern_that_is_none_is_found_with_a_pattern_that_looks_around() -> None:
    schema = {"properties": {"x": {"pattern": "(?=a"}, "y": {"pattern": "(?=a)b"}}}
    assert "regular expression" in Validator(schema).unusable


def test_names_are_matched_in_bounded_time_before_the_run_too() -> None:
    query = TypeQuery()
    slow = schema_type({"patternProperties": {"^(a+)+$": {"type": "string"}}})
    assert query.step(slow, SLOW).presence == "unknown"
    around = {"patternProperties": {"(?=a)(a+)+$": {"type": "string"}}}
    assert query.kinds(query.step(schema_type(around), SLOW).type) == {"string"}  # it may match
    assert "looks around" in Validator(around).unusable


def doubling(levels: int, keyword: str = "allOf") -> dict[str, Any]:
    parts = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{levels}": {"type": "string"}}}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_with_each_reference_cannot_be_used(keyword: str) -> None:
    validator = Validator(doubling(40, keyword))
    assert "its references make more than 10,000 subschemas of one value" in validator.unusable
    assert validator.fits(5)
    assert not Validator(doubling(8)).fits(5)
    nested = {"properties": {"x": {"items": {"$ref": "#/$defs/d0"}}}, **doubling(40, keyword)}
    assert Validator({**nested, "$ref": "#/$defs/d40"}).unusable


def test_such_an_input_is_refused_with_its_reason() -> None:
    tasks = [{"id": "a", "tool": "s:t", "arguments": {"x": "$INPUT.x"}}]
    with pytest.raises(WorkflowError, match="more than 10,000 subschemas"):
        Workflow.load({"tasks": tasks, "inputs": {"x": doubling(40)}})
    with pytest.raises(WorkflowError, match="a match for the pattern"):
        complete_inputs({"x": {"type": "string", "pattern": "^(a+)+$"}}, {"x": SLOW}, "w")


def test_the_items_of_a_large_array_are_compared_by_their_hash() -> None:
    validator = Validator({"uniqueItems": True})
    items: list[Any] = [{"id": number, "tags": [{"x": number}]} for number in range(30_000)]
    assert validator.fits(items)
    assert not validator.fits([*items, {"tags": [{"x": 5}], "id": 5}])
