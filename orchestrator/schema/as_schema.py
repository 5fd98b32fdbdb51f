"""A static type as a JSON Schema that stands alone."""

from __future__ import annotations

from typing import Any

from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.types import (
    ArrayType,
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
)

# A schema with one of these has references that mean something else in another document.
_BOUND = frozenset({"$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"})


def as_schema(type_: StaticType) -> dict[str, Any]:
    """A JSON Schema that every value of the type fits; what it cannot say it leaves open."""
    roots: dict[int, tuple[str, Any]] = {}
    schema = _schema(type_, roots)
    if roots:
        schema = {**schema, "$defs": dict(roots.values())}
    return schema


def _schema(type_: StaticType, roots: dict[int, tuple[str, Any]]) -> dict[str, Any]:
    match type_:
        case SourcedType(inner):
            return _schema(inner, roots)
        case LiteralType(value):
            return {"const": value}
        case SchemaType(schema, root):
            return _moved(schema, root, roots)
        case TupleType(items):
            shown = [_schema(item, roots) for item in items]
            return {"type": "array", "items": _any_of(shown), "minItems": len(items)}
        case ArrayType(item):
            return {"type": "array", "items": _schema(item, roots)}
        case ObjectType(members):
            properties = {name: _schema(member, roots) for name, member in members.items()}
            return {"type": "object", "properties": properties, "required": list(members)}
        case UnionType(options):
            return _any_of([_schema(option, roots) for option in options])
        case UnknownType(_, types):
            return {} if types == ALL_TYPES else {"type": sorted(types)}


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    unique = [each for index, each in enumerate(schemas) if each not in schemas[:index]]
    if not unique or {} in unique:
        return {}
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _moved(schema: Any, root: Any, roots: dict[int, tuple[str, Any]]) -> dict[str, Any]:
    """A schema of one document as a part of another, which keeps what it refers to."""
    if not isinstance(schema, dict):
        return {"not": {}} if schema is False else {}
    if not _mentions(schema, frozenset({"$ref"}) | _BOUND):
        return {name: part for name, part in schema.items() if name not in ("$schema", "$defs")}
    if not isinstance(root, dict) or _mentions(root, _BOUND):
        return {}
    if id(root) not in roots:
        name = f"r{len(roots)}"
        roots[id(root)] = name, True  # before its parts, which may refer to it
        inside = {key: part for key, part in root.items() if key != "$schema"}
        roots[id(root)] = name, _led(inside, f"#/$defs/{name}")
    name = roots[id(root)][0]
    kept = {key: part for key, part in schema.items() if key not in ("$schema", "$defs")}
    moved: dict[str, Any] = _led(kept, f"#/$defs/{name}")
    return moved


def _mentions(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return any(name in names or _mentions(part, names) for name, part in value.items())
    return isinstance(value, list) and any(_mentions(part, names) for part in value)


def _led(value: Any, to: str) -> Any:
    """A part of a schema whose references lead to the same places below `to`."""
    if isinstance(value, list):
        return [_led(part, to) for part in value]
    if not isinstance(value, dict):
        return value
    led = {name: _led(part, to) for name, part in value.items()}
    reference = value.get("$ref")
    if isinstance(reference, str):
        led["$ref"] = to + reference.removeprefix("#") if reference.startswith("#") else to
    return led
