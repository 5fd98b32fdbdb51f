"""Writes JSON Schemas as types that read like those of TypeScript.

Whatever a server sends as a schema becomes one line of a bounded length, in bounded time, and
nothing raises; what the schema does not say is `any`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, visible
from orchestrator.schema.coercion import mapped, referred

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool

LIMIT = 400
DEPTH = 8
MAX_LITERAL = 60
_MAX_PIECES = 1000  # schemas and values in one text: a few references may stand for very many
_MAX_LEVEL = 40  # of nesting that is no object's, such as arrays of arrays
_MAX_PATTERN = 30
_FEW_VALUES = 8
_LEAST_ROOM = 60
_ROOM_AROUND = len("{, ...}")
_BEYOND_ANY_BOUND = 2**53 - 1  # libraries write the range of safe integers as bounds


def type_text(schema: Any, limit: int = LIMIT) -> str:
    """A JSON Schema, however wrong, as a type: `{title: string, url: string, score?: number}[]`.

    What is longer than `limit` characters is shown to fewer levels, and then cut.
    """
    return _fitted(_Writer.type, schema, limit)


def signature(tool: Tool, limit: int = LIMIT) -> str:
    """The arguments of a tool: `city: string, days: integer = 3`; a `?` or default: optional."""
    return _fitted(_Writer.arguments, tool.asks_for, limit)


def tool_text(tool: Tool) -> str:
    """A tool in one line: `weather:forecast(city: string) -> {city: string, wind_kmh: integer}`."""
    output = "" if tool.gives_inside is None else f" -> {type_text(tool.gives_inside)}"
    return f"{visible(tool.target)}({signature(tool)}){output}"


def literal(value: Any) -> str:
    """A value as JSON on one line, cut if it is long."""
    try:
        text = to_json(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        return "..."
    return cut(visible(text[: MAX_LITERAL + 1]), MAX_LITERAL)


def named(name: Any) -> str:
    """The name of a property, in quotes unless it is an identifier."""
    text = str(name)
    return text if text.isidentifier() and len(text) <= MAX_LITERAL else literal(text)


def _fitted(write: Callable[[_Writer, Any, int], str], schema: Any, limit: int) -> str:
    # What is too long is written with few values of each `enum`, to fewer levels of objects, and in
    # the end without what is optional.
    levels = ((_FEW_VALUES, None, level) for level in range(DEPTH, 0, -1))
    for values, room, level in ((_MAX_PIECES, None, DEPTH), *levels, (_FEW_VALUES, limit, 1)):
        text = write(_Writer(schema, values, room), schema, level)
        if len(text) <= limit:
            break
    return cut(text, limit)


@dataclass(slots=True)
class _Writer:
    """Writes the parts of one schema, to a depth of objects."""

    root: Any
    values: int = _MAX_PIECES  # of an `enum`
    limit: int | None = None  # characters, above which objects leave out what is optional
    _open: list[str] = field(default_factory=list)
    _pieces: int = 0
    _level: int = 0

    def type(self, schema: Any, depth: int) -> str:
        return " | ".join(self._union([schema], depth))

    def arguments(self, schema: Any, depth: int) -> str:
        """The properties of an object without its braces, with their defaults."""
        for _ in range(_MAX_LEVEL):
            if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
                break
            schema = referred(schema["$ref"], self.root)
        if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
            return ", ".join(self._members(schema, depth, self._argument))
        text = self.type(schema, depth)
        if text.startswith("{[") and " | {" not in text:
            return text[1:-1]
        return "" if text in ("any", "object", "{}", "never") else text

    def _union(self, schemas: Iterable[Any], depth: int) -> list[str]:
        return _unique(text for schema in schemas for text in self._alternatives(schema, depth))

    def _alternatives(self, schema: Any, depth: int) -> list[str]:
        if not isinstance(schema, Mapping):
            return ["never"] if schema is False else ["any"]
        if self._pieces >= _MAX_PIECES or self._level >= _MAX_LEVEL:
            return ["..."]
        self._pieces += 1
        self._level += 1
        try:
            if "const" in schema:
                return [literal(schema["const"])]
            if values := _list(schema, "enum"):
                self._pieces += min(len(values), self.values)
                more = ["..."] if len(values) > self.values else []
                return [*_unique(map(literal, values[: self.values])), *more]
            return self._intersection(list(self._parts(schema, depth)))
        finally:
            self._level -= 1

    def _intersection(self, parts: list[list[str]]) -> list[str]:
        parts = [part for part in parts if "any" not in part]
        telling = [part for part in parts if part != ["object"]] or parts
        different = list(dict.fromkeys(map(tuple, telling)))
        if len(different) > 1:
            return [f"({' & '.join(map(_single, different))})"]
        return list(different[0]) if different else ["any"]

    def _parts(self, schema: Mapping[str, Any], depth: int) -> Iterator[list[str]]:
        if isinstance(reference := schema.get("$ref"), str):
            yield self._referred(reference, depth)
        names = _list(schema, "type") or [schema.get("type", _implied(schema))]
        yield _unique(self._of_type(name, schema, depth) for name in names)
        for part in _list(schema, "allOf"):
            yield self._alternatives(part, depth)
        for keyword in ("anyOf", "oneOf"):
            if choices := _list(schema, keyword):
                yield self._union(choices, depth)

    def _referred(self, reference: str, depth: int) -> list[str]:
        target = referred(reference, self.root)
        if reference in self._open:  # a type that contains itself: its name
            title = target.get("title") if isinstance(target, Mapping) else None
            return [named(reference.rpartition("/")[2] if "/" in reference else title or "self")]
        self._open.append(reference)
        try:
            return self._alternatives(target, depth)
        finally:
            self._open.pop()

    def _of_type(self, name: Any, schema: Mapping[str, Any], depth: int) -> str:
        match name:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return f"string{_details(schema)}"
            case "integer" | "number":
                return f"{name}{_bounds(schema)}"
            case "boolean" | "null":
                return str(name)
        return "any"

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        if not mapped(schema, "properties") and not _others(schema):
            return "{}" if schema.get("additionalProperties") is False else "object"
        if depth <= 0:
            return "{...}"
        return f"{{{', '.join(self._members(schema, depth, self._field))}}}"

    def _members(
        self, schema: Mapping[str, Any], depth: int, write: Callable[[Any, Any, bool, int], str]
    ) -> list[str]:
        required = [name for name in _list(schema, "required") if isinstance(name, str)]
        declared, needed = mapped(schema, "properties"), frozenset(required)
        names = list(islice(dict.fromkeys([*declared, *required]), _MAX_PIECES))
        written: dict[Any, str] = {}
        room = math.inf if self.limit is None else self.limit - _ROOM_AROUND
        # What is required has the room first.
        for name in names if self.limit is None else sorted(names, key=lambda n: n not in needed):
            if self._pieces >= _MAX_PIECES:
                break
            self._pieces += 1
            member = write(name, declared.get(name, True), name in needed, depth - 1)
            if name in needed or len(member) <= room:
                written[name] = member
                room -= len(member) + len(", ")
        members = [written[name] for name in names if name in written]
        if others := _others(schema):
            members.append(f"[name]: {' | '.join(self._union(others, depth - 1))}")
        return members if len(written) == len(names) else [*members, "..."]

    def _field(self, name: Any, schema: Any, needed: bool, depth: int) -> str:
        text = self.type(schema, depth)
        if self.limit is not None:
            text = cut(text, max(self.limit // 4, _LEAST_ROOM))
        return f"{named(name)}{'' if needed else '?'}: {text}"

    def _argument(self, name: Any, schema: Any, needed: bool, depth: int) -> str:
        default = schema.get("default") if isinstance(schema, Mapping) else None
        if needed or default is None:
            return self._field(name, schema, needed, depth)
        return f"{self._field(name, schema, True, depth)} = {literal(default)}"

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        items = schema.get("items", True)
        first = _list(schema, "prefixItems") or _list(schema, "items")
        if not first:
            return f"{_single(self._alternatives(items, depth))}[{_size(schema)}]"
        more = schema.get("additionalItems") if isinstance(items, list) else items
        types = [self.type(item, depth) for item in first]
        if isinstance(more, Mapping):
            types.append(f"...{_single(self._alternatives(more, depth))}[]")
        return f"[{', '.join(types)}]"


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _list(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value[:_MAX_PIECES] if isinstance(value, list) else []


def _others(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas of properties that are not named, where they say anything."""
    others = list(islice(mapped(schema, "patternProperties").values(), _MAX_PIECES))
    more = mapped(schema, "additionalProperties")
    return [*others, more] if more else others


def _implied(schema: Mapping[str, Any]) -> str:
    """The type of a schema that names none."""
    for_objects = ("properties", "patternProperties", "additionalProperties")
    if any(isinstance(schema.get(keyword), Mapping) for keyword in for_objects):
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "any"


def _single(alternatives: Iterable[str]) -> str:
    """A type in brackets if it would be misread with something behind it."""
    text = " | ".join(alternatives)
    loose = " | " in text or text.startswith(("integer ", "number "))
    return f"({text})" if loose else text


def _details(schema: Mapping[str, Any]) -> str:
    """The format of a string, or else its pattern, and its length, in brackets."""
    form, pattern = schema.get("format") or schema.get("contentEncoding"), schema.get("pattern")
    longest, kind = _number(schema.get("maxLength")), ""
    if isinstance(form, str):
        kind = cut(visible(form), MAX_LITERAL)
    elif isinstance(pattern, str) and 0 < len(pattern) <= _MAX_PATTERN:
        kind = f"/{visible(pattern)}/"
    found = ", ".join(filter(None, [kind, longest and f"at most {longest}"]))
    return f"({found})" if found else ""


def _bounds(schema: Mapping[str, Any]) -> str:
    """The bounds of a number: ` 1..100`, ` 1..`, ` ..100`, ` >0`, ` >0 <1`; empty without any."""
    low, above = _bound(schema, "minimum", "exclusiveMinimum")
    high, below = _bound(schema, "maximum", "exclusiveMaximum")
    if above or below:
        lower = f">{above}" if above else low and f">={low}"
        upper = f"<{below}" if below else high and f"<={high}"
        return f" {f'{lower} {upper}'.strip()}"
    return f" {low}..{high}" if low or high else ""


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str) -> tuple[str, str]:
    bound, beyond = _number(schema.get(inclusive)), schema.get(exclusive)
    # Draft 4 has `exclusiveMinimum: true` beside the `minimum`.
    return bound, bound if beyond is True else _number(beyond)


def _size(schema: Mapping[str, Any]) -> str:
    """How many items an array has: `2`, `1..`, `..5`, `1..5`; empty if any number."""
    low, high = _number(schema.get("minItems")), _number(schema.get("maxItems"))
    low = "" if low == "0" else low
    return low if low == high else f"{low}..{high}"


def _number(value: Any) -> str:
    """A bound as text; empty if it is none, or so large that it bounds nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not -_BEYOND_ANY_BOUND < value < _BEYOND_ANY_BOUND:
        return ""
    return str(int(value)) if value == math.floor(value) else str(value)
