"""JSON Schemas as types that read like those of TypeScript.

The rule of this file: whatever a server sends as a schema becomes text of a bounded length, in
bounded time, and nothing raises; what the schema does not say is `any`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.documents.text import cut, visible
from orchestrator.schema.coercion import referred
from orchestrator.schema.literals import bounds, details, literal, named, size

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool

LIMIT = 400
DEPTH = 8
_MAX_PIECES = 1000  # schemas and values in one text: a few references may stand for very many
_MAX_LEVEL = 40  # of nesting that is no object's, such as lists of lists
_FEW_VALUES = 8
_LEAST_ROOM = 60
_ROOM_AROUND = len("{, ...}")
_SIMPLE = frozenset({"string", "integer", "number", "boolean", "null"})
_OF_OBJECTS = ("properties", "patternProperties", "additionalProperties")
_OF_ARRAYS = ("items", "prefixItems")


def fitted(write: Callable[[Writer, int], str], root: Any, limit: int) -> str:
    """A text of at most `limit` characters, which says as much as there is room for.

    What is too long is written with few values of each `enum`, to fewer levels of objects, and in
    the end without what is optional.

    Args:
        write: Writes it to a depth of objects.
        root: The document, in which references lead.
        limit: The length, characters.
    """
    text = write(Writer(root), DEPTH)
    for level in range(DEPTH, 0, -1):
        if len(text) <= limit:
            return text
        text = write(Writer(root, _FEW_VALUES), level)
    if len(text) > limit:
        text = write(Writer(root, _FEW_VALUES, limit), 1)
    return cut(text, limit)


@dataclass(slots=True)
class Writer:
    """Writes the schemas of one document, and keeps what it is in the middle of.

    Attributes:
        root: The document, in which references lead.
        values: How many values of an `enum` are written.
        limit: The length, characters, from which on objects leave out what is optional; None =
            nothing is left out.
    """

    root: Any
    values: int = _MAX_PIECES
    limit: int | None = None
    _open: list[str] = field(default_factory=list)
    _pieces: int = 0
    _level: int = 0

    def type(self, schema: Any, depth: int) -> str:
        """The type of a schema, to a depth of objects."""
        return " | ".join(self._alternatives(schema, depth))

    def arguments(self, schema: Any, depth: int) -> str:
        """The fields of an object without its braces, with their defaults."""
        schema = self._followed(schema)
        if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
            return ", ".join(self._members(schema, depth, self._argument))
        text = self.type(schema, depth)
        if text.startswith("{[") and " | {" not in text:
            return text[1:-1]
        return "" if text in ("any", "object", "{}", "never") else text

    def _followed(self, schema: Any) -> Any:
        for _ in range(_MAX_LEVEL):
            if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
                break
            schema = referred(schema["$ref"], self.root)
        return schema

    def _alternatives(self, schema: Any, depth: int) -> list[str]:
        """The members of a union; one, if the type is none."""
        if not isinstance(schema, Mapping):
            return ["never"] if schema is False else ["any"]
        if self._pieces >= _MAX_PIECES or self._level >= _MAX_LEVEL:
            return ["..."]
        self._pieces += 1
        self._level += 1
        try:
            return self._written(schema, depth)
        finally:
            self._level -= 1

    def _written(self, schema: Mapping[str, Any], depth: int) -> list[str]:
        if "const" in schema:
            return [literal(schema["const"])]
        if values := _list(schema.get("enum")):
            return self._some_of(values)
        parts = [part for part in self._parts(schema, depth) if "any" not in part]
        telling = [part for part in parts if part != ["object"]] or parts
        different = list(dict.fromkeys(map(tuple, telling)))
        if len(different) > 1:
            return [f"({' & '.join(map(_single, different))})"]
        return list(different[0]) if different else ["any"]

    def _some_of(self, values: list[Any]) -> list[str]:
        self._pieces += min(len(values), self.values)
        shown = _unique(map(literal, values[: self.values]))
        return shown if len(values) <= self.values else [*shown, "..."]

    def _parts(self, schema: Mapping[str, Any], depth: int) -> Iterator[list[str]]:
        """What a value has to be all at once."""
        if isinstance(reference := schema.get("$ref"), str):
            yield self._referred(reference, depth)
        yield self._of_types(schema, depth)
        for part in _list(schema.get("allOf")):
            yield self._alternatives(part, depth)
        for keyword in ("anyOf", "oneOf"):
            if choices := _list(schema.get(keyword)):
                yield self._union(choices, depth)

    def _union(self, schemas: Iterable[Any], depth: int) -> list[str]:
        return _unique(text for schema in schemas for text in self._alternatives(schema, depth))

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

    def _of_types(self, schema: Mapping[str, Any], depth: int) -> list[str]:
        said = schema.get("type", _implied(schema))
        names = [name if isinstance(name, str) else "any" for name in _list(said) or [said]]
        return _unique(self._of_type(name, schema, depth) for name in _unique(names))

    def _of_type(self, name: str, schema: Mapping[str, Any], depth: int) -> str:
        match name:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return f"string{details(schema)}"
            case "integer" | "number":
                return f"{name}{bounds(schema)}"
        return name if name in _SIMPLE else "any"

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        if not _mapping(schema, "properties") and not _others(schema):
            return "{}" if schema.get("additionalProperties") is False else "object"
        if depth <= 0:
            return "{...}"
        return f"{{{', '.join(self._members(schema, depth, self._field))}}}"

    def _members(
        self, schema: Mapping[str, Any], depth: int, write: Callable[[Any, Any, bool, int], str]
    ) -> list[str]:
        required = [name for name in _list(schema.get("required")) if isinstance(name, str)]
        listed, needed = _mapping(schema, "properties"), frozenset(required)
        names = list(islice(_in_order(listed, required), _MAX_PIECES))
        written: dict[Any, str] = {}
        room = self.limit - _ROOM_AROUND if self.limit is not None else None
        for name in names if room is None else sorted(names, key=lambda name: name not in needed):
            if self._pieces >= _MAX_PIECES:
                break
            self._pieces += 1
            member = write(name, listed.get(name, True), name in needed, depth - 1)
            if room is not None and name not in needed and len(member) > room:
                continue
            written[name] = member
            room = room if room is None else room - len(member) - len(", ")
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
        is_said = default is not None and not needed
        text = self._field(name, schema, needed or is_said, depth)
        return f"{text} = {literal(default)}" if is_said else text

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        items = schema.get("items", True)
        first = _list(schema.get("prefixItems")) or _list(items)
        if not first:
            return f"{_single(self._alternatives(items, depth))}[{size(schema)}]"
        more = schema.get("additionalItems") if isinstance(items, list) else items
        kinds = [self.type(item, depth) for item in first]
        if isinstance(more, Mapping):
            kinds.append(f"...{_single(self._alternatives(more, depth))}[]")
        return f"[{', '.join(kinds)}]"


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _list(value: Any) -> list[Any]:
    return value[:_MAX_PIECES] if isinstance(value, list) else []


def _mapping(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, Mapping) else {}


def _in_order(listed: Mapping[str, Any], required: Iterable[str]) -> Iterator[str]:
    """The names of an object's fields as it lists them, then those that it only requires."""
    yield from listed
    yield from (name for name in _unique(required) if name not in listed)


def _others(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas of fields whose names are not listed, where they say anything."""
    others = list(islice(_mapping(schema, "patternProperties").values(), _MAX_PIECES))
    more = _mapping(schema, "additionalProperties")
    return [*others, more] if more else others


def _implied(schema: Mapping[str, Any]) -> str:
    """The type of a schema that names none."""
    if any(isinstance(schema.get(keyword), Mapping) for keyword in _OF_OBJECTS):
        return "object"
    return "array" if any(keyword in schema for keyword in _OF_ARRAYS) else "any"


def _single(alternatives: Iterable[str]) -> str:
    """A type in brackets, if it would be read wrongly with something behind it."""
    text = " | ".join(alternatives)
    loose = " | " in text or text.startswith(("integer ", "number "))
    return f"({text})" if loose else text


__all__ = ["signature", "tool_text", "type_text"]


def type_text(schema: Any, limit: int = LIMIT) -> str:
    """A JSON Schema as a type: `{title: string, url: string, score?: number}[]`.

    Args:
        schema: The schema; it may be wrong in any way, and what it does not say is `any`.
        limit: The length, characters: what is longer is shown to fewer levels, and then cut.
    """
    return fitted(lambda writer, level: writer.type(schema, level), schema, limit)


def signature(tool: Tool, limit: int = LIMIT) -> str:
    """The arguments of a tool in short: `city: string, days: integer = 3`.

    What has a default or a question mark may be left out. `limit` is the length, characters.
    """
    schema = tool.input_schema

    def write(writer: Writer, level: int) -> str:
        return writer.arguments(schema, level)

    return fitted(write, schema, limit)


def tool_text(tool: Tool) -> str:
    """A tool in one line: `weather:forecast(city: string) -> {city: string, wind_kmh: integer}`.

    A tool that does not describe its output has no arrow.
    """
    called = f"{visible(tool.target)}({signature(tool)})"
    if tool.output_schema is None:
        return called
    return f"{called} -> {type_text(tool.output_schema)}"
