"""What fits for certain fits, by the `jsonschema` library too, in whatever dialect."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import (
    Draft4Validator,
    Draft7Validator,
    Draft202012Validator,
    SchemaError,
)
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from orchestrator.schema.certainty import Certainty

DIALECTS = (Draft4Validator, Draft7Validator, Draft202012Validator)
CITY = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "title": "Arguments",
    "properties": {
        "city": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "days": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]},
        "unit": {"enum": ["C", "F", 0, None], "default": "C"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2},
        "more": {"type": "object", "additionalProperties": {"type": ["number", "boolean"]}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"tag": {"allOf": [{"type": "string"}, {"maxLength": 3}]}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"city": "Oslo"},
        {"city": "Oslo", "days": 3, "unit": "F", "tags": ["a", "b"], "more": {"x": 1, "y": 1.5}},
        {"city": "Oslo", "days": None, "unit": None, "more": {"x": True}},
        {"city": "Oslo", "unit": 0, "tags": []},
    ],
)
def test_what_is_right_by_an_ordinary_schema_is_certain(value: Any) -> None:
    assert Certainty(CITY).fits(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"city": ""},
        {"city": "oslo"},
        {"city": 5},
        {"city": "Oslo", "days": 10},
        {"city": "Oslo", "days": 0},
        {"city": "Oslo", "days": True},
        {"city": "Oslo", "days": 2.5},
        {"city": "Oslo", "unit": "K"},
        {"city": "Oslo", "unit": False},
        {"city": "Oslo", "tags": ["abcd"]},
        {"city": "Oslo", "tags": ["a", "b", "c"]},
        {"city": "Oslo", "tags": "a"},
        {"city": "Oslo", "more": {"x": "1"}},
        {"city": "Oslo", "town": 1},
        [],
    ],
)
def test_what_is_wrong_is_not_certain(value: Any) -> None:
    assert not Certainty(CITY).fits(value)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        None,
        {"oneOf": [{}]},
        {"unheard": 1},
        {"anyOf": 5},
        {"enum": 5},
        {"pattern": "("},
        {"pattern": 5},
        {"properties": []},
        {"required": "a"},
        {"minimum": True},
        {"$ref": "#/nowhere"},
        {"$ref": "#/a~1b", "a/b": {}},
        {"$ref": "https://example.com/x"},
        {"$ref": 5},
        {"$ref": "#/type/x", "type": "string"},
        {"$ref": "#"},
        {"uniqueItems": True},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$id": "b"}}},
    ],
)
def test_a_schema_that_is_not_understood_makes_nothing_certain(schema: Any) -> None:
    assert not Certainty(schema).fits("text")


def test_a_schema_or_a_value_that_is_nested_too_deep_makes_nothing_certain() -> None:
    schema: Any = {"type": "string"}
    value: Any = "text"
    for _ in range(5000):
        schema, value = {"items": schema}, [value]
    assert not Certainty(schema).fits(value)
    assert not Certainty({"items": {"$ref": "#"}, "type": "array"}).fits(value)
    assert Certainty({"items": {"$ref": "#"}, "type": "array"}).fits([[[]], []])


def test_parts_of_other_schemas_are_not_mistaken_for_each_other() -> None:
    certainty = Certainty({"$defs": {"text": {"type": "string"}}})
    for _ in range(100):
        assert list(certainty.doubtful(["a", 1], {"$ref": "#/$defs/text"})) == [(1, 1)]
        assert list(certainty.doubtful(["a", 1], {"type": "integer"})) == [(0, "a")]


NAMES = st.sampled_from(["a", "b", "id"])
NUMBERS = st.sampled_from([0, 1, 2, 1.0, 2.5, -1])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "bb", "Abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
LEAVES = st.one_of(
    st.just({}),
    st.booleans(),
    st.builds(lambda kind: {"type": kind}, TYPES | st.lists(TYPES, min_size=1, unique=True)),
    st.builds(lambda one: {"const": one}, VALUES),
    st.builds(lambda some: {"enum": some}, st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(
        lambda keyword, limit: {keyword: limit},
        st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
        NUMBERS,
    ),
    st.builds(
        lambda keyword, limit: {keyword: limit},
        st.sampled_from(
            ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]
        ),
        st.sampled_from([0, 1, 2]),
    ),
    st.sampled_from(
        [
            {"pattern": "^[a-z]"},
            {"uniqueItems": True},
            {"uniqueItems": False},
            {"$ref": "#"},
            {"$ref": "#/$defs/a"},
            {"required": ["a"]},
            {"minimum": 1, "exclusiveMinimum": True},
            {"format": "date", "title": "a date"},
        ]
    ),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda one, other: {**_object(one), **_object(other)}, inner, inner),
        st.builds(lambda members: {"properties": members}, st.dictionaries(NAMES, inner)),
        st.builds(lambda member: {"additionalProperties": member}, inner),
        st.builds(lambda item: {"items": item}, inner | st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"allOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"oneOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"prefixItems": some}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda one: {"$defs": {"a": one}, "$ref": "#/$defs/a"}, inner),
    ),
    max_leaves=6,
)


def _object(schema: Any) -> dict[str, Any]:
    return schema if isinstance(schema, dict) else {}


@settings(deadline=None, max_examples=500)
@given(SCHEMAS, VALUES)
def test_what_is_certain_fits_in_every_dialect(schema: Any, value: Any) -> None:
    if not Certainty(schema).fits(value):
        return
    for dialect in DIALECTS:
        try:
            dialect.check_schema(schema)
            fits = dialect(schema, registry=EMPTY_REGISTRY).is_valid(value)
        except (SchemaError, Unresolvable, RecursionError, TypeError):
            continue  # it says nothing in this dialect
        assert fits


def test_a_call_that_is_right_does_not_import_the_library() -> None:
    code = (
        "import sys\nfrom orchestrator.schema.validator import Validator\n"
        "assert Validator({'type': 'string'}).fits('text')\n"
        "assert 'jsonschema' not in sys.modules\n"
        "assert not Validator({'type': 'string'}).fits(5)\n"
        "assert 'jsonschema' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
