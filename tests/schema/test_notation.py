"""Any JSON Schema, as servers send them, is a type that reads like one of TypeScript."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.schema.notation import LIMIT, literal, signature, tool_text, type_text
from orchestrator.schema.tool import Tool

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
TREE = {
    "$ref": "#/$defs/Tree",
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {
                "name": TEXT,
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
            "required": ["name"],
        }
    },
}


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        # What says nothing, or nothing that can be understood.
        (True, "any"),
        (False, "never"),
        ({}, "any"),
        (None, "any"),
        ([], "any"),
        ("string", "any"),
        ({"type": "strin"}, "any"),
        ({"type": 5}, "any"),
        ({"type": []}, "any"),
        ({"type": [{"type": "string"}, "null"]}, "any"),
        ({"type": "any"}, "any"),
        ({"description": "A value."}, "any"),
        # Scalars, with their formats and bounds.
        (TEXT, "string"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "null"}, "null"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "string", "format": "date-time"}, "string(date-time)"),
        ({"type": "string", "format": "date\n-time"}, "string(date\\u000a-time)"),
        ({"type": "string", "contentEncoding": "base64"}, "string(base64)"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "string(/^[a-z]+$/)"),
        ({"type": "string", "pattern": "^" + 40 * "a"}, "string"),
        ({"type": "string", "format": "uri", "maxLength": 9}, "string(uri, at most 9)"),
        ({"type": "integer", "minimum": 1, "maximum": 100}, "integer 1..100"),
        ({"type": "number", "minimum": 0.5}, "number 0.5.."),
        ({"type": "number", "maximum": 3.0}, "number ..3"),
        ({"type": "number", "exclusiveMinimum": 0}, "number >0"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number >0 <=1"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number >=0 <1"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, "number >0"),
        ({"type": "number", "exclusiveMinimum": True}, "number"),
        ({"type": "integer", "minimum": 1, "maximum": 2**53 - 1}, "integer 1.."),
        ({"type": "integer", "minimum": "1", "maximum": True}, "integer"),
        ({"type": "number", "minimum": math.nan, "maximum": math.inf}, "number"),
        ({"type": "integer", "maximum": 10**400}, "integer"),
        # Values.
        ({"const": "a"}, '"a"'),
        ({"enum": ["a", 1, None, "a"]}, '"a" | 1 | null'),
        ({"type": "string", "enum": []}, "string"),
        ({"type": "string", "enum": "a"}, "string"),
        ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, '"a" | "b"'),
        ({"const": "line\nbreak \u202e\U000e0041"}, '"line\\nbreak \\u202e\\udb40\\udc41"'),
        # Lists.
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": TEXT}, "string[]"),
        ({"items": TEXT}, "string[]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "(string | null)[]"),
        ({"type": "array", "items": {"type": "integer", "minimum": 1}}, "(integer 1..)[]"),
        ({"type": "array", "items": {"type": "array", "items": TEXT}}, "string[][]"),
        ({"type": "array", "items": TEXT, "minItems": 1}, "string[1..]"),
        ({"type": "array", "items": TEXT, "minItems": 0, "maxItems": 3}, "string[..3]"),
        ({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}, "string[2]"),
        ({"type": "array", "prefixItems": [TEXT, NUMBER]}, "[string, number]"),
        ({"prefixItems": [TEXT], "items": NUMBER}, "[string, ...number[]]"),
        ({"items": [TEXT, NUMBER], "additionalItems": TEXT}, "[string, number, ...string[]]"),
        ({"type": ["array", "null"], "items": TEXT}, "string[] | null"),
        # Objects.
        ({"type": "object"}, "object"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"type": "object", "additionalProperties": False}, "{}"),
        ({"type": "object", "additionalProperties": NUMBER}, "{[name]: number}"),
        ({"patternProperties": {"^a": TEXT, "^b": NUMBER}}, "{[name]: string | number}"),
        (fields("title", title=TEXT, score=NUMBER), "{title: string, score?: number}"),
        (fields("a", "b", a=TEXT), "{a: string, b: any}"),
        (fields("a", a=TEXT) | {"additionalProperties": NUMBER}, "{a: string, [name]: number}"),
        ({"properties": {"odd key": TEXT, "is-dst": True}}, '{"odd key"?: string, "is-dst"?: any}'),
        ({"properties": {"a": TEXT}, "required": True}, "{a?: string}"),
        ({"properties": [TEXT], "required": [1, "a"]}, "any"),
        ({"type": "object", "properties": {5: TEXT}}, '{"5"?: string}'),
        # What is put together.
        ({"anyOf": [TEXT, {"type": "null"}]}, "string | null"),
        ({"anyOf": [TEXT, {}]}, "any"),
        ({"anyOf": [TEXT, TEXT]}, "string"),
        ({"anyOf": "string"}, "any"),
        ({"allOf": [fields("a", a=TEXT)]}, "{a: string}"),
        ({"allOf": [fields(a=TEXT), fields(b=TEXT)]}, "({a?: string} & {b?: string})"),
        (fields(a=TEXT) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, "{a?: string}"),
        ({"type": "object", "oneOf": [fields(a=TEXT), {}]}, "object"),
        ({"type": "object", "oneOf": [fields(), fields(b=TEXT)]}, "object | {b?: string}"),
        ({"type": "object", "allOf": [{"type": "object"}]}, "object"),
        # References.
        (TREE, "{name: string, children?: Tree[]}"),
        ({"$ref": "#/definitions/a~1b%25", "definitions": {"a/b%": NUMBER}}, "number"),
        ({"$ref": "#/anyOf/1", "anyOf": [TEXT, NUMBER]}, "(number & (string | number))"),
        ({"$ref": "#/anyOf/x", "anyOf": [TEXT]}, "string"),
        ({"$ref": "https://example.com/elsewhere.json"}, "any"),
        ({"$ref": "#/$defs/nowhere"}, "any"),
        ({"$ref": "#anchor"}, "any"),
        ({"$ref": 5, "type": "string"}, "string"),
        ({"$ref": "#"}, "self"),
        ({"title": "Node", "properties": {"next": {"$ref": "#"}}}, "{next?: {next?: Node}}"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "a"),
        # As pydantic and zod write them.
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}, "integer | null"),
        ({"type": "integer", "minimum": -(2**53 - 1), "maximum": 2**53 - 1}, "integer"),
        ({"type": "object", "propertyNames": TEXT, "additionalProperties": {}}, "object"),
    ],
)  # fmt: skip
def test_the_type_of_a_schema(schema: Any, text: str) -> None:
    assert type_text(schema) == text


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = TEXT
    for _ in range(depth):
        schema = fields("a", a=schema)
    return schema


def test_what_is_too_long_is_shown_to_fewer_levels() -> None:
    assert type_text(nested(3)) == "{a: {a: {a: string}}}"
    assert type_text(nested(3), limit=15) == "{a: {a: {...}}}"
    assert type_text(nested(3), limit=14) == "{a: {...}}"
    assert type_text(nested(3), limit=9) == "{a: {...."


def test_what_is_too_long_has_few_values_and_nothing_optional() -> None:
    letters = {"enum": list("abcdefghij")}
    assert type_text(letters, limit=52).endswith('"g" | "h" | ...')
    some = fields("z", a=letters, b=TEXT, c=TEXT, z=TEXT)
    assert type_text(some, limit=60) == "{b?: string, c?: string, z: string, ...}"
    many = fields("z", **{f"p{n}": TEXT for n in range(100)}, z=TEXT)
    assert type_text(many, limit=50) == "{p0?: string, p1?: string, z: string, ...}"
    needed = fields(*"abcdef", **dict.fromkeys("abcdef", TEXT))
    assert type_text(needed, limit=30) == "{a: string, b: string, c: s..."


@pytest.mark.parametrize("deep", ["array", "object", "anyOf"])
def test_nesting_of_any_depth_is_cut(deep: str) -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        around: dict[str, dict[str, Any]] = {
            "array": {"items": schema},
            "object": {"properties": {"a": schema}, "default": schema},
            "anyOf": {"anyOf": [schema]},
        }
        schema = around[deep]
    assert "..." in type_text(schema)
    assert "..." in signature(Tool("s", "t", fields(a=schema)))


def test_references_that_stand_for_very_many_types_are_cut() -> None:
    twice = {
        f"t{n}": fields(x={"$ref": f"#/$defs/t{n + 1}"}, y={"$ref": f"#/$defs/t{n + 1}"})
        for n in range(30)
    }
    assert len(type_text({"$ref": "#/$defs/t0", "$defs": twice})) <= LIMIT
    assert type_text({"anyOf": [{"$ref": "#"}] * 5000, "enum": []}) == "self | ..."
    wide = fields(**{f"p{n}": fields(**{f"q{m}": TEXT for m in range(50)}) for n in range(50)})
    assert len(type_text(wide, limit=10**6)) < 20_000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["string", "object", "array", "integer", "#", "#/$defs/A", "#/properties/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "items", "prefixItems", "required", "enum", "const", "anyOf",
             "allOf", "$ref", "additionalProperties", "patternProperties", "minimum", "maximum",
             "exclusiveMinimum", "minItems", "format", "pattern", "default", "$defs", "A", "a"]
        ), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_whatever_is_sent_as_a_schema_becomes_one_short_line(schema: Any) -> None:
    for limit in (LIMIT, 20):
        text = type_text(schema, limit=limit)
        assert text.isprintable()
        assert 0 < len(text) <= limit
    if isinstance(schema, dict):
        assert tool_text(Tool("s", "t", schema, output_schema=schema)).startswith("s:t(")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, ""),
        ({"type": "object"}, ""),
        ({"type": "object", "properties": {}}, ""),
        ({"type": "object", "additionalProperties": False}, ""),
        ({"type": "object", "additionalProperties": TEXT}, "[name]: string"),
        (fields("city", city=TEXT, days={"type": "integer"}), "city: string, days?: integer"),
        (fields("a", a={"type": "integer", "default": 3}), "a: integer"),
        (fields(a={"type": "string", "default": "x"}), 'a: string = "x"'),
        (fields(a={"type": ["string", "null"], "default": None}), "a?: string | null"),
        (fields(a={"type": "boolean", "default": False}), "a: boolean = false"),
        (fields(a={"default": 80 * "x"}), f'a: any = "{56 * "x"}...'),
        ({"properties": {"a": True}, "required": "a"}, "a?: any"),
        ({"properties": None}, ""),
        ({"$ref": "#/$defs/A", "$defs": {"A": fields("a", a=TEXT)}}, "a: string"),
        ({"$ref": "#"}, "self"),
        ({"oneOf": [fields("a", a=TEXT), fields("b", b=TEXT)]}, "{a: string} | {b: string}"),
    ],
)
def test_the_signature_of_a_tool(schema: Any, text: str) -> None:
    assert signature(Tool("s", "t", schema)) == text


def test_a_long_signature_keeps_what_is_required() -> None:
    optional = {f"option{number}": {"enum": list("abcdefghijkl")} for number in range(9)}
    text = signature(Tool("s", "t", fields("z", **optional, z=TEXT)), limit=200)
    assert text.startswith('option0?: "a" | "b"')
    assert text.endswith(", z: string, ...")
    assert len(text) <= 200


def test_a_tool_has_an_arrow_if_it_describes_its_output() -> None:
    city = fields("city", city=TEXT)
    assert tool_text(Tool("weather", "forecast", city)) == "weather:forecast(city: string)"
    described = Tool("weather", "forecast", city, output_schema=city)
    assert tool_text(described) == "weather:forecast(city: string) -> {city: string}"
    assert tool_text(Tool("s", "a\nb", {}, output_schema={})) == "s:a\\u000ab() -> any"


def test_a_value_that_no_json_can_hold_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert literal(deep) == "..."
    assert literal(10**5000) == "..."
    assert literal(80 * "x") == f'"{56 * "x"}...'
