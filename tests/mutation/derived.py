"""Schemas of tools, derived from the arguments and the results that were recorded of them.

The rule of this file: pure functions from values to JSON Schema; a schema says what was seen, and
nothing else. A schema that is open says nothing of names that it does not declare, as those of
pydantic do; one that is closed forbids them, as those of TypeScript and Go servers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

MAX_DEPTH = 4


def json_type(value: Any) -> str:
    """The JSON Schema type of a value; a number without a fraction of its own is an integer."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def derive(values: Sequence[Any], depth: int = MAX_DEPTH) -> Schema:
    """The open schema that the values have in common; below `depth` levels only their types."""
    types = {json_type(value) for value in values}
    if "number" in types:
        types.discard("integer")
    if not types:
        return {}
    schema: Schema = {"type": sorted(types) if len(types) > 1 else min(types)}
    objects = [value for value in values if isinstance(value, dict)]
    if objects and depth:
        schema |= _members(objects, depth - 1)
    items = [item for value in values if isinstance(value, list) for item in value]
    if items and depth:
        schema["items"] = derive(items, depth - 1)
    return schema


def _members(objects: Sequence[Mapping[str, Any]], depth: int) -> Schema:
    names = dict.fromkeys(name for each in objects for name in each)
    return {
        "properties": {
            name: derive([each[name] for each in objects if name in each], depth) for name in names
        },
        "required": [name for name in names if all(name in each for each in objects)],
    }


def closed(schema: Any) -> Any:
    """The same schema, in which each object that declares names has no others."""
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed_below(name, member) for name, member in schema.items()}
    if "properties" in schema:
        made.setdefault("additionalProperties", False)
    return made


def _closed_below(keyword: str, member: Any) -> Any:
    if keyword in ("properties", "$defs"):
        return {name: closed(schema) for name, schema in member.items()}
    if keyword == "anyOf":
        return [closed(schema) for schema in member]
    return closed(member) if keyword == "items" else member
