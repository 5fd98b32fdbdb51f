"""Completes a value with the defaults that its schema declares inside of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.schema.coercion import json_type, mapped
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import SchemaType, StaticType, schema_type
from orchestrator.schema.variants import Variant, declared, types_of

MAX_FILLED = 10_000  # schemas can refer to each other so that defaults double at each level
MAX_DEPTH = 100


def with_defaults(value: Any, schema: Any) -> Any:
    """The value, with each missing property that has a default; changed parts are copied.

    Where a schema has several forms, only that of the value's type counts.
    """
    if not _may_have_defaults(schema):  # as nearly always: a large value is not walked
        return value
    return _Completion().complete(value, schema_type(schema), ())


def _may_have_defaults(part: Any) -> bool:
    if isinstance(part, Mapping):
        return "default" in part or any(map(_may_have_defaults, part.values()))
    return isinstance(part, list) and any(map(_may_have_defaults, part))


class _Completion:
    def __init__(self) -> None:
        self._query = TypeQuery()
        self._filled = 0

    def complete(self, value: Any, known: StaticType, within: tuple[int, ...]) -> Any:
        """`within`: the schemas of the defaults that the value is in, which may be recursive."""
        if not isinstance(known, SchemaType) or not isinstance(value, dict | list):
            return value
        ways = [way for way in self._query.variants(known) if json_type(value) in types_of(way)]
        if len(ways) != 1 or len(within) > MAX_DEPTH:
            return value
        if isinstance(value, dict):
            return self._object(value, ways[0], known.root, within)
        items = [self.complete(item, of, within) for item, of in self._items(value, known, ways[0])]
        return items if any(a is not b for a, b in zip(items, value, strict=False)) else value

    def _items(
        self, value: list[Any], known: SchemaType, way: Variant
    ) -> Iterator[tuple[Any, StaticType]]:
        """The items of an array, each with its type."""
        if any("prefixItems" in schema for schema in way):
            return ((item, self._query.step(known, at).type) for at, item in enumerate(value))
        element = self._query.element(known)
        return ((item, element) for item in value) if element is not None else iter(())

    def _object(
        self, value: dict[str, Any], way: Variant, root: Any, within: tuple[int, ...]
    ) -> dict[str, Any]:
        made = dict(value)
        for name in dict.fromkeys([*declared(way), *value]):
            inner, below = self._query.member(way, name, root).type, within
            if name not in made:
                defaults = list(_defaults(way, name))
                mark = id(inner.schema) if isinstance(inner, SchemaType) else 0
                if not defaults or mark in within or self._filled >= MAX_FILLED:
                    continue
                self._filled += 1
                made[name], below = defaults[0], (*within, mark)
            made[name] = self.complete(made[name], inner, below)
        same = len(made) == len(value) and all(made[name] is value[name] for name in value)
        return value if same else made


def _defaults(way: Variant, name: str) -> Iterator[Any]:
    for schema in way:
        part = mapped(schema, "properties").get(name)
        if isinstance(part, Mapping) and "default" in part:
            yield part["default"]
