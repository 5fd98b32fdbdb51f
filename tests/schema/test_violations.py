"""What is said of values that do not fit: the place, what is wanted, and what is there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from orchestrator.documents.jsonpath import describe
from orchestrator.engine.decide import check_arguments
from orchestrator.errors import CallError, InvalidArgumentsError
from orchestrator.expressions.references import Compiler
from orchestrator.schema.tool import Tool
from orchestrator.schema.validator import Validator
from orchestrator.schema.violations import MAX_ERRORS, MAX_EXPECTED, check_output, first_violations
from tests.schema.random_schemas import SCHEMAS, VALUES
from tests.schema.test_coercion import anything

pytestmark = pytest.mark.untraced

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
    return [each.sentence() for each in first_violations(Validator(schema), value)]


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
        ({"type": "string"}, 5, "expected string, got integer 5"),
        ({"type": ["integer", "null"]}, "5", 'expected integer or null, got string "5"'),
        ({"items": {"type": "object"}}, [1], "expected object, got integer 1 at [0]"),
        ({"type": "boolean"}, {"b": 1}, f"expected boolean, got {describe({'b': 1})}"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "5",
            'expected integer or null, got "5"',
        ),
        (
            {"anyOf": [{"minimum": 3}, {"maximum": 1}]},
            2,
            'expected a value that satisfies anyOf [{"minimum": 3}, {"maximum": 1}], got 2',
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            2,
            'expected a value that satisfies oneOf [{"type": "integer"}, '
            '{"type": "number"}], got 2',
        ),
        (
            {"enum": ["red", "green", 3]},
            "gren",
            'expected one of "red", "green", 3, got "gren" (did you mean "green"?)',
        ),
        ({"enum": [1, 2]}, "x", 'expected one of 1, 2, got "x"'),
        ({"enum": ["1"]}, 1, 'expected "1", got 1'),
        (
            {"enum": list(range(12))},
            -1,
            "expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or 2 more, got -1",
        ),
        ({"const": "a"}, "b", 'expected "a", got "b"'),
        ({"const": "a"}, None, 'expected "a", got null'),
        ({"minimum": 1}, 0, "expected at least 1, got 0"),
        ({"maximum": 10}, 11, "expected at most 10, got 11"),
        ({"exclusiveMinimum": 1}, 1, "expected more than 1, got 1"),
        ({"exclusiveMaximum": 1.5}, 1.5, "expected less than 1.5, got 1.5"),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "minimum": 1,
                "exclusiveMinimum": True,
            },
            1,
            "expected more than 1, got 1",
        ),
        ({"multipleOf": 5}, 3, "expected a multiple of 5, got 3"),
        ({"pattern": "^a"}, "b", 'expected a match for the pattern "^a", got "b"'),
        ({"minLength": 2}, "b", 'expected at least 2 characters, got "b"'),
        ({"maxLength": 1}, "bcd", 'expected at most 1 character, got "bcd"'),
        ({"minItems": 1}, [], "expected at least 1 item, got empty array"),
        ({"maxItems": 0}, [1, 2], "expected at most 0 items, got array of 2 items"),
        ({"minProperties": 1}, {}, "expected at least 1 property, got empty object"),
        (
            {"maxProperties": 0},
            {"a": 1},
            f"expected at most 0 properties, got {describe({'a': 1})}",
        ),
        ({"uniqueItems": True}, [1, 1], "expected unique items, got array of 2 items"),
        (False, 1, "expected no value, got 1"),
        (
            {"properties": {"a": False}},
            {"a": "x"},
            'expected no value, got "x" at .a',
        ),
        (
            {"not": {"type": "string"}},
            "x",
            'expected a value that satisfies not {"type": "string"}, got "x"',
        ),
        (
            {"contains": {"const": 9}},
            [1],
            'expected a value that satisfies contains {"const": 9}, got array of 1 item',
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, 'missing property "b"'),
        (
            {"const": "x" * 100},
            "y",
            f'expected "{"x" * 56}..., got "y"',
        ),
        ({"const": 1}, "y" * 100, f'expected 1, got "{"y" * 57}..."'),
    ],
)
def test_each_keyword_has_its_words(schema: Any, value: Any, sentence: str) -> None:
    assert said(schema, value) == [sentence]


def test_a_property_that_is_missing_or_unexpected_is_named_with_what_is_meant() -> None:
    schema = {
        "properties": {"name": {}, "count": {}},
        "required": ["name", "count"],
    }
    assert said(schema, {"nmae": 1}) == [
        'missing property "name" (misspelled as "nmae"?)',
        'missing property "count"',
    ]
    closed = {**schema, "additionalProperties": False, "patternProperties": {"^x-": {}}}
    assert sorted(said(closed, {"nmae": 1, "x-y": 2, "zzz": 3})) == [
        'missing property "count"',
        'missing property "name"',
        'unexpected property "nmae" (did you mean "name"?)',
        'unexpected property "zzz"',
    ]
    assert said({"items": schema}, [{"name": 1, "odd key": 2}]) == [
        'missing property "count" at [0]'
    ]
    assert said({"unevaluatedProperties": False}, {"a": 1}) == ['unexpected property "a"']


def test_a_wrong_argument_is_named_with_its_path_and_what_was_given() -> None:
    refused = refusal(FORECAST, {"city": 5, "days": "soon"})
    assert str(refused) == (
        "the arguments do not fit weather:forecast: expected string, got integer 5 at .city; "
        'expected integer, got string "soon" at .days'
    )
    assert refused.error.details["errors"] == [
        {
            "path": ".city",
            "message": "expected string, got integer 5 at .city",
            "keyword": "type",
            "expected": "string",
        },
        {
            "path": ".days",
            "message": 'expected integer, got string "soon" at .days',
            "keyword": "type",
            "expected": "integer",
        },
    ]


def test_a_missing_or_unknown_argument_is_told_with_the_signature() -> None:
    assert str(refusal(FORECAST, {"citty": "Oslo"})) == (
        "the arguments do not fit weather:forecast(city: string, days: integer = 3, "
        'unit?: "celsius" | "fahrenheit"): '
        'missing property "city" (misspelled as "citty"?)'
    )
    assert str(refusal(closed(FORECAST), {"city": "Oslo", "untl": 3})) == (
        "the arguments do not fit weather:forecast(city: string, days: integer = 3, "
        'unit?: "celsius" | "fahrenheit"): '
        'unexpected property "untl" (did you mean "unit"?)'
    )


def test_a_long_signature_is_cut() -> None:
    names = [f"argument_{number}" for number in range(100)]
    tool = Tool("s", "t", {"properties": {name: {} for name in names}, "required": names[:1]})
    message = str(refusal(tool, {}))
    assert message.startswith("the arguments do not fit s:t(argument_0: any, argument_1?: any")
    assert message.endswith('...): missing property "argument_0"')
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
        "expected string, got integer 5 from $OUTPUT[a].count at .a; "
        'expected integer, got string "2" from [1].n of ${OUTPUT[b].rows[?ok]} at .rows[1].n; '
        "expected string, got null from $INPUT.y at .list[1]; "
        'expected at most 3 characters, got "it is so" at .text; '
        "expected string, got integer 3 at .plain"
    )
    computed = Tool("s", "t", {"properties": {"key": {"type": "string"}}})
    assert str(refusal(computed, value, template)).endswith(
        "expected string, got integer 1 at .key"
    )
    whole = Tool("s", "t", {"maxProperties": 0})
    assert ", got object with " in str(refusal(whole, value, template))


def test_of_many_mistakes_the_first_are_told() -> None:
    tool = Tool("s", "t", {"items": {"type": "string"}, "type": "array"})
    refused = refusal(tool, list(range(MAX_ERRORS + 5)))
    assert str(refused).count("expected string") == MAX_ERRORS
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
        'expected number, got string "Infinity" at [1].score; missing property "score" at [2]'
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


@settings(max_examples=300)
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


OPTIONAL = {"type": "object", "properties": {"q": {}, "limit": {}, "maxResults": {}, "day_2": {}}}


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"limt": 3}, "limit"),
        ({"Limit": 3}, "limit"),
        ({"limits": 3, "q": 1}, "limit"),
        ({"max_results": 3}, "maxResults"),
        ({"limt": 3, "limit": 4}, ""),  # it is given: most servers ignore the other
        ({"day_1": 3}, ""),  # another name of its kind
        ({"verbose": True}, ""),
        ({"limit": 3}, ""),
    ],
)
def test_a_misspelled_optional_argument_is_refused(arguments: Any, meant: str) -> None:
    tool = Tool("s", "t", OPTIONAL)
    for schema in (OPTIONAL | {"additionalProperties": True}, {"type": "object"}):
        check_arguments(Tool("s", "t", schema), arguments)  # it says that it allows others
    patterns = OPTIONAL | {"patternProperties": {"": {}}}
    check_arguments(Tool("s", "t", patterns), arguments)
    if not meant:
        check_arguments(tool, arguments)
        return
    with pytest.raises(InvalidArgumentsError) as caught:
        check_arguments(tool, arguments)
    name = next(iter(arguments))
    advice = f'unexpected property "{name}" (did you mean "{meant}"?)'
    assert advice in str(caught.value)
    assert [each["path"] for each in caught.value.error.details["errors"]] == [f".{name}"]
