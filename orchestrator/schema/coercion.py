"""Converts arguments at the call: many servers answer numbers as strings.

Only where a reference stands alone, only where the `inputSchema` leaves no doubt, and only if the
string is exactly the JSON of the type that is expected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.parse import DocumentError, parse_json

Types = frozenset[str]
ALL_TYPES: Types = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
NO_TYPES: Types = frozenset()
_NOT_STRING = ALL_TYPES - {"string", "null"}
_JSON_TYPES: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """An argument that was converted: its path, the JSON type of its reference, and its new one."""

    path: str
    given: str
    wanted: str


def convert(
    arguments: dict[str, Any], paths: Iterable[Path], types_at: Callable[[Path], Types]
) -> tuple[Conversion, ...]:
    """Convert, in place, what references gave into what a tool expects.

    Args:
        arguments: The resolved arguments; nothing on the way to a path may be shared.
        paths: Where in them a reference stands alone.
        types_at: The JSON types that the tool accepts at a path.
    """
    made: list[Conversion] = []
    for path in paths:
        holder = _holder(arguments, path)
        value = holder[path[-1]] if holder is not None else None
        if not isinstance(value, str | int | float):  # a bool is an int
            continue
        new = converted(value, types_at(path))
        if new is not value:
            holder[path[-1]] = new
            made.append(Conversion(format_path(path), json_type(value), json_type(new)))
    return tuple(made)


def _holder(arguments: Any, path: Path) -> Any:
    """The array or object with the last step of a path; None if an expression gave the name."""
    here = arguments
    for step in path[:-1]:
        here = here[step] if not isinstance(here, dict) or step in here else None
        if here is None:
            return None
    return here if not isinstance(here, dict) or path[-1] in here else None


def converted(value: str | float, wanted: Types) -> Any:
    """What a string, a number or a boolean becomes where these types are accepted; else itself."""
    if not isinstance(value, str):
        return json.dumps(value) if "string" in wanted and wanted <= {"string", "null"} else value
    types = wanted & _NOT_STRING
    if "string" in wanted or not types or value != value.strip():
        return value
    try:
        parsed = parse_json(value)
    except DocumentError:
        return value
    if isinstance(parsed, float) and "number" not in types and parsed.is_integer():
        parsed = int(parsed)  # 2.0 is an integer too, but not every server accepts it as one
    found = json_type(parsed)
    return parsed if found in types or (found == "integer" and "number" in types) else value


def json_type(value: Any) -> str:
    """The JSON Schema type of a value; that of an `int` is `integer`."""
    return next(
        (_JSON_TYPES[each] for each in type(value).__mro__ if each in _JSON_TYPES), "object"
    )


def own_types(schema: Mapping[str, Any]) -> Types:
    """The types that `type`, `const`, `enum` and OpenAPI's `nullable` of a schema allow."""
    named = schema.get("type")
    names = [named] if isinstance(named, str) else listed(schema, "type")
    types = ALL_TYPES.intersection(n for n in names if isinstance(n, str)) if names else ALL_TYPES
    for values in ([schema["const"]] if "const" in schema else [], listed(schema, "enum")):
        if values:  # 1 is a `number` too, and 1.0 an `integer`
            accepted = types | {"integer"} if "number" in types else types
            whole = any(isinstance(value, float) and value.is_integer() for value in values)
            types = accepted & {*map(json_type, values), *(("integer",) if whole else ())}
    return types | {"null"} if schema.get("nullable") is True else types


def listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    """The array of a keyword; empty if it has none: servers send schemas of every sort."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def mapped(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    """The object of a keyword; empty if it has none."""
    value = schema.get(keyword)
    return value if isinstance(value, Mapping) else {}


def referred(reference: Any, root: Any) -> Any:
    """The target of a `$ref` within the same document; True (anything) for any other."""
    if reference == "#":
        return root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return True
    here = root
    for token in unquote(reference[2:]).split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            here = here[int(name)]
        else:
            return True
    return here
