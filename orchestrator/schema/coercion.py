"""Types meet at the call: text that is a number, for a tool that wants a number.

The rule of this file: only where a reference stands alone, only where the tool's `inputSchema`
leaves no doubt, and only if the text is exactly the JSON of what is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.parse import DocumentError, parse_json

Types = frozenset[str]
ALL_TYPES: Types = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
NO_TYPES: Types = frozenset()
_NOT_TEXT = ALL_TYPES - {"string", "null"}


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
        new = converted(value, wanted)
        if new is not value:
            holder[place[-1]] = new
            made.append(Conversion(format_path(place), json_type(value), json_type(new)))
    return tuple(made)


def converted(value: str | float, wanted: Types) -> Any:
    """What a text, a number or a boolean becomes where these types are wanted; else itself."""
    return _from_text(value, wanted) if isinstance(value, str) else _to_text(value, wanted)


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
        value = parse_json(text)
    except DocumentError:
        return text
    kinds = wanted & _NOT_TEXT
    if isinstance(value, float) and "number" not in kinds and value.is_integer():
        value = int(value)  # 2.0 is an integer too, and not every server takes it for one
    return value if _fits(json_type(value), kinds) else text


def _fits(kind: str, wanted: Types) -> bool:
    return kind in wanted or (kind == "integer" and "number" in wanted)


def _to_text(value: float, wanted: Types) -> Any:
    alone = "string" in wanted and wanted <= {"string", "null"}
    return json.dumps(value) if alone else value


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


def wanted_types(schema: Any, place: Sequence[str | int]) -> Types:
    """The JSON types that a schema allows at a place; all of them where it does not say."""
    try:
        return _TypeReader(schema).types(schema, tuple(place))
    except RecursionError:
        return ALL_TYPES


class _TypeReader:
    """Reads the types out of one schema, each part of it once: a `$ref` may lead in circles."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[tuple[int, int], Types] = {}

    def types(self, schema: Any, place: Path) -> Types:
        if schema is False:
            return NO_TYPES
        if not isinstance(schema, Mapping):
            return ALL_TYPES
        key = id(schema), len(place)
        if key not in self._known:
            self._known[key] = ALL_TYPES
            self._known[key] = self._read(schema, place)
        return self._known[key]

    def _read(self, schema: Mapping[str, Any], place: Path) -> Types:
        types = self._below(schema, place) if place else own_types(schema)
        if "$ref" in schema:
            types &= self.types(referred(schema["$ref"], self._root), place)
        for option in listed(schema, "allOf"):
            types &= self.types(option, place)
        for keyword in ("anyOf", "oneOf"):
            if options := listed(schema, keyword):
                types &= NO_TYPES.union(*(self.types(option, place) for option in options))
        return types

    def _below(self, schema: Mapping[str, Any], place: Path) -> Types:
        """The types at a place below a value; none if the value cannot hold anything there."""
        step = place[0]
        holder = "array" if isinstance(step, int) else "object"
        if holder not in own_types(schema):
            return NO_TYPES
        inner = _item(schema, step) if isinstance(step, int) else _member(schema, step)
        return self.types(inner, place[1:])


def own_types(schema: Mapping[str, Any]) -> Types:
    """The types that `type`, `const` and `enum` of a schema allow, and OpenAPI's `nullable`."""
    types = ALL_TYPES
    named = schema.get("type")
    if isinstance(named, str):
        types &= {named}
    elif named := listed(schema, "type"):
        types &= frozenset(name for name in named if isinstance(name, str))
    if "const" in schema:
        types = _of_values(types, [schema["const"]])
    if values := listed(schema, "enum"):
        types = _of_values(types, values)
    return types | {"null"} if schema.get("nullable") is True else types


def _of_values(types: Types, values: Iterable[Any]) -> Types:
    """Those of the types that one of the values has; 1 is a `number` too, and 1.0 an `integer`."""
    kinds = set(map(json_type, values))
    if "number" in types:
        types |= {"integer"}
    if any(isinstance(value, float) and value.is_integer() for value in values):
        kinds |= {"integer"}
    return types & kinds


def _item(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items", True)
    first = listed(schema, "prefixItems") or (items if isinstance(items, list) else [])
    if index < len(first):
        return first[index]
    return True if isinstance(items, list) else items


def _member(schema: Mapping[str, Any], name: str) -> Any:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        return properties[name]
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)


def listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    """What a keyword lists; servers send schemas of every sort."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def referred(reference: Any, root: Any) -> Any:
    """What a `$ref` within the same document names; True (anything) for any other."""
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
