"""What the schema of a tool says of a place: an own reading of it, independent of the checker's.

The rule of this file: small and plain, for the schemas that the benchmark has (types, properties,
items, `$ref`, `anyOf`); what it does not know of, it takes for a schema that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tests.mutation.sites import Path

ALL = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

Sight = Literal["declared", "may be absent", "not declared", "ruled out", "unknown"]
"""What a schema says of a place. `not declared`: an open object that has other names; `unknown`:
the schema says nothing of what is there."""

_ORDER: tuple[Sight, ...] = ("declared", "may be absent", "unknown", "not declared", "ruled out")
Reading = tuple[Sight, tuple[Any, ...]]


def options(schema: Any, root: Any) -> Iterator[Mapping[str, Any]]:
    """The plain schemas of which a value has to fit one."""
    if not isinstance(schema, Mapping):
        yield {}
    elif "$ref" in schema:
        yield from options(_referred(schema["$ref"], root), root)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from options(option, root)
    else:
        yield schema


def _referred(reference: str, root: Any) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        root = root[name]
    return root


def types_of(schema: Any, root: Any) -> frozenset[str]:
    """The JSON types that a schema allows, `integer` also where it says `number`."""
    return frozenset[str]().union(*(own_types(option) for option in options(schema, root)))


def own_types(option: Mapping[str, Any]) -> frozenset[str]:
    """The same of a plain schema."""
    named = option.get("type", ALL)
    types = frozenset([named] if isinstance(named, str) else named)
    return types | {"integer"} if "number" in types else types


def read(schema: Any, path: Path) -> Reading:
    """What a schema says of a path, and the schemas of what is there."""
    sight: Sight = "declared"
    here: tuple[Any, ...] = (schema,)
    for step in path:
        seen = [_step(option, step) for each in here for option in options(each, schema)]
        best = min(seen, key=lambda one: _ORDER.index(one[0]))[0]
        split = any(one[0] == "ruled out" for one in seen) and best == "declared"
        best = "may be absent" if split else best
        sight = max(sight, best, key=_ORDER.index)
        here = tuple(below for one in seen for below in one[1])
        if not here:
            return sight, ()
    return sight, here


def _step(option: Mapping[str, Any], step: str | int) -> Reading:
    types = own_types(option)
    if isinstance(step, int):
        if "array" not in types:
            return "ruled out", ()
        return ("unknown", ({},)) if "items" not in option else ("declared", (option["items"],))
    if "object" not in types:
        return "ruled out", ()
    properties = option.get("properties")
    if properties and step in properties:
        certain = step in option.get("required", ()) and types == {"object"}
        return ("declared" if certain else "may be absent"), (properties[step],)
    if option.get("additionalProperties") is False:
        return "ruled out", ()
    return ("not declared", ()) if properties else ("unknown", ({},))


def types_at(schema: Any, path: Path) -> frozenset[str] | None:
    """The JSON types that a schema allows at a path; None where it does not declare the place."""
    sight, schemas = read(schema, path)
    if sight not in ("declared", "may be absent"):
        return None
    return frozenset[str]().union(*(types_of(each, schema) for each in schemas))
