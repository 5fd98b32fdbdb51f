"""The types of the arguments that a call sends: null for an optional one is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NOTHING,
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    UnionType,
    either,
)


def members_of(given: StaticType) -> Mapping[str, StaticType]:
    """The types of the arguments by name, as far as they are known one by one."""
    match given:
        case ObjectType(members):
            return members
        case LiteralType(dict() as value):
            return {name: LiteralType(member) for name, member in value.items()}
    return {}


def as_sent(given: StaticType, expected: SchemaType, query: TypeQuery) -> StaticType:
    """Arguments in which a null fits that their tool neither requires nor accepts."""
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
            return ObjectType(
                {
                    name: _or_nothing(member, query) if query.leaves_out(expected, name) else member
                    for name, member in members.items()
                }
            )
    return given


def _or_nothing(given: StaticType, query: TypeQuery) -> StaticType:
    """The type of a value whose null fits, as it is not sent, while its other values have to."""
    types = query.kinds(given)
    if types == {"null"}:
        return NOTHING
    if "null" not in types:
        return given
    match given:
        case SourcedType(inner, text):
            return SourcedType(_or_nothing(inner, query), text)
        case UnionType(options, each):
            return UnionType(tuple(_or_nothing(option, query) for option in options), each)
        case SchemaType(schema, root) if types != ALL_TYPES:
            if (values := query.finite(given)) is not None:
                rest = [LiteralType(value) for value in values if value is not None]
                return either([*rest, NOTHING])
            not_null: dict[str, Any] = {"type": sorted(types - {"null"})}
            return either([SchemaType({"allOf": [schema, not_null]}, root), NOTHING])
    return given
