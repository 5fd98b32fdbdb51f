"""JSON Schemas of tools, as servers send them."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from orchestrator.schema.validator import MAX_DEPTH, Validator
from tests.schema.random_schemas import SCHEMAS, VALUES

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
REPORT = {
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


def found(schema: Any, value: Any, part: Any = None) -> list[tuple[Any, str, Any]]:
    violations = Validator(schema).violations(value, part)
    return [(each.path, each.keyword, each.expected) for each in violations]


@pytest.mark.parametrize(
    "value",
    [
        {"city": "Oslo"},
        {"city": "Oslo", "days": 3, "unit": "F", "tags": ["a", "b"], "more": {"x": 1, "y": 1.5}},
        {"city": "Oslo", "days": None, "unit": None, "more": {"x": True}},
        {"city": "Oslo", "unit": 0, "tags": []},
    ],
)
def test_a_value_that_fits_has_no_violation(value: Any) -> None:
    assert Validator(REPORT).fits(value)
    assert found(REPORT, value) == []
    assert found(True, value) == []


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
def test_a_value_that_does_not_fit_is_refused(value: Any) -> None:
    assert not Validator(REPORT).fits(value)
    assert found(REPORT, value)


def test_each_violation_says_where_and_which_keyword() -> None:
    assert found(CITY, {"city": 5}) == [(("city",), "type", "string")]
    assert found(CITY, {}) == [(("city",), "required", ["city"])]
    assert found({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": CITY}}, [{"city": 5}]) == [
        ((0, "city"), "type", "string")
    ]
    assert found({"type": "object", "additionalProperties": False}, {"a": 1}) == [
        (("a",), "additionalProperties", False)
    ]
    one_name = {"properties": {"a": {"propertyNames": {"maxLength": 1}}}}
    [violation] = Validator(one_name).violations({"a": {"bc": 1}})
    assert (violation.path, violation.keyword, violation.value) == (("a",), "maxLength", "bc")


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "strin"}, 'got "strin" at .type (did you mean "string"?)'),
        ({"$ref": "https://example.com/elsewhere.json"}, "https://example.com/elsewhere.json"),
        ({"$ref": "other.json"}, "other.json"),
        ({"$ref": "#/$defs/nowhere"}, "/$defs/nowhere"),
        (
            {"type": "string", "pattern": "(unclosed"},
            'expected a regular expression, got "(unclosed" at .pattern',
        ),
        ({"$ref": "#"}, "a $ref leads in circles"),
        ({"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}]}}}, "in circles"),
        ({"allOf": [{"not": {"$ref": "#"}}]}, "in circles"),
        ({"if": {"dependentSchemas": {"a": {"$ref": "#"}}}}, "in circles"),
        ({"$schema": 5}, 'expected string, got integer 5 at ["$schema"]'),
        ({"$schema": []}, 'expected string, got empty array at ["$schema"]'),
        ({"minimum": "1"}, 'expected number, got string "1" at .minimum'),
        ({5: 5}, "key"),
        (None, "expected boolean or object, got null"),
        ("true", 'expected boolean or object, got string "true"'),
    ],
)
def test_a_schema_that_cannot_be_used_accepts_every_value(schema: Any, why: str) -> None:
    validator = Validator(schema)
    assert validator.fits("text")
    assert why in validator.unusable
    assert validator.fits({"a": 1})


def test_a_schema_or_a_value_that_is_nested_too_deep_is_not_validated() -> None:
    schema: Any = {"type": "string"}
    value: Any = "text"
    for _ in range(200_000):
        schema, value = {"items": schema}, [value]
    assert Validator(schema).unusable == "the schema is nested too deep"
    nested = Validator({"items": {"$ref": "#"}, "type": "array"})
    assert nested.fits(value)
    assert not nested.unusable
    assert not nested.fits([[["text"]]])
    just: Any = "text"
    for _ in range(MAX_DEPTH - 1):
        just = [just]
    assert not nested.fits(just)
    assert nested.fits([just])


def test_a_value_that_holds_itself_is_nested_too_deep() -> None:
    circle: list[Any] = []
    circle += [circle, circle]
    assert Validator({"type": "string"}).fits(circle)


def test_the_deepest_values_and_schemas_take_no_more_than_a_small_stack() -> None:
    schema: Any = {"type": "string"}
    value: Any = 5
    for _ in range(MAX_DEPTH - 2):
        schema, value = {"not": schema}, [value]
    nested = {"items": {"$ref": "#"}, "type": "array"}
    results: list[bool] = []

    def validate() -> None:
        assert not Validator(schema).unusable
        results.append(Validator(nested).fits(value))

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=validate)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [False]


def test_the_draft_is_the_one_that_the_schema_names() -> None:
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True}
    assert found(older | {"minimum": 3}, 3) == [((), "exclusiveMinimum", 3)]
    assert Validator({"exclusiveMinimum": True, "minimum": 3}).unusable
    assert not Validator({"exclusiveMinimum": 3}).fits(3)
    parts = [{"type": "integer"}, {"type": "string"}]
    for draft, fits in (("draft-07", False), ("2019-09", False), ("2020-12", True)):
        at = draft if draft.startswith("draft") else f"draft/{draft}"
        validator = Validator({"$schema": f"https://json-schema.org/{at}/schema", "items": parts})
        assert validator.fits([1, 2]) is fits


def test_a_schema_of_a_draft_that_is_not_known_is_one_of_draft_2020_12() -> None:
    validator = Validator({"$schema": "https://spec.openapis.org/oas/3.1/dialect/base", **CITY})
    assert not validator.unusable
    assert not validator.fits({})


def test_of_several_forms_the_one_that_is_meant_is_looked_at() -> None:
    text_or_point = {
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"x": {"anyOf": [{"type": "integer"}]}}},
        ]
    }
    at = {"properties": {"at": text_or_point}}
    assert found(at, {"at": {"x": "1"}}) == [(("at", "x"), "type", "integer")]
    by_kind = {
        "oneOf": [
            {"properties": {"kind": {"const": name}, "n": {"type": "integer"}}, "required": ["n"]}
            for name in ("a", "b")
        ]
    }
    assert found(by_kind, {"kind": "b"}) == [(("n",), "required", ["n"])]
    assert [keyword for _, keyword, _ in found(by_kind, {"kind": "c"})] == ["oneOf"]
    assert [keyword for _, keyword, _ in found({"anyOf": [False]}, 5)] == ["false"]
    assert found({"anyOf": [False, {"type": "string"}]}, 5)[0][1] == "anyOf"
    assert found({"anyOf": [False, {"type": "integer", "minimum": 9}]}, 5) == [((), "minimum", 9)]
    assert found({"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]}, "c") == [
        ((), "enum", ["a", "b"])
    ]
    assert [keyword for _, keyword, _ in found({"oneOf": [{}, {}]}, 5)] == ["oneOf"]


DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "nullable": True}, None),
        ({"enum": ["a"], "nullable": True}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "string", "nullable": True}]}, None),
        ({"multipleOf": 0.01}, 19.99),
        ({"multipleOf": 0.1}, 0.1 + 0.2),
        ({"$schema": DRAFT_4, "type": "integer"}, 2.0),
        ({"$schema": DRAFT_4, "anyOf": [{"type": ["integer"]}, {"type": "null"}]}, 2.0),
        ({"properties": {"a": {"default": 1}}, "required": ["a"]}, {}),
        (
            {
                "$id": "https://example.com/a.json",
                "$ref": "#/$defs/a",
                "$defs": {"a": {"properties": {"a": {"default": 1}}, "required": ["a"]}},
            },
            {},
        ),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, (1, 2)),
        ({"type": "string", "format": "date"}, "tomorrow"),
        ({"$schema": DRAFT_7, "format": "email", "contentEncoding": "base64"}, "%"),
        ({"$schema": DRAFT_7, "contentMediaType": "application/json"}, "%"),
        ({"type": "number"}, float("inf")),
        ({"pattern": r"^(?!\.)\p{L}+$"}, "Łódź"),
    ],
)
def test_what_the_server_means_fits_where_the_letter_says_no(schema: Any, value: Any) -> None:
    assert not Validator(schema).unusable
    assert Validator(schema).fits(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "nullable": False}, None),
        ({"type": "string"}, None),
        ({"multipleOf": 0.01}, 19.995),
        ({"$schema": DRAFT_4, "type": "integer"}, 2.5),
        ({"type": "integer"}, True),
        ({"type": "integer"}, float("inf")),
        ({"properties": {"a": {"default": 1}}, "required": ["a", "b"]}, {}),
        ({"properties": {"a": True}, "required": ["a"]}, {}),
        ({"type": "array", "items": {"type": "integer"}}, (1, "2")),
        ({"pattern": r"^(?!\.)\p{L}+$"}, ".a"),
        (False, 1),
    ],
)
def test_what_is_like_that_and_wrong_does_not_fit(schema: Any, value: Any) -> None:
    assert not Validator(schema).fits(value)


def test_a_value_that_is_no_json_is_not_refused() -> None:
    validator = Validator({"additionalProperties": {"type": "object"}, "type": "object"})
    assert validator.fits({1: 2})
    assert Validator({"const": "a"}).fits(object())
    assert not validator.unusable
    assert not validator.fits({"a": {"a": 5}, "b": 5})
    assert Validator({"multipleOf": 0.5}).fits(1e400)
    assert Validator({"multipleOf": 0.3}).fits(10**400)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(?:(?=a)a+)+$", r"^((a+)\2?)+$", "((a|aa)+)+$"])
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    validator = Validator({"pattern": pattern})
    assert not validator.unusable
    assert validator.fits("a" * 30)
    assert validator.fits("a" * 50_000 + "b") == ("?" in pattern)  # given up, so not refused


def test_no_other_document_is_fetched() -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            elsewhere = f"http://127.0.0.1:{server.server_port}/schema.json"
            assert Validator({"$ref": elsewhere}).unusable
            assert Validator({"$schema": elsewhere, **CITY}).fits({"city": "Oslo"})
            part = {"type": "string"}
            unread = {"x-other": {"$ref": elsewhere}, "properties": {"a": part}}
            assert found(unread, 5, part) == [((), "type", "string")]
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


PARTS: dict[str, Any] = {
    "$schema": DRAFT_7,
    "properties": {
        "a": {"$ref": "#/definitions/n"},
        "b": {"items": [{"type": "string"}], "nullable": True},
        "odd / name": {"minimum": 3},
    },
    "definitions": {"n": {"type": "integer"}},
}


@pytest.mark.parametrize("more", [{}, {"$id": "https://example.com/parts.json"}])
def test_a_part_of_a_schema_leads_into_the_whole_of_it(more: Any) -> None:
    schema = {**PARTS, **more}
    a, b, c = (PARTS["properties"][name] for name in PARTS["properties"])
    assert found(schema, "5", a) == [((), "type", "integer")]
    assert found(schema, 5, a) == []
    assert found(schema, [1], b) == [((0,), "type", "string")]
    assert found(schema, 2, c) == [((), "minimum", 3)]
    assert found(schema, 2.5, {"allOf": [a, c]}) == [
        ((), "type", "integer"),
        ((), "minimum", 3),
    ]
    assert found(schema, 5, schema) == found(schema, 5)
    assert found(schema, 5, True) == []
    assert found(schema, 5, {"$ref": "#/nowhere"}) == []
    assert found({"type": "strin"}, 5, {"type": "string"}) == []


@pytest.mark.untraced
@settings(max_examples=300)
@given(SCHEMAS, VALUES)
def test_a_value_fits_where_the_library_says_so(schema: Any, value: Any) -> None:
    validator = Validator(schema)
    fits = validator.fits(value)
    if validator.unusable:
        return
    try:
        assert fits == Draft202012Validator(schema).is_valid(value)
    except (Unresolvable, RecursionError):
        assert fits


@pytest.mark.untraced
@settings(max_examples=300)
@given(SCHEMAS, VALUES, st.sampled_from([Draft4Validator, Draft7Validator]))
def test_a_value_fits_an_older_draft_where_the_library_says_so(
    schema: Any, value: Any, draft: Any
) -> None:
    if not isinstance(schema, dict):
        return
    schema = {"$schema": draft.META_SCHEMA["$schema"], **schema}
    validator = Validator(schema)
    if validator.unusable or _holds_a_whole_float(value):
        return
    try:
        assert validator.fits(value) == draft(schema, registry=EMPTY_REGISTRY).is_valid(value)
    except (Unresolvable, RecursionError, TypeError):
        assert validator.fits(value)


def _holds_a_whole_float(value: Any) -> bool:
    """Whether there is a 2.0 in it, which the library takes for no integer in draft 4."""
    if isinstance(value, dict | list):
        return any(map(_holds_a_whole_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


@pytest.mark.untraced
@settings(max_examples=300)
@given(SCHEMAS, VALUES)
def test_a_value_fits_a_part_as_it_fits_the_same_schema_alone(part: Any, value: Any) -> None:
    if "$ref" not in str(part):
        whole = {"properties": {"a": part}, "items": {"type": "string"}}
        assert (not found(whole, value, part)) == Validator(part).fits(value)


def test_an_interrupt_is_not_swallowed() -> None:
    class Interrupting(dict[str, Any]):
        def values(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Validator({}).fits(Interrupting())


def test_in_a_large_value_the_first_violation_is_found_soon() -> None:
    schema = {"items": {"type": "number"}}
    assert found(schema, [*range(100_000), "x", 1.5, None]) == [((100_000,), "type", "number")]
    assert found(schema, ["x"] * 300_000) == [((0,), "type", "number")]
    lenient = {"items": {"type": "string", "nullable": True}}
    assert found(lenient, [None, *["x"] * 10_000, 5]) == [((10_001,), "type", "string")]
    assert found(lenient, [None] * 10_000) == []


def test_the_library_is_imported_with_the_first_value() -> None:
    code = (
        "import sys\nfrom orchestrator.schema.validator import Validator\n"
        "validator = Validator({'type': 'string'})\n"
        "assert 'jsonschema_rs' not in sys.modules\n"
        "assert not validator.fits(5)\n"
        "assert 'jsonschema_rs' in sys.modules\n"
        "assert 'jsonschema' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
