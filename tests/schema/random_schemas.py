"""Random JSON Schemas, and values that may fit them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

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
