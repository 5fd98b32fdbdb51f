"""The types of the arguments that a call sends: null for an optional one is left out."""

from __future__ import annotations

from typing import Any

from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    UnionType,
    either,
)


def as_sent(given: StaticType, expected: SchemaType, query: TypeQuery) -> StaticType:
    """Arguments without the nulls that their tool neither requires nor accepts."""
    match given:
        case LiteralType(dict() as value):
            return LiteralType(
                {
                    name: member
                    for name, member in value.items()
                    if member is not None or not query.leaves_out(expected, name)
                }
            )
        case ObjectType(members):
            sent = {
                name: _without_null(member, query) if query.leaves_out(expected, name) else member
                for name, member in members.items()
            }
            return ObjectType({name: type_ for name, type_ in sent.items() if type_ is not None})
    return given


def _without_null(given: StaticType, query: TypeQuery) -> StaticType | None:
    """What a value can be if it is not null; None if it is always null."""
    types = query.kinds(given)
    if types == {"null"}:
        return None
    if "null" not in types:
        return given
    match given:
        case SourcedType(inner, text):
            rest = _without_null(inner, query)
            return None if rest is None else SourcedType(rest, text)
        case UnionType(options, each):
            kept = [
                rest for option in options if (rest := _without_null(option, query)) is not None
            ]
            return UnionType(tuple(kept), each) if kept else None
        case SchemaType(schema, root) if types != ALL_TYPES:
            if (values := query.finite(given)) is not None:
                return either(LiteralType(value) for value in values if value is not None)
            not_null: dict[str, Any] = {"type": sorted(types - {"null"})}
            return SchemaType({"allOf": [schema, not_null]}, root)
    return given
