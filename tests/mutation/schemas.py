"""What the schema of a tool says about a path: a second reader, independent of the checker's.

It knows types, properties, items, `$ref` and `anyOf`, which is all the tools of this test use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tests.mutation.documents import Path

ALL = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

Reading = Literal["declared", "may be absent", "unknown", "not declared", "ruled out"]
"""What a schema says about a path. `unknown`: nothing; `not declared`: an open object that declares
other names; `ruled out`: no value that fits has this path."""

Sight = Literal["certain", "undeclared", "possible", "unseen"]
"""How far schemas show a failure. `certain`: no value that fits would do; `undeclared`: a name that
an open schema does not declare; `possible`: some values that fit fail and others do not."""

_ORDER: tuple[Reading, ...] = ("declared", "may be absent", "unknown", "not declared", "ruled out")


def json_type(value: Any) -> str:
    """The JSON Schema type of a value."""
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def _options(schema: Any, root: Any) -> Iterator[Mapping[str, Any]]:
    """The plain schemas of which a value has to fit one."""
    if not isinstance(schema, Mapping):
        yield {}
    elif "$ref" in schema:
        referred = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            referred = referred[name]
        yield from _options(referred, root)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _options(option, root)
    else:
        yield schema


def types_of(schema: Any, root: Any) -> frozenset[str]:
    """The JSON types that a schema allows, `integer` also where it says `number`."""
    return frozenset[str]().union(*map(_own_types, _options(schema, root)))


def _own_types(option: Mapping[str, Any]) -> frozenset[str]:
    named = option.get("type", ALL)
    types = frozenset([named] if isinstance(named, str) else named)
    return types | {"integer"} if "number" in types else types


def read(schema: Any, path: Path) -> tuple[Reading, tuple[Any, ...]]:
    """What a schema says about a path, and the schemas of the values there."""
    reading: Reading = "declared"
    here: tuple[Any, ...] = (schema,)
    for step in path:
        seen = [_step(option, step) for each in here for option in _options(each, schema)]
        readings = {each for each, _ in seen}
        best = min(readings, key=_ORDER.index)
        if best == "declared" and "ruled out" in readings:
            best = "may be absent"
        reading = max(reading, best, key=_ORDER.index)
        here = tuple(below for _, schemas in seen for below in schemas)
        if not here:
            break
    return reading, here


def _step(option: Mapping[str, Any], step: str | int) -> tuple[Reading, tuple[Any, ...]]:
    types, properties = _own_types(option), option.get("properties", {})
    if ("array" if isinstance(step, int) else "object") not in types:
        return "ruled out", ()
    if isinstance(step, int):
        return ("declared", (option["items"],)) if "items" in option else ("unknown", ({},))
    if step in properties:
        certain = step in option.get("required", ()) and types == {"object"}
        return ("declared" if certain else "may be absent"), (properties[step],)
    if option.get("additionalProperties") is False:
        return "ruled out", ()
    return ("not declared", ()) if properties else ("unknown", ({},))


def types_at(schema: Any, path: Path) -> frozenset[str] | None:
    """The JSON types that a schema allows at a path; None if it does not declare the path."""
    reading, schemas = read(schema, path)
    if reading not in ("declared", "may be absent"):
        return None
    return frozenset[str]().union(*(types_of(each, schema) for each in schemas))


# Schemas made of recorded values.


def derive(values: Sequence[Any], depth: int = 4) -> dict[str, Any]:
    """The schema that values have in common, open for other names; types only below `depth`."""
    types = {json_type(value) for value in values}
    if "number" in types:
        types.discard("integer")
    if not types:
        return {}
    schema: dict[str, Any] = {"type": sorted(types) if len(types) > 1 else min(types)}
    objects = [value for value in values if isinstance(value, dict)]
    items = [item for value in values if isinstance(value, list) for item in value]
    if objects and depth:
        names = dict.fromkeys(name for each in objects for name in each)
        schema["properties"] = {
            name: derive([each[name] for each in objects if name in each], depth - 1)
            for name in names
        }
        schema["required"] = [name for name in names if all(name in each for each in objects)]
    if items and depth:
        schema["items"] = derive(items, depth - 1)
    return schema


def closed(schema: Any) -> Any:
    """The same schema, in which each object that declares names forbids others."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for keyword in made.keys() & {"properties", "$defs"}:
        made[keyword] = {name: closed(member) for name, member in schema[keyword].items()}
    if "anyOf" in made:
        made["anyOf"] = [closed(option) for option in schema["anyOf"]]
    if "items" in made:
        made["items"] = closed(schema["items"])
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made
