"""The variants of a JSON Schema, and what each of them says of properties and items.

What a schema says with keywords that are not read here is taken to allow anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from orchestrator.documents.text import counted
from orchestrator.schema.coercion import ALL_TYPES, Types, listed, mapped, own_types, referred
from orchestrator.schema.patterns import matches
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
_SILENT = UnknownType("its schema does not say what is in it")

# Plain schemas that all hold at once.
Variant = tuple[Mapping[str, Any], ...]

# Stands for a reference that cannot be followed: it may declare more properties.
_OPEN: Variant = ({"additionalProperties": True},)
_CONDITIONAL = frozenset({"if", "dependentSchemas", "dependencies", "$dynamicRef", "$recursiveRef"})


@dataclass(frozen=True, slots=True)
class ObjectMembers:
    """The properties that a variant declares and requires, and whether it allows no others."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    is_closed: bool


def unfold(schema: Any, root: Any) -> list[Variant]:
    """The variants of a schema with `$ref`, `allOf`, `anyOf` and `oneOf` written out.

    None at all if nothing fits the schema; `()` fits anything.
    """
    known: dict[int, list[Variant]] = {}  # by part: a `$ref` may lead in circles

    def variants(part: Any, depth: int) -> list[Variant]:
        if part is False:
            return []
        if not isinstance(part, Mapping) or not part or depth > MAX_DEPTH:
            return [()]
        if id(part) not in known:
            known[id(part)] = [()]  # what leads back to itself says nothing more
            known[id(part)] = read(part, depth + 1)
        return known[id(part)]

    def read(part: Mapping[str, Any], depth: int) -> list[Variant]:
        found: list[Variant] = [(part,)]
        if "$ref" in part:
            target = referred(part["$ref"], root)
            found = _both(found, [_OPEN] if target is True else variants(target, depth))
        for each in listed(part, "allOf"):
            found = _both(found, variants(each, depth))
        for keyword in ("anyOf", "oneOf"):
            if options := listed(part, keyword):
                found = _both(found, [way for each in options for way in variants(each, depth)])
        return found if len(found) <= MAX_VARIANTS else [()]

    return variants(schema, 0)


def _both(first: list[Variant], second: list[Variant]) -> list[Variant]:
    if len(first) * len(second) > MAX_VARIANTS * MAX_VARIANTS:
        return [()]
    return [
        one + tuple(part for part in other if all(part is not known for known in one))
        for one, other in product(first, second)
    ]


def types_of(variant: Variant) -> Types:
    """The JSON types that fit all schemas of a variant; a `number` may be an `integer` too."""
    types = ALL_TYPES
    for schema in variant:
        own = own_types(schema)
        types &= own | {"integer"} if "number" in own else own
    return types


def declared(variant: Variant) -> tuple[str, ...]:
    """The names of the properties that are declared."""
    return tuple(dict.fromkeys(name for part in variant for name in mapped(part, "properties")))


def members_of(variant: Variant) -> ObjectMembers:
    """The properties of an object; what has a default is not required, as at run time."""
    names = dict.fromkeys(name for part in variant for name in listed(part, "required"))
    required = (name for name in names if isinstance(name, str))
    needed = tuple(name for name in required if not _has_default(variant, name))
    return ObjectMembers(declared(variant), needed, _is_closed(variant))


def member_of(variant: Variant, name: str, root: Any) -> Found:
    """What an object has under a name."""
    parts = [part for schema in variant for part in _declared_parts(schema, name)]
    names = declared(variant)
    required = any(name in listed(schema, "required") for schema in variant)
    if parts:
        # Servers in Python declare what has a default as optional, and always send it.
        optional: Presence = "unknown" if _has_default(variant, name) else "maybe"
        presence: Presence = "no" if False in parts else "yes" if required else optional
        return Found(_all_of(parts, root), presence, object_with(names), names)
    others = [part for part in _values(variant, "additionalProperties", False) if part is not False]
    closed = _is_closed(variant)
    if not closed and (others or required):  # `required` may name what nothing describes
        presence = "yes" if required else "unknown"
        return Found(_of_parts(others, root), presence, object_with(names), names)
    # The servers of the SDKs answer nothing that is not declared.
    if closed or (names and not _has_any(variant, _CONDITIONAL | {"unevaluatedProperties"})):
        return Found(NULL, "no", object_with(names), names)
    return Found(_SILENT, "unknown")


def _has_default(variant: Variant, name: str) -> bool:
    parts = (part for schema in variant for part in _declared_parts(schema, name))
    return any(isinstance(part, Mapping) and "default" in part for part in parts)


def _is_closed(variant: Variant) -> bool:
    if any(part is False for part in _values(variant, "additionalProperties")):
        return True
    unevaluated = any(part is False for part in _values(variant, "unevaluatedProperties"))
    return unevaluated and not _has_any(variant, _CONDITIONAL)


def _values(variant: Variant, keyword: str, default: Any = None) -> list[Any]:
    return [schema.get(keyword, default) for schema in variant]


def _has_any(variant: Variant, keywords: frozenset[str]) -> bool:
    return any(not keywords.isdisjoint(schema) for schema in variant)


def _all_of(parts: list[Any], root: Any) -> SchemaType:
    return SchemaType(parts[0] if len(parts) == 1 else {"allOf": parts}, root)


def _of_parts(parts: list[Any], root: Any) -> StaticType:
    telling = [part for part in parts if part is not True and part != {}]
    return _all_of(telling, root) if telling else _SILENT


def _declared_parts(schema: Mapping[str, Any], name: str) -> Iterator[Any]:
    properties = mapped(schema, "properties")
    if name in properties:
        yield properties[name]
    for pattern, part in mapped(schema, "patternProperties").items():
        if matches(pattern, name):
            yield part


def item_of(variant: Variant, index: int, root: Any) -> Found:
    """What an array has at an index, from its end if that is negative."""
    least, most = lengths(variant)
    needed = index + 1 if index >= 0 else -index
    parts = [_item_schema(schema, index) for schema in variant]
    if needed > most:
        return Found(NULL, "no", f"array of at most {counted(most, 'item')}")
    if False in parts:
        return Found(NULL, "no", "array")
    return Found(_of_parts(parts, root), "yes" if needed <= least else "unknown", "array")


def _item_schema(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items", True)
    first = listed(schema, "prefixItems") or (items if isinstance(items, list) else [])
    if first and index < 0:
        return True
    if 0 <= index < len(first):
        return first[index]
    return schema.get("additionalItems", True) if isinstance(items, list) else items


def any_item(variant: Variant, root: Any) -> StaticType:
    """What the items of an array are."""
    if any(listed(schema, "prefixItems") or listed(schema, "items") for schema in variant):
        return _SILENT
    return _of_parts(_values(variant, "items", True), root)


def lengths(variant: Variant) -> tuple[int, int]:
    """How many items an array has at least, and at most."""
    least = max(map(int, numbers(variant, "minItems")), default=0)
    closed = [len(listed(s, "prefixItems")) for s in variant if s.get("items") is False]
    return least, min([*map(int, numbers(variant, "maxItems")), *closed], default=NO_LIMIT)


def numbers(variant: Variant, *keywords: str) -> list[float]:
    """The numbers that any of these keywords give."""
    values = [schema.get(keyword) for schema in variant for keyword in keywords]
    return [n for n in values if isinstance(n, int | float) and not isinstance(n, bool)]
