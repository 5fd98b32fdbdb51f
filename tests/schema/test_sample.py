"""Values that fit a schema, made up."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings

from orchestrator.schema.sample import NoSampleError, sample
from orchestrator.schema.validator import Validator
from tests.schema.random_schemas import SCHEMAS
from tests.schema.test_coercion import anything

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, "text"),
        ({}, "text"),
        ({"const": 7}, 7),
        ({"const": None}, None),
        ({"enum": [None, "b", "c"]}, "b"),
        ({"enum": [None]}, None),
        ({"type": "string", "examples": ["Oslo"], "default": "Rome"}, "Oslo"),
        ({"type": "string", "default": "Rome"}, "Rome"),
        ({"type": "string", "examples": [3]}, "text"),  # an example that does not fit
        ({"type": "null"}, None),
        ({"type": "boolean"}, True),
        ({"type": ["null", "integer"]}, 1),
        ({"type": ["null"]}, None),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"minimum": 2.5}, 2.5),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "text"),
        ({"type": "array"}, ["text"]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "array", "maxItems": 0}, []),
        ({"type": "array", "items": False}, []),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": "b"}]}, [1, "b"]),
        ({"type": "array", "items": [{"const": 1}], "minItems": 2, "maxItems": 2}, None),
        (PERSON, {"name": "text", "age": 18}),
        ({"required": ["a"]}, {"a": "text"}),
        ({"required": ["x-1"], "patternProperties": {"^x-": {"const": 1}}}, {"x-1": 1}),
        ({"required": ["y"], "patternProperties": {"[": {}, "^x-": {}}}, None),
        ({"properties": {"a": False, "b": {"const": 1}}}, {"b": 1}),
        ({"$ref": "#/$defs/p", "$defs": {"p": PERSON}}, {"name": "text", "age": 18}),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"anyOf": [False, {"type": "integer"}]}, 1),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}, {"type": "string"}]}, "text"),
        ({"allOf": [{"minimum": 3}, {"maximum": 9}, {"type": "number"}]}, 3),
        ({"allOf": [{"type": "number"}, {"type": "integer"}, True]}, 1),
        ({"allOf": [{"maximum": -5}, {"maximum": -7}]}, -7),
        ({"allOf": [{"title": "a"}, {"title": "b"}]}, "text"),
        ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, 2),
        ({"allOf": [{"minLength": 5}, {"minLength": 6}, {"maxLength": 9}]}, "textxx"),
        (
            {"allOf": [PERSON, {"properties": {"age": {"const": 20}}, "required": ["age"]}]},
            {"name": "text", "age": 20},
        ),
    ],
)
def test_a_sample_fits_its_schema(schema: Any, value: Any) -> None:
    try:
        made = sample(schema)
    except NoSampleError:
        assert value is None  # of these, only that nothing is given out that does not fit
        return
    assert made == value
    assert Validator(schema).fits(made)


def test_a_schema_that_leads_in_circles_ends_where_it_may() -> None:
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "children"],
            }
        },
    }
    assert sample(tree) == {"name": "text", "children": []}


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        (False, "allows no value"),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "required": ["y"],
                "patternProperties": {"[": {}},
            },
            "cannot be used",
        ),
        ({"type": 3}, "cannot be used"),
        ({"$ref": "#"}, "leads in circles"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads in circles"),
        ({"allOf": [{"type": "string"}, False]}, "allows no value"),
        ({"anyOf": [False, False]}, "allows no value"),
        ({"oneOf": [{"type": "integer"}, {"type": "integer"}]}, '"oneOf"'),
        ({"properties": {"a": False}, "required": ["a"]}, "allows no value"),
        ({"items": False, "minItems": 1}, "allows no value"),
        ({"minimum": 5, "maximum": 1}, '"minimum"'),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, '"type"'),
        ({"type": "string", "pattern": "^x[0-9] y$"}, '"pattern"'),
        ({"type": "string", "minLength": 10**6}, "too long"),
        ({"not": {}}, '"not"'),
        ({"type": "string", "pattern": "(?<="}, "cannot be used"),
        ({"allOf": [{"type": "string"}, {"type": ["null", "array"]}]}, "allows no value"),
        ({"type": "array", "minItems": 10**6}, "very large"),
        ({"type": "number", "minimum": 10**400}, "out of all bounds"),
        ({"items": {"type": "integer"}, "uniqueItems": True, "minItems": 2}, '"uniqueItems"'),
        ({"type": "array", "contains": {"const": 9}}, '"contains"'),
        ({"minProperties": 2, "additionalProperties": {"const": 1}}, '"minProperties"'),
    ],
)
def test_where_no_sample_is_found_it_is_said_why(schema: Any, fault: str) -> None:
    with pytest.raises(NoSampleError) as caught:
        sample(schema)
    assert fault in str(caught.value)


def test_the_same_schema_gives_the_same_value() -> None:
    schema = {"properties": {name: {"type": "string"} for name in "zyx"}}
    assert json.dumps(sample(schema)) == json.dumps(sample(dict(schema)))


@settings(max_examples=200)
@given(SCHEMAS | anything)
def test_of_whatever_schema_a_sample_fits_or_it_is_said_why(schema: Any) -> None:
    with suppress(NoSampleError):
        assert Validator(schema).fits(sample(schema))
