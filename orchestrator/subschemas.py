"""The part of a JSON Schema that is about one place in the value.

The rule of this file: it follows a path and `$ref`s within the document, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.conversion import referred
from orchestrator.paths import Path

_DEFINITIONS = ("$defs", "definitions")


def subschema(schema: Any, path: Path) -> Mapping[str, Any] | None:
    """The schema of a place, with the definitions of the whole, so that it stands on its own.

    None if the schema says nothing about that place. Of several options (`anyOf`, `oneOf`,
    `allOf`) it is the first one that does.
    """
    try:
        found = _at(schema, path, schema, set())
    except RecursionError:
        return None
    if not isinstance(found, Mapping) or not isinstance(schema, Mapping):
        return None
    return {name: schema[name] for name in _DEFINITIONS if name in schema} | dict(found)


def _at(schema: Any, path: Path, root: Any, seen: set[tuple[int, int]]) -> Any:
    """The same; `seen` are the parts that were looked into: a `$ref` may lead in circles."""
    key = id(schema), len(path)
    if not isinstance(schema, Mapping) or key in seen:
        return None
    seen.add(key)
    if "$ref" in schema:
        found = _at(referred(schema["$ref"], root), path, root, seen)
        if found is not None:
            return found
    if not path:
        return schema
    inner = _item(schema, path[0]) if isinstance(path[0], int) else _member(schema, path[0])
    found = _at(inner, path[1:], root, seen)
    options = (
        _at(option, path, root, seen)
        for keyword in ("allOf", "anyOf", "oneOf")
        for option in as_list(schema.get(keyword))
    )
    return found if found is not None else next((each for each in options if each), None)


def _item(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items")
    first = as_list(schema.get("prefixItems")) or as_list(items)
    if 0 <= index < len(first):
        return first[index]
    return None if isinstance(items, list) else items


def _member(schema: Mapping[str, Any], name: str) -> Any:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        return properties[name]
    return schema.get("additionalProperties")


def as_list(value: Any) -> list[Any]:
    """A list as it is, and none for anything else: servers send schemas of every sort."""
    return value if isinstance(value, list) else []


def lengths(schema: Any) -> tuple[int, int | None]:
    """How many items an array has at least, and at most (None = no limit), by its schema."""
    if not isinstance(schema, Mapping):
        return 0, None
    least, most = _whole(schema.get("minItems")) or 0, _whole(schema.get("maxItems"))
    if isinstance(first := schema.get("prefixItems"), list) and schema.get("items") is False:
        most = len(first) if most is None else min(most, len(first))
    return least, most


def _whole(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and value >= 0 else None
