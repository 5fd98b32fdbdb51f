"""Types meet at the call: only where it is certain, and only what is exactly JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.schema.coercion import ALL_TYPES, Conversion, Types, convert, json_type
from orchestrator.schema.tool import Tool
from tests.documents.test_jsonpath import values

pytestmark = pytest.mark.untraced


def types_at(schema: Any, path: tuple[str | int, ...]) -> Types:
    return Tool("s", "t", schema).types_at(path)


def converted(value: Any, schema: Any) -> Any:
    arguments = {"x": value}
    made = convert(arguments, [("x",)], Tool("s", "t", {"properties": {"x": schema}}).types_at)
    assert bool(made) == (arguments["x"] is not value)
    return arguments["x"]


NUMBER, INTEGER, BOOLEAN = {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
ARRAY, OBJECT, STRING = {"type": "array"}, {"type": "object"}, {"type": "string"}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", NUMBER, 5),
        ("5", INTEGER, 5),
        ("-0.5", NUMBER, -0.5),
        ("1e3", NUMBER, 1000.0),
        ("1e3", INTEGER, 1000),
        ("2.0", INTEGER, 2),
        ("2.0", {"type": ["integer", "number"]}, 2.0),
        ("true", BOOLEAN, True),
        ("false", BOOLEAN, False),
        ('[1, {"a": 2}]', ARRAY, [1, {"a": 2}]),
        ('{"a": "b"}', OBJECT, {"a": "b"}),
        ("5", {"type": ["integer", "null"]}, 5),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5),
        ("5", {"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, 5),
        ("5", {"allOf": [{"minimum": 1}, {"type": "number"}]}, 5),
        ("5", {"enum": [1, 5]}, 5),
        ("true", {"const": True}, True),
    ],
)
def test_a_text_becomes_what_the_tool_wants(text: str, schema: Any, value: Any) -> None:
    found = converted(text, schema)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        *((text, NUMBER) for text in (" 5", "5 ", "5\n", "\u00a05", "007", "+5", "1_000", "0x1F")),
        *((text, NUMBER) for text in ("", "five", "٣", "1.", ".5", "Infinity", "NaN", "1e999")),
        *((text, NUMBER) for text in ("true", "[5]", '"5"', "null", "9" * 5000, "5 5")),
        ("2.5", INTEGER),
        ("True", BOOLEAN),
        ("1", BOOLEAN),
        ("null", {"type": ["integer", "null"]}),
        ("{'a': 1}", OBJECT),
        ('{"a": 1, "a": 2}', OBJECT),
        ('["\\ud800"]', ARRAY),
        ("[" * 5000 + "]" * 5000, ARRAY),
        ("[1]", OBJECT),
        ("5", STRING),
        ("5", {}),
        ("5", True),
        ("5", False),
        ("5", {"type": "null"}),
        ("5", {"type": ["string", "integer"]}),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("5", {"anyOf": [{"type": "integer"}, {}]}),
        ("5", {"enum": [5, "5"]}),
        ("5", {"type": "integer", "const": "x"}),
        ("5", {"not": {"type": "string"}}),
    ],
)
def test_any_other_text_stays_text(text: str, schema: Any) -> None:
    assert converted(text, schema) is text


@pytest.mark.parametrize(
    ("value", "schema", "text"),
    [
        (5, STRING, "5"),
        (1.5, STRING, "1.5"),
        (True, STRING, "true"),
        (False, {"type": ["string", "null"]}, "false"),
        (5, {"enum": ["5", "6"]}, "5"),
        (5, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "5"),
    ],
)
def test_a_number_or_boolean_becomes_text_where_text_alone_is_wanted(
    value: Any, schema: Any, text: str
) -> None:
    assert converted(value, schema) == text


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, 5, True])
@pytest.mark.parametrize("schema", [{}, NUMBER, {"type": ["string", "integer"]}, OBJECT])
def test_any_other_value_stays_itself(value: Any, schema: Any) -> None:
    assert converted(value, schema) is value


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_what_is_no_scalar_never_becomes_text(value: Any) -> None:
    assert converted(value, STRING) is value


def test_what_was_converted_is_told() -> None:
    arguments = {"a": [{"b": "5"}], "c": 5, "d": "x", "e": "5"}
    schema = {
        "properties": {
            "a": {"type": "array", "items": {"properties": {"b": NUMBER}}},
            "c": STRING,
            "d": NUMBER,
            "e": NUMBER,
        }
    }
    made = convert(arguments, [("a", 0, "b"), ("c",), ("d",)], Tool("s", "t", schema).types_at)
    assert arguments == {"a": [{"b": 5}], "c": "5", "d": "x", "e": "5"}
    assert made == (
        Conversion(".a[0].b", "string", "integer"),
        Conversion(".c", "integer", "string"),
    )


def test_a_place_under_a_computed_name_is_left_alone() -> None:
    arguments = {"Paris": "5", "Rome": {"x": "5"}}
    places = [("$INPUT.city",), ("$INPUT.other", "x")]
    schema = {"additionalProperties": {"type": "integer"}}
    assert convert(arguments, places, Tool("s", "t", schema).types_at) == ()


MODEL = {"type": "object", "properties": {"n": INTEGER, "next": {"$ref": "#/$defs/Model"}}}


@pytest.mark.parametrize(
    ("schema", "place", "types"),
    [
        ({}, ("x",), ALL_TYPES),
        (True, ("x",), ALL_TYPES),
        ({"properties": {"x": INTEGER}}, ("x",), {"integer"}),
        ({"properties": {"x": INTEGER}}, ("y",), set()),
        ({"additionalProperties": INTEGER}, ("y",), {"integer"}),
        ({"additionalProperties": False}, ("y",), set()),
        ({"patternProperties": {"^y": STRING}, "additionalProperties": False}, ("y",), {"string"}),
        # items
        ({"items": INTEGER}, (0,), {"integer"}),
        ({"prefixItems": [STRING], "items": INTEGER}, (0,), {"string"}),
        ({"prefixItems": [STRING], "items": INTEGER}, (1,), {"integer"}),
        ({"items": [STRING, INTEGER]}, (1,), {"integer"}),
        ({"items": [STRING]}, (1,), ALL_TYPES),
        # what cannot hold the place does not count
        ({"anyOf": [{"properties": {"x": INTEGER}}, {"type": "null"}]}, ("x",), {"integer"}),
        ({"anyOf": [{"items": INTEGER}, STRING]}, (0,), {"integer"}),
        ({"anyOf": [{"items": INTEGER}, {"items": STRING}]}, (0,), {"integer", "string"}),
        # what is required elsewhere does not hide what stands beside it
        ({"properties": {"x": INTEGER}, "anyOf": [{"required": ["x"]}, {}]}, ("x",), {"integer"}),
        ({"allOf": [{"properties": {"x": INTEGER}}, {"properties": {}}]}, ("x",), {"integer"}),
        # references
        ({"$ref": "#/$defs/Model", "$defs": {"Model": MODEL}}, ("n",), {"integer"}),
        (
            {"$ref": "#/$defs/Model", "$defs": {"Model": MODEL}},
            ("next", "next", "next", "n"),
            {"integer"},
        ),
        ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": INTEGER}}, (), {"integer"}),
        ({"properties": {"a": {"anyOf": [INTEGER]}, "b": {"$ref": "#/properties/a/anyOf/0"}}},
         ("b",), {"integer"}),
        ({"properties": {"x": {"$ref": "#"}}, "type": "object"}, ("x",), {"object"}),
        ({"$ref": "#/nowhere/at/all"}, (), ALL_TYPES),
        ({"$ref": "#anchor", "type": "integer"}, (), {"integer"}),
        ({"$ref": "https://example.com/schema", "type": "integer"}, (), {"integer"}),
        ({"$ref": 5}, (), ALL_TYPES),
        ({"$ref": "#/type/9", "type": ["integer"]}, (), {"integer"}),
        ({"$ref": "#"}, (), ALL_TYPES),
        ({"anyOf": [{"$ref": "#"}, INTEGER]}, (), ALL_TYPES),
        # whatever servers send
        ({"type": 5, "enum": 5, "anyOf": {}, "allOf": "x", "properties": []}, ("x",), ALL_TYPES),
        ({"type": [5, "integer"]}, (), {"integer"}),
        ({"items": 5, "prefixItems": 5}, (0,), ALL_TYPES),
        ({"enum": []}, (), ALL_TYPES),
        (5, ("x",), ALL_TYPES),
    ],
)  # fmt: skip
def test_a_schema_tells_the_types_at_a_place(
    schema: Any, place: tuple[str | int, ...], types: set[str]
) -> None:
    assert types_at(schema, place) == types


def test_a_schema_that_fans_out_in_circles_is_read_once() -> None:
    fan = {"anyOf": [{"$ref": f"#/$defs/{n}"} for n in range(40)]}
    schema = {"$defs": {str(n): fan for n in range(40)}, "$ref": "#/$defs/0"}
    assert types_at(schema, ("a", "b", 0)) == ALL_TYPES


def test_a_schema_that_is_nested_too_deep_says_nothing() -> None:
    schema: Any = INTEGER
    for _ in range(5000):
        schema = {"allOf": [schema]}
    assert types_at(schema, ()) == ALL_TYPES


@given(values)
def test_every_json_value_has_its_type_back_from_its_text(value: Any) -> None:
    kind = json_type(value)
    text = json.dumps(value)
    wanted = converted(text, {"type": kind})
    assert wanted == (text if kind in ("string", "null") else value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["integer", "string", "#", "#/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "x",
                    "items",
                    "anyOf",
                    "allOf",
                    "$ref",
                    "enum",
                    "prefixItems",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(anything, st.sampled_from([(), ("x",), ("x", 0), (0, "x")]))
def test_no_schema_breaks_the_reading(schema: Any, place: tuple[str | int, ...]) -> None:
    assert types_at(schema, place) is not None


@pytest.mark.parametrize("values", [{"const": 2}, {"enum": [1, 2]}, {"const": 2.0}])
def test_text_becomes_a_number_beside_the_values_of_it(values: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"a": "2"}
    schema = {"properties": {"a": {"type": "number", **values}}}
    assert convert(arguments, [("a",)], Tool("s", "t", schema).types_at)
    assert arguments == {"a": 2}
