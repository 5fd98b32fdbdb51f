"""What the checker says of a type must hold for every value of that type.

Random schemas are tried with every value of a pool that fits them: an error, a `no` or an excluded
type is a false alarm if a single value contradicts it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.check.assignable import Assignability
from orchestrator.check.environment import Environment
from orchestrator.check.infer_jmespath import ExpressionInference
from orchestrator.errors import CallError
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.scope import Scope
from orchestrator.schema.coercion import json_type
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NULL,
    ArrayType,
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
    schema_type,
)
from orchestrator.schema.validator import Validator

LEAVES: list[Any] = [None, True, 0, 3, -1.5, 2.0, "", "3", "text", [], {}]
FLAT = [
    *LEAVES,
    *([leaf] for leaf in LEAVES),
    [1, 2],
    ["x", 1, None],
    *({"a": leaf} for leaf in LEAVES),
    *({"a": 3, "b": leaf} for leaf in LEAVES),
    {"c": "text"},
]
POOL = [
    *FLAT,
    *({"a": value, "b": "x"} for value in FLAT[11:24]),
    *([value] for value in FLAT[:8]),
    {"a": [{"b": 1}, {"b": 2}], "b": 1},
    {"a": [{"a": "x", "b": 3}], "c": [[1], [2]]},
]
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
DEFINED = {
    "d": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": True,
    },
    "anchored": {"$anchor": "anchor", "properties": {"b": True}, "required": ["b"]},
    "loop": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/loop"}}, {"type": "integer"}]},
}
CONDITIONAL = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "if": {"required": ["a"]},
    "then": {"properties": {"b": {"type": "string"}}},
    "unevaluatedProperties": False,
}
names = st.sampled_from(["a", "b", "c"])


def _object(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda properties, required, further: {
            "type": "object",
            "properties": properties,
            "required": sorted(required),
            "additionalProperties": further,
        },
        st.dictionaries(names, inner, max_size=3),
        st.sets(names, max_size=2),
        st.sampled_from([True, False, {"type": "integer"}]),
    )


def _array(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda items, least, more: {"type": "array", "items": items, "minItems": least} | more,
        inner,
        st.integers(0, 2),
        st.sampled_from([{}, {"maxItems": 1}, {"prefixItems": [{"type": "integer"}, True]}]),
    )


def _combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keyword = st.sampled_from(["anyOf", "oneOf", "allOf"])
    return st.builds(
        lambda key, parts, own: {key: parts} | own,
        keyword,
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from([{}, {"type": "object"}, {"type": ["array", "string"]}]),
    )


leaf_schemas = st.one_of(
    st.sampled_from([{"type": kind} for kind in TYPES]),
    st.sampled_from([{}, True, False, {"type": ["string", "null"]}, {"const": 3}]),
    st.sampled_from([{"enum": ["3", "text"]}, {"enum": [3, None, {"a": 3}]}, {"minimum": 2}]),
    st.sampled_from([CONDITIONAL, {"$ref": "#anchor", "properties": {"a": {}}}]),
    st.sampled_from([{"$ref": "#/$defs/d"}, {"$ref": "#/$defs/loop"}, {"minLength": 2}]),
)
schemas = st.recursive(
    leaf_schemas,
    lambda inner: st.one_of(_object(inner), _array(inner), _combined(inner)),
    max_leaves=8,
)


def whole(schema: Any) -> Any:
    """A schema with the definitions that its parts refer to."""
    return {"allOf": [schema], "$defs": DEFINED}


def fitting(schema: Any) -> list[Any]:
    validator = Validator(schema)
    values = [value for value in POOL if validator.fits(value)]
    assert not validator.unusable
    return values


@pytest.mark.untraced
@settings(max_examples=150)
@given(schemas, schemas)
@example({"enum": [3, None]}, {"type": "integer"})
def test_a_value_that_fits_both_schemas_is_never_called_an_error(first: Any, second: Any) -> None:
    made, wanted = whole(first), whole(second)
    validator = Validator(wanted)
    both = [value for value in fitting(made) if validator.fits(value)]
    found = Assignability(TypeQuery()).arguments(schema_type(made), wanted)
    if both:
        assert [m for m in found if m.severity == "error"] == [], both[0]
        sourced = Assignability(TypeQuery()).arguments(SourcedType(schema_type(made), "$X"), wanted)
        assert [m for m in sourced if m.severity == "error"] == [], both[0]


@settings(max_examples=100)
@given(schemas, st.sampled_from(POOL))
@example({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": None})
def test_a_literal_is_an_error_if_and_only_if_it_does_not_fit(schema: Any, value: Any) -> None:
    wanted = whole(schema)
    found = Assignability(TypeQuery()).arguments(LiteralType(value), wanted)
    # Null for an optional argument is not sent.
    sent = Tool("s", "t", wanted).without_nulls(value) if isinstance(value, dict) else value
    assert any(m.severity == "error" for m in found) is not Validator(wanted).fits(sent)


@settings(max_examples=100)
@given(schemas, st.sampled_from(["a", "b", "c", 0, 1, -1]))
def test_a_property_or_item_exists_as_its_schema_says(schema: Any, segment: str | int) -> None:
    query, type_ = TypeQuery(), schema_type(whole(schema))
    found = query.step(type_, segment)
    for value in fitting(type_.root):
        holder = list if isinstance(segment, int) else dict
        there = isinstance(value, holder) and (
            segment in value if isinstance(segment, str) else -len(value) <= segment < len(value)
        )
        if found.presence in ("yes", "no"):
            assert there is (found.presence == "yes"), (value, found)
        if there:
            assert admits(query, found.type, value[segment])


def admits(query: TypeQuery, type_: StaticType, value: Any) -> bool:
    """Whether a type allows a value."""
    match type_:
        case UnknownType():
            return True
        case LiteralType(only):
            return bool(only == value)
        case SourcedType(inner):
            return admits(query, inner, value)
        case UnionType(options):
            return any(admits(query, option, value) for option in options)
        case TupleType(items):
            return (
                isinstance(value, list)
                and len(value) == len(items)
                and all(admits(query, item, part) for item, part in zip(items, value, strict=True))
            )
        case ArrayType(item):
            return isinstance(value, list) and all(admits(query, item, part) for part in value)
        case ObjectType(members):
            return (
                isinstance(value, dict)
                and value.keys() == members.keys()
                and all(admits(query, member, value[name]) for name, member in members.items())
            )
        case SchemaType(schema, root):
            kind = json_type(
                int(value) if isinstance(value, float) and value == int(value) else value
            )
            return kind in query.kinds(type_) and not list(
                Validator(root).violations(value, schema)
            )


EXPRESSIONS = [
    "OUTPUT[t]",
    "OUTPUT[t].a",
    "OUTPUT[t].a.b",
    "OUTPUT[t][0]",
    "OUTPUT[t].a[-1].b",
    "OUTPUT[t].a[].b",
    "OUTPUT[t][].a",
    "OUTPUT[t][*].a",
    "OUTPUT[t].*",
    "OUTPUT[t].a[?b > `1`].b",
    "OUTPUT[t].a[0:1]",
    "OUTPUT[t].{x: a, y: [b, c]}",
    "OUTPUT[t].[a, b]",
    "OUTPUT[t] | a",
    "OUTPUT[t].a || 'x'",
    "OUTPUT[t].a && 'x'",
    "!OUTPUT[t].a",
    "OUTPUT[t].a == `3`",
    "OUTPUT[t].a > `1`",
    "OUTPUT[t].a > 'x'",
    "OUTPUT[t].a != OUTPUT[t].b",
    "length(OUTPUT[t].a)",
    "length(OUTPUT[t])",
    "not_null(OUTPUT[t].a, OUTPUT[t].b, 'x')",
    "sort(OUTPUT[t])",
    "sort_by(OUTPUT[t], &b)",
    "max(OUTPUT[t])",
    "max_by(OUTPUT[t].a, &b)",
    "map(&a, OUTPUT[t])",
    "join(',', OUTPUT[t])",
    "join(',', OUTPUT[t].a[].b)",
    "keys(OUTPUT[t])",
    "values(OUTPUT[t])",
    "to_array(OUTPUT[t].a)",
    "to_number(OUTPUT[t].a)",
    "to_string(OUTPUT[t].a)",
    "type(OUTPUT[t].a)",
    "avg(OUTPUT[t])",
    "sum(OUTPUT[t])",
    "abs(OUTPUT[t].a)",
    "ceil(OUTPUT[t].a)",
    "reverse(OUTPUT[t].a)",
    "merge(OUTPUT[t], OUTPUT[t].a)",
    "contains(OUTPUT[t].a, 'x')",
    "starts_with(OUTPUT[t].a, 'x')",
]


@pytest.mark.untraced
@pytest.mark.parametrize("text", EXPRESSIONS)
@settings(max_examples=15)
@given(schema=schemas)
def test_an_expression_gives_a_value_of_its_inferred_type(text: str, schema: Any) -> None:
    expression, made = compile_expression(text), whole(schema)
    query, environment = TypeQuery(), Environment({"t": schema_type(made)})
    inference = ExpressionInference(query, environment, expression)
    type_ = inference.infer()
    errors = [mismatch for mismatch in inference.found if mismatch.severity == "error"]
    for value in fitting(made):
        try:
            given = expression.evaluate(Scope(outputs={"t": value}))
        except CallError:
            continue
        assert errors == [], value
        assert admits(query, type_, given), (value, given, type_)


def test_a_recursive_schema_is_read() -> None:
    query = TypeQuery()
    circle = schema_type({"$ref": "#"})
    assert query.step(circle, "a").presence == "unknown"
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    type_: StaticType = schema_type(tree)
    for _ in range(50):
        found = query.step(type_, "next")
        assert found.presence == "yes"
        type_ = found.type
    assert query.step(type_, "other").presence == "no"


def test_a_schema_that_doubles_at_each_step_is_read() -> None:
    assert TypeQuery().step(schema_type({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), "a")
    steps = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(18)}
    doubling = {"$ref": "#/$defs/s0", "$defs": {**steps, "s18": {"type": "string"}}}
    assert TypeQuery().kinds(schema_type(doubling)) == {"string"}


@pytest.mark.parametrize(
    ("rule", "code", "message"),
    [
        ({"required": ["b"]}, "missing_argument", 'missing argument "b"'),
        ({"additionalProperties": False}, "unexpected_argument", 'unexpected argument "a"'),
        ({"maxProperties": 0}, "wrong_argument", "expected at most 0 properties, got object"),
    ],
)
def test_a_violation_that_only_the_validator_finds_is_reported(
    rule: Any, code: str, message: str
) -> None:
    given = LiteralType({"a": 1})
    found = Assignability(TypeQuery()).arguments(given, {"if": {}, "then": rule})
    assert [each.code for each in found] == [code]
    assert found[0].message.startswith(message)


def test_too_many_variants_count_as_unknown() -> None:
    options = [{"type": "object", "properties": {"a": {"const": n}}} for n in range(9)]
    wide = {"allOf": [{"anyOf": options}, {"anyOf": options}, {"anyOf": options}]}
    assert TypeQuery().step(schema_type(wide), "zzz").presence == "unknown"
    wider = {"allOf": [{"anyOf": [{"type": "object"}] * 64}, *[{"anyOf": options}] * 2]}
    assert TypeQuery().step(schema_type(wider), "zzz").presence == "unknown"


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (schema_type({"type": ["string", "null"]}), "string or null"),
        (schema_type({}), "anything"),
        (schema_type(False), "nothing"),
        (schema_type({"enum": ["a", 1]}), 'one of "a", 1'),
        (schema_type({"type": "object"}), "object"),
        (schema_type({"type": "object", "properties": {"a": {}}}), "object with property a"),
        (ObjectType({"a": NULL}), "object with property a"),
        (UnionType((LiteralType("x"), NULL)), "string or null"),
        (SourcedType(LiteralType(5), "$ITEM"), "integer 5"),
    ],
)
def test_a_type_is_described_by_its_json_types(type_: StaticType, words: str) -> None:
    assert TypeQuery().describe(type_) == words


def test_a_union_of_objects_is_open_if_one_of_them_is() -> None:
    query = TypeQuery()
    open_one = schema_type({"type": "object", "properties": {"a": {}}})
    closed = schema_type({"type": "object", "additionalProperties": False})
    assert query.is_open(UnionType((closed, open_one)))
    assert not query.is_open(UnionType((closed, LiteralType({"a": 1}))))
