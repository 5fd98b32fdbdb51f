"""What is said of values that do not fit: the place, what is wanted, and what is there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from orchestrator.engine.decide import check_arguments
from orchestrator.errors import CallError, InvalidArgumentsError
from orchestrator.expressions.references import Compiler
from orchestrator.schema.tool import Tool
from orchestrator.schema.validator import Validator
from orchestrator.schema.violations import MAX_ERRORS, MAX_EXPECTED, check_output, violations
from tests.schema.random_schemas import SCHEMAS, VALUES
from tests.schema.test_coercion import anything

FORECAST = Tool(
    "weather",
    "forecast",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "default": 3},
            "unit": {"enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
)


def said(schema: Any, value: Any) -> list[str]:
    return [each.sentence(", not that") for each in violations(Validator(schema), value, 20)]


def refusal(tool: Tool, arguments: Any, template: Any = None) -> InvalidArgumentsError:
    made = None if template is None else Compiler().compile(template)
    with pytest.raises(InvalidArgumentsError) as caught:
        check_arguments(tool, arguments, made)
    error = caught.value.error
    assert (error.kind, error.retryable) == ("invalid_arguments", False)
    assert error.details["tool"] == tool.target
    return caught.value


def closed(tool: Tool) -> Tool:
    schema = {**tool.input_schema, "additionalProperties": False}
    return Tool(tool.server, tool.name, schema)


@pytest.mark.parametrize(
    ("schema", "value", "sentence"),
    [
        ({"type": "string"}, 5, "the whole has to be a string, not that"),
        ({"type": ["integer", "null"]}, "5", "the whole has to be an integer or null, not that"),
        ({"items": {"type": "object"}}, [1], "[0] has to be an object, not that"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "5",
            "the whole has to be an integer or null, not that",
        ),
        (
            {"anyOf": [{"minimum": 3}, {"maximum": 1}]},
            2,
            "the whole has to fit 'anyOf' of its schema, which is "
            '[{"minimum": 3}, {"maximum": 1}], not that',
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            2,
            "the whole has to fit 'oneOf' of its schema, which is "
            '[{"type": "integer"}, {"type": "number"}], not that',
        ),
        (
            {"enum": ["red", "green", 3]},
            "gren",
            'the whole has to be one of "red", "green", 3, not that; did you mean \'green\'?',
        ),
        ({"enum": [1, 2]}, "x", "the whole has to be one of 1, 2, not that"),
        (
            {"enum": list(range(12))},
            -1,
            "the whole has to be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or 2 more, not that",
        ),
        ({"const": "a"}, "b", 'the whole has to be "a", not that'),
        ({"minimum": 1}, 0, "the whole has to be at least 1, not that"),
        ({"maximum": 1}, 2, "the whole has to be at most 1, not that"),
        ({"exclusiveMinimum": 1}, 1, "the whole has to be more than 1, not that"),
        ({"exclusiveMaximum": 1}, 1, "the whole has to be less than 1, not that"),
        ({"multipleOf": 5}, 3, "the whole has to be a multiple of 5, not that"),
        ({"pattern": "^a"}, "b", 'the whole has to match the pattern "^a", not that'),
        ({"minLength": 2}, "b", "the whole has to have at least 2 characters, not that"),
        ({"maxLength": 2}, "bcd", "the whole has to have at most 2 characters, not that"),
        ({"minItems": 1}, [], "the whole has to have at least 1 items, not that"),
        ({"maxItems": 1}, [1, 2], "the whole has to have at most 1 items, not that"),
        ({"minProperties": 1}, {}, "the whole has to have at least 1 members, not that"),
        ({"maxProperties": 0}, {"a": 1}, "the whole has to have at most 0 members, not that"),
        (
            {"uniqueItems": True},
            [1, 1],
            "the whole has to have no two items that are alike, not that",
        ),
        (False, 1, "the whole has to hold nothing that its schema forbids, not that"),
        (
            {"not": {"type": "string"}},
            "x",
            'the whole has to fit \'not\' of its schema, which is {"type": "string"}, not that',
        ),
        (
            {"const": "x" * 100},
            "y",
            f'the whole has to be "{"x" * 56}..., not that',
        ),
    ],
)
def test_each_keyword_has_its_words(schema: Any, value: Any, sentence: str) -> None:
    assert said(schema, value) == [sentence]


def test_a_member_that_is_missing_or_unknown_is_named_with_what_is_meant() -> None:
    schema = {
        "properties": {"name": {}, "count": {}},
        "required": ["name", "count"],
    }
    assert said(schema, {"nmae": 1}) == [
        ".name is missing; is 'nmae' meant for it?",
        ".count is missing",
    ]
    closed = {**schema, "additionalProperties": False, "patternProperties": {"^x-": {}}}
    assert said(closed, {"nmae": 1, "x-y": 2, "zzz": 3}) == [
        ".name is missing",
        ".count is missing",
        '.nmae is unknown. Did you mean "name"?',
        ".zzz is unknown",
    ]
    assert said({"items": schema}, [{"name": 1, "odd key": 2}]) == ["[0].count is missing"]


def test_a_wrong_argument_is_named_with_its_path_and_what_was_given() -> None:
    refused = refusal(FORECAST, {"city": 5, "days": "soon"})
    assert str(refused) == (
        "the arguments do not fit weather:forecast: .city has to be a string, not the number 5; "
        ".days has to be an integer, not the text 'soon'"
    )
    assert refused.error.details["errors"] == [
        {
            "path": ".city",
            "message": ".city has to be a string, not the number 5",
            "keyword": "type",
            "expected": "string",
        },
        {
            "path": ".days",
            "message": ".days has to be an integer, not the text 'soon'",
            "keyword": "type",
            "expected": "integer",
        },
    ]


def test_a_missing_or_unknown_argument_is_told_with_the_signature() -> None:
    assert str(refusal(FORECAST, {"citty": "Oslo"})) == (
        "the arguments do not fit weather:forecast(city: string, days: integer = 3, "
        'unit?: "celsius" | "fahrenheit"): '
        ".city is missing; is 'citty' meant for it?"
    )
    assert str(refusal(closed(FORECAST), {"city": "Oslo", "untl": 3})) == (
        "the arguments do not fit weather:forecast(city: string, days: integer = 3, "
        'unit?: "celsius" | "fahrenheit"): '
        '.untl is unknown. Did you mean "unit"?'
    )


def test_a_long_signature_is_cut() -> None:
    names = [f"argument_{number}" for number in range(100)]
    tool = Tool("s", "t", {"properties": {name: {} for name in names}, "required": names[:1]})
    message = str(refusal(tool, {}))
    assert message.startswith("the arguments do not fit s:t(argument_0: any, argument_1?: any")
    assert message.endswith("...): .argument_0 is missing")
    assert len(message) < 400


def test_the_reference_that_gave_a_wrong_value_is_named() -> None:
    schema = {
        "properties": {
            "a": {"type": "string"},
            "rows": {"items": {"properties": {"n": {"type": "integer"}}}},
            "list": {"items": {"type": "string"}},
            "text": {"maxLength": 3},
            "plain": {"type": "string"},
        }
    }
    template = {
        "a": "$OUTPUT[a].count",
        "rows": "${OUTPUT[b].rows[?ok]}",
        "list": ["x", "$INPUT.y"],
        "text": "it is $INPUT.y",
        "plain": 3,
        "$INPUT.z": 1,
    }
    value = {
        "a": 5,
        "rows": [{"n": 1}, {"n": "2"}],
        "list": ["x", None],
        "text": "it is so",
        "plain": 3,
        "key": 1,
    }
    assert str(refusal(Tool("s", "t", schema), value, template)) == (
        "the arguments do not fit s:t: "
        ".a has to be a string, and $OUTPUT[a].count gave the number 5; "
        ".rows[1].n has to be an integer, and ${OUTPUT[b].rows[?ok]} gave the text '2' at [1].n; "
        ".list[1] has to be a string, and $INPUT.y gave null; "
        ".text has to have at most 3 characters, not the text 'it is so'; "
        ".plain has to be a string, not the number 3"
    )
    computed = Tool("s", "t", {"properties": {"key": {"type": "string"}}})
    assert str(refusal(computed, value, template)).endswith(
        ".key has to be a string, not the number 1"
    )
    whole = Tool("s", "t", {"maxProperties": 0})
    assert ", not an object with " in str(refusal(whole, value, template))


def test_of_many_mistakes_the_first_are_told() -> None:
    tool = Tool("s", "t", {"items": {"type": "string"}, "type": "array"})
    refused = refusal(tool, list(range(MAX_ERRORS + 5)))
    assert str(refused).count("has to be") == MAX_ERRORS
    assert str(refused).endswith("; and more")
    assert len(refused.error.details["errors"]) == MAX_ERRORS


def test_long_values_and_schemas_make_no_long_message() -> None:
    choices = ["x" * 100] * 100
    tool = Tool("s", "t", {"properties": {"a": {"enum": choices}, "b": {"maxLength": 1}}})
    refused = refusal(tool, {"a": "y" * 10_000, "b": "z" * 10_000})
    assert len(str(refused)) < 1200
    wanted = [each["expected"] for each in refused.error.details["errors"]]
    assert wanted == [None, 1]
    assert len(str(choices)) > MAX_EXPECTED


def test_arguments_that_fit_and_schemas_that_cannot_be_used_are_not_refused() -> None:
    check_arguments(FORECAST, {"city": "Oslo", "more": 1})
    broken = {"properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/nowhere"}}}
    for schema in ({}, {"type": "strin"}, {"$ref": "https://example.com/x"}, broken):
        check_arguments(Tool("s", "t", schema), {"a": 5, "b": 5})


def test_an_output_that_does_not_fit_is_kept_in_its_error() -> None:
    gives = {"properties": {"score": {"type": "number"}}, "required": ["score"]}
    tool = Tool("s", "t", {}, output_schema={"items": gives, "type": "array"})
    output = [{"score": 1}, {"score": "Infinity"}, {}]
    with pytest.raises(CallError) as caught:
        check_output(tool, output, lambda value: value)
    assert str(caught.value) == (
        "the output of s:t does not fit its outputSchema: "
        "[1].score has to be a number, not the text 'Infinity'; [2].score is missing"
    )
    error = caught.value.error
    assert (error.kind, error.retryable) == ("output_invalid", False)
    assert error.details["output"] is output
    assert [each["path"] for each in error.details["errors"]] == ["[1].score", "[2].score"]
    check_output(tool, [])
    check_output(FORECAST, output)


def test_a_large_output_is_not_in_the_message() -> None:
    tool = Tool("s", "t", {}, output_schema={"type": "object"})
    with pytest.raises(CallError) as caught:
        check_output(tool, "x" * 1_000_000)
    assert len(str(caught.value)) < 200
    assert caught.value.error.details["output"] == "x" * 1_000_000


def test_a_tool_has_one_validator_for_each_of_its_schemas() -> None:
    assert FORECAST.accepts is FORECAST.accepts
    assert FORECAST.gives is None
    same = Tool("weather", "forecast", FORECAST.input_schema)
    assert same == FORECAST
    assert same.accepts is not FORECAST.accepts
    assert "validator" not in repr(same)


@settings(deadline=None, max_examples=300)
@given(SCHEMAS | anything, VALUES)
def test_whatever_does_not_fit_whatever_schema_is_one_short_error(schema: Any, value: Any) -> None:
    try:
        check_output(Tool("s", "t", {}, output_schema=schema), value)
    except CallError as failure:
        error = failure.error
        assert error.kind == "output_invalid"
        assert error.details["output"] == value
        assert len(error.message) < 3000
        assert json.loads(json.dumps(error.to_dict())) == error.to_dict()
