"""The ways to fit a JSON Schema, and what each of them says of its members and items.

The rule of this file: what the keywords of a schema say, and nothing of values; what it does not
read, it takes to allow anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from orchestrator.documents.text import counted
from orchestrator.schema.coercion import ALL_TYPES, Types, listed, own_types, referred
from orchestrator.schema.types import (
    NULL,
    Found,
    Presence,
    SchemaType,
    StaticType,
    UnknownType,
    object_with,
)

MAX_VARIANTS = 64
MAX_DEPTH = 40
NO_LIMIT = 2**60
_SILENT = "its schema does not say what is in it"

# Plain schemas that all hold at once.
Variant = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ObjectMembers:
    """What a variant says of the members of an object.

    Attributes:
        names: Those that are declared.
        required: Those that have to be there.
        is_closed: Whether there are no others.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    is_closed: bool


# Stands for what a schema says that is not read here: it may declare more members.
_OPEN: Variant = ({"additionalProperties": True},)
_CONDITIONAL = frozenset(
    {
        "if",
        "dependentSchemas",
        "dependencies",
        "$dynamicRef",
        "$recursiveRef",
        "unevaluatedProperties",
    }
)


def unfold(schema: Any, root: Any) -> list[Variant]:
    """The ways to fit a schema; none, if nothing fits it."""
    return _Unfolding(root).ways(schema, 0)


class _Unfolding:
    """Unfolds each part of a document once: a `$ref` may lead in circles, or to ever more."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, list[Variant]] = {}

    def ways(self, schema: Any, depth: int) -> list[Variant]:
        if schema is False:
            return []
        if not isinstance(schema, Mapping) or not schema or depth > MAX_DEPTH:
            return [()]
        key = id(schema)
        if key not in self._known:
            self._known[key] = [()]  # what leads back to itself says nothing more
            self._known[key] = self._read(schema, depth + 1)
        return self._known[key]

    def _read(self, schema: Mapping[str, Any], depth: int) -> list[Variant]:
        found: list[Variant] = [(schema,)]
        if "$ref" in schema:
            target = referred(schema["$ref"], self._root)
            found = _both(found, [_OPEN] if target is True else self.ways(target, depth))
        for part in listed(schema, "allOf"):
            found = _both(found, self.ways(part, depth))
        for keyword in ("anyOf", "oneOf"):
            if options := listed(schema, keyword):
                each = [variant for part in options for variant in self.ways(part, depth)]
                found = _both(found, each)
        return found if len(found) <= MAX_VARIANTS else [()]


def _both(first: list[Variant], second: list[Variant]) -> list[Variant]:
    if len(first) * len(second) > MAX_VARIANTS * MAX_VARIANTS:
        return [()]
    return [
        one + tuple(part for part in other if all(part is not known for known in one))
        for one, other in product(first, second)
    ]


def types_of(variant: Variant) -> Types:
    """The JSON types that fit all of these schemas."""
    types = ALL_TYPES
    for schema in variant:
        own = own_types(schema)
        types &= own | {"integer"} if "number" in own else own
    return types


def declared(variant: Variant) -> Iterator[str]:
    """The names of the properties that are declared."""
    for schema in variant:
        yield from _mapping(schema, "properties")


def member_of(variant: Variant, name: str, root: Any) -> Found:
    """What an object has under a name."""
    parts = [part for schema in variant for part in _declared_parts(schema, name)]
    names = tuple(dict.fromkeys(declared(variant)))
    required = any(name in listed(schema, "required") for schema in variant)
    if parts:
        # Servers in Python declare what has a default as optional, and always send it.
        optional: Presence = "unknown" if has_default(variant, name) else "maybe"
        presence: Presence = "yes" if required else optional
        shape = SchemaType(parts[0] if len(parts) == 1 else {"allOf": parts}, root)
        if False in parts:
            presence = "no"
        return Found(shape, presence, object_with(names), names)
    if is_closed(variant):
        return Found(NULL, "no", object_with(names), names)
    further = [schema["additionalProperties"] for schema in variant if _has_further(schema)]
    if further or required:  # `required` may name what nothing else describes
        others = _of_parts(further, root)
        return Found(others, "yes" if required else "unknown", object_with(names), names)
    conditional = any(not _CONDITIONAL.isdisjoint(schema) for schema in variant)
    if names and not conditional:  # the servers of the SDKs answer nothing that is not declared
        return Found(NULL, "no", object_with(names), names)
    return Found(UnknownType(_SILENT), "unknown")


def has_default(variant: Variant, name: str) -> bool:
    """Whether a property is declared with a default."""
    parts = (part for schema in variant for part in _declared_parts(schema, name))
    return any(isinstance(part, Mapping) and "default" in part for part in parts)


def is_closed(variant: Variant) -> bool:
    """Whether an object has no other members than those that are declared."""
    if any(schema.get("additionalProperties") is False for schema in variant):
        return True
    closed = any(schema.get("unevaluatedProperties") is False for schema in variant)
    other = _CONDITIONAL - {"unevaluatedProperties"}
    return closed and all(other.isdisjoint(schema) for schema in variant)


def _has_further(schema: Mapping[str, Any]) -> bool:
    return schema.get("additionalProperties", False) is not False


def _of_parts(parts: list[Any], root: Any) -> StaticType:
    telling = [part for part in parts if part is not True and part != {}]
    if not telling:
        return UnknownType(_SILENT)
    return SchemaType(telling[0] if len(telling) == 1 else {"allOf": telling}, root)


def _declared_parts(schema: Mapping[str, Any], name: str) -> Iterator[Any]:
    properties = _mapping(schema, "properties")
    if name in properties:
        yield properties[name]
    for pattern, part in _mapping(schema, "patternProperties").items():
        if _matches(pattern, name):
            yield part


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # of another dialect: it may match
        return True


def item_of(variant: Variant, index: int, root: Any) -> Found:
    """What an array has at an index, from its end if that is negative."""
    least, most = lengths(variant)
    needed = index + 1 if index >= 0 else -index
    parts = [_item_schema(schema, index) for schema in variant]
    if needed > most or False in parts:
        holder = f"array of at most {counted(most, 'item')}" if needed > most else "array"
        return Found(NULL, "no", holder)
    presence: Presence = "yes" if needed <= least else "unknown"
    return Found(_of_parts(parts, root), presence, "array")


def _item_schema(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items", True)
    first = listed(schema, "prefixItems") or (items if isinstance(items, list) else [])
    if not first:
        return items
    if index < 0:
        return True
    if index < len(first):
        return first[index]
    return schema.get("additionalItems", True) if isinstance(items, list) else items


def any_item(variant: Variant, root: Any) -> StaticType:
    """What the items of an array are."""
    if any(listed(schema, "prefixItems") or listed(schema, "items") for schema in variant):
        return UnknownType(_SILENT)
    return _of_parts([schema.get("items", True) for schema in variant], root)


def lengths(variant: Variant) -> tuple[int, int]:
    """How many items an array has at least, and at most."""
    least = max(map(int, numbers(variant, "minItems")), default=0)
    closed = [len(listed(s, "prefixItems")) for s in variant if s.get("items") is False]
    return least, min([*map(int, numbers(variant, "maxItems")), *closed], default=NO_LIMIT)


def numbers(variant: Variant, *keywords: str) -> list[float]:
    """The numbers that any of these keywords give."""
    values = [schema.get(keyword) for schema in variant for keyword in keywords]
    return [n for n in values if isinstance(n, int | float) and not isinstance(n, bool)]


def _mapping(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, Mapping) else {}
