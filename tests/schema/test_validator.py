"""JSON Schemas of tools, as servers send them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from orchestrator.schema.validator import Validator, panics_as_recursion
from tests.schema.test_certainty import SCHEMAS, VALUES

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_a_value_that_fits_has_no_mismatch() -> None:
    assert Validator(CITY).fits({"city": "Oslo"})
    assert list(Validator(True).mismatches([1])) == []


def test_each_mismatch_says_where_and_which_keyword() -> None:
    found = list(Validator(CITY).mismatches({"city": 5}))
    assert [(m.path, m.keyword, m.expected) for m in found] == [(("city",), "type", "string")]
    assert found[0].message == "5 is not of type 'string'"
    assert [m.keyword for m in Validator(CITY).mismatches({})] == ["required"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "https://example.com/elsewhere.json"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "string", "pattern": "(unclosed"},
        {"type": "string", "pattern": "\\p{L}"},
        {"$ref": "#"},
    ],
)
def test_a_schema_that_cannot_be_used_says_nothing_about_any_value(schema: Any) -> None:
    validator = Validator(schema)
    assert validator.fits("text")
    assert validator.unusable
    assert validator.fits("text")


def test_the_dialect_is_the_one_that_the_schema_names() -> None:
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True}
    assert not Validator(older | {"minimum": 3}).fits(3)
    assert Validator({"exclusiveMinimum": True, "minimum": 3}).unusable
    assert not Validator({"exclusiveMinimum": 3}).fits(3)


def test_a_schema_that_names_no_dialect_is_not_one() -> None:
    broken: Any
    for broken in ({"$schema": 5}, {"$schema": []}, None, 5):
        assert Validator(broken).fits({"a": 1})
        assert Validator(broken).unusable


def test_of_several_forms_the_one_that_is_meant_is_looked_at() -> None:
    text_or_point = {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"x": {"anyOf": [{"type": "integer"}]}}},
        ]
    }
    found = list(Validator({"properties": {"at": text_or_point}}).mismatches({"at": {"x": "1"}}))
    assert [(m.path, m.keyword) for m in found] == [(("at", "x"), "type")]
    by_kind = {
        "oneOf": [
            {"properties": {"kind": {"const": name}, "n": {"type": "integer"}}, "required": ["n"]}
            for name in ("a", "b")
        ]
    }
    found = list(Validator(by_kind).mismatches({"kind": "b"}))
    assert [(m.path, m.keyword, m.missing) for m in found] == [((), "required", ["n"])]
    assert [m.keyword for m in Validator(by_kind).mismatches({"kind": "c"})] == ["oneOf"]
    assert [m.keyword for m in Validator({"anyOf": [False]}).mismatches(5)] == ["anyOf"]
    or_none: Any = {"anyOf": [False, {"type": "string"}]}
    assert [m.expected for m in Validator(or_none).mismatches(5)] == ["string"]
    assert [m.keyword for m in Validator({"oneOf": [{}, {}]}).mismatches(5)] == ["oneOf"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "nullable": True}, None),
        ({"enum": ["a"], "nullable": True}, None),
        ({"multipleOf": 0.01}, 19.99),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}, 2.0),
        ({"properties": {"a": {"default": 1}}, "required": ["a"]}, {}),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, (1, 2)),
    ],
)
def test_what_the_server_means_fits_where_the_letter_says_no(schema: Any, value: Any) -> None:
    assert Validator(schema).fits(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "nullable": False}, None),
        ({"type": "string"}, None),
        ({"multipleOf": 0.01}, 19.995),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}, 2.5),
        ({"type": "integer"}, True),
        ({"properties": {"a": {"default": 1}}, "required": ["a", "b"]}, {}),
        ({"properties": {"a": True}, "required": ["a"]}, {}),
        ({"type": "array", "items": {"type": "integer"}}, (1, "2")),
        (False, 1),
    ],
)
def test_what_is_like_that_and_wrong_does_not_fit(schema: Any, value: Any) -> None:
    assert not Validator(schema).fits(value)


def test_a_value_that_is_no_json_or_nested_too_deep_spoils_no_schema() -> None:
    schema: Any = {
        "additionalProperties": {"$ref": "#"},
        "patternProperties": {"^x": {}},
        "type": "object",
    }
    validator = Validator(schema)
    deep: Any = 5
    for _ in range(900):
        deep = {"a": deep}
    assert validator.fits(deep)
    assert validator.fits({1: 2})
    assert not validator.unusable
    assert not validator.fits({"a": {"a": 5}})
    assert Validator({"multipleOf": 0.5}).fits(1e400)


@settings(deadline=None, max_examples=300)
@given(SCHEMAS, VALUES)
def test_a_value_fits_where_the_library_says_so(schema: Any, value: Any) -> None:
    validator = Validator(schema)
    fits = validator.fits(value)
    if validator.unusable:
        return
    try:
        with panics_as_recursion():
            assert fits == Draft202012Validator(schema).is_valid(value)
    except (Unresolvable, RecursionError):
        assert fits


@pytest.mark.parametrize("stack", range(12))
@pytest.mark.parametrize("schema", [{"not": {"$ref": "#"}}, {"oneOf": [{"not": {"$ref": "#"}}]}])
def test_a_panic_of_what_the_library_is_built_on_is_a_schema_in_circles(
    schema: Any, stack: int
) -> None:
    validator = Validator(schema)

    def fits(below: int) -> bool:  # it depends on where the end of the stack is reached
        return fits(below - 1) if below else validator.fits("text")

    assert fits(stack)
    assert validator.unusable == "a $ref leads in circles"


def test_an_interrupt_is_no_panic() -> None:
    with pytest.raises(KeyboardInterrupt), panics_as_recursion():
        raise KeyboardInterrupt


def test_of_many_items_only_those_that_may_be_wrong_are_looked_at() -> None:
    schema = {"items": {"type": "number"}}
    found = list(Validator(schema).mismatches([*range(100_000), "x", 1.5, None]))
    assert [m.path for m in found] == [(100_000,), (100_002,)]
    deep: Any = 5
    for _ in range(900):
        deep = [deep]
    circular: Any = {"items": {"$ref": "#"}, "type": "array"}
    assert Validator(circular).fits([deep])


def test_a_schema_that_is_nested_too_deep_cannot_be_used() -> None:
    schema: Any = {"type": "string"}
    for _ in range(2000):
        schema = {"not": schema}
    validator = Validator(schema)
    assert validator.fits("text")
    assert validator.unusable == "it is nested too deep"
