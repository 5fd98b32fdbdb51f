"""Types meet at the call: text that is a number, for a tool that wants a number.

The rule of this file: only where a reference stands alone, only where the tool's `inputSchema` leaves
no doubt, and only if the text is exactly the JSON of what is wanted. Nothing else is converted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.paths import Path, format_path

Types = frozenset[str]
ALL_TYPES: Types = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_NOT_TEXT = ALL_TYPES - {"string", "null"}
_LOOKUP_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Conversion:
    """One argument that was converted for its tool.

    Attributes:
        path: Where in the arguments.
        given: The JSON type that the reference gave.
        wanted: The JSON type that was made of it.
    """

    path: str
    given: str
    wanted: str


def convert(
    arguments: dict[str, Any], places: Iterable[Path], schema: Mapping[str, Any]
) -> tuple[Conversion, ...]:
    """Convert, in place, what references gave into what the tool's schema wants.

    Args:
        arguments: The resolved arguments; what lies on the way to a place must not be shared.
        places: Where in them a reference stands alone.
        schema: The tool's `inputSchema`.

    Returns:
        What was converted.
    """
    made: list[Conversion] = []
    for place in places:
        holder = _holder(arguments, place)
        value = holder[place[-1]] if holder is not None else None
        if not isinstance(value, str | int | float):  # a bool is an int
            continue
        wanted = wanted_types(schema, place)
        converted = _from_text(value, wanted) if isinstance(value, str) else _to_text(value, wanted)
        if converted is not value:
            holder[place[-1]] = converted
            made.append(Conversion(format_path(place), json_type(value), json_type(converted)))
    return tuple(made)


def _holder(arguments: Any, place: Path) -> Any:
    """The array or object that holds the last step of a place, or None if a name was computed."""
    here = arguments
    for step in place[:-1]:
        here = here[step] if not isinstance(here, dict) or step in here else None
        if here is None:
            return None
    return here if not isinstance(here, dict) or place[-1] in here else None


def _from_text(text: str, wanted: Types) -> Any:
    if "string" in wanted or not wanted & _NOT_TEXT or text != text.strip():
        return text
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return value if _fits(value, wanted - {"null"}) else text


def _to_text(value: float, wanted: Types) -> Any:
    alone = "string" in wanted and wanted <= {"string", "null"}
    return json.dumps(value) if alone else value


def _fits(value: Any, wanted: Types) -> bool:
    kind = json_type(value)
    if kind == "number" and "integer" in wanted and float(value).is_integer():
        return True
    return kind in wanted or (kind == "integer" and "number" in wanted)


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def json_type(value: Any) -> str:
    """The JSON Schema type of a value; a number without a fraction of its own is an `integer`."""
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
        case _:
            return "object"


def wanted_types(schema: Any, place: Path) -> Types:
    """The JSON types that a schema allows at a place; all of them where it does not say."""
    here = [schema]
    for step in place:
        here = [below for part in here for below in _below(part, step, schema)]
        if len(here) > _LOOKUP_LIMIT:
            return ALL_TYPES
    if not here:
        return ALL_TYPES
    allowed: Types = frozenset()
    for part in here:
        allowed |= _types(part, schema, 0)
    return allowed


def _below(schema: Any, step: str | int, root: Any) -> list[Any]:
    """The schemas of what lies one step below a value."""
    found: list[Any] = []
    for part in _alternatives(schema, root, 0):
        if isinstance(step, int):
            prefix = part.get("prefixItems", [])
            inner = prefix[step] if step < len(prefix) else part.get("items", True)
        else:
            properties = part.get("properties", {})
            inner = properties.get(step, part.get("additionalProperties", True))
        found.append(inner)
    return found


def _alternatives(schema: Any, root: Any, depth: int) -> list[Mapping[str, Any]]:
    """A schema with its `$ref` followed and its `anyOf` and `oneOf` apart."""
    if not isinstance(schema, Mapping) or depth > _LOOKUP_LIMIT:
        return []
    if "$ref" in schema:
        return _alternatives(_referred(schema["$ref"], root), root, depth + 1)
    found = (
        [schema] if "properties" in schema or "items" in schema or "prefixItems" in schema else []
    )
    for keyword in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(keyword, []):
            found += _alternatives(option, root, depth + 1)
    return found or [schema]


def _types(schema: Any, root: Any, depth: int) -> Types:
    if not isinstance(schema, Mapping) or depth > _LOOKUP_LIMIT:
        return ALL_TYPES
    types = ALL_TYPES
    if "$ref" in schema:
        types &= _types(_referred(schema["$ref"], root), root, depth + 1)
    if "type" in schema:
        named = schema["type"]
        types &= frozenset([named] if isinstance(named, str) else named)
    if "const" in schema:
        types &= {json_type(schema["const"])}
    if "enum" in schema:
        types &= frozenset(map(json_type, schema["enum"]))
    for keyword, combine in _COMBINED.items():
        if options := schema.get(keyword):
            types &= combine([_types(option, root, depth + 1) for option in options])
    return types


_COMBINED: Mapping[str, Callable[[list[Types]], Types]] = {
    "anyOf": lambda types: frozenset().union(*types),
    "oneOf": lambda types: frozenset().union(*types),
    "allOf": lambda types: ALL_TYPES.intersection(*types),
}


def _referred(reference: Any, root: Any) -> Any:
    """What a `$ref` within the same document names; True (anything) for any other."""
    here = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    for token in reference[1:].split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if not isinstance(here, Mapping) or name not in here:
            return True
        here = here[name]
    return here
