"""Static types: what literals, templates and JSON Schemas say of a value before there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.documents.text import alternatives, cut, listed
from orchestrator.schema.coercion import ALL_TYPES, Types

MAX_NAMES = 12
MAX_VALUE = 60
MAX_LEVELS = 40
MAX_PARTS = 500
_ORDER = ("string", "integer", "number", "boolean", "array", "object", "null")


@dataclass(frozen=True, slots=True)
class UnknownType:
    """Nothing is known of the value but its JSON types; `why` is a sentence."""

    why: str
    types: Types = ALL_TYPES
    wrapped: bool = False  # the server wraps the value: its `.result` is the value itself


@dataclass(frozen=True, slots=True)
class LiteralType:
    """The very value."""

    value: Any


@dataclass(frozen=True, slots=True)
class SchemaType:
    """Any value that fits a JSON Schema; a `$ref` in it leads into the document `root`."""

    schema: Any
    root: Any
    wrapped: bool = False  # as for an unknown type


@dataclass(frozen=True, slots=True)
class TupleType:
    """An array of exactly these items."""

    items: tuple[StaticType, ...]


@dataclass(frozen=True, slots=True)
class ArrayType:
    """An array of any length whose items have one type."""

    item: StaticType


@dataclass(frozen=True, slots=True)
class ObjectType:
    """An object of exactly these properties."""

    members: Mapping[str, StaticType]


@dataclass(frozen=True, slots=True)
class UnionType:
    """One of several types; with `each`, every one of them occurs, one after the other."""

    options: tuple[StaticType, ...]
    each: bool = False


@dataclass(frozen=True, slots=True)
class SourcedType:
    """The type of a reference or an expression that stands alone, written as `text`."""

    type: StaticType
    text: str


StaticType = (
    UnknownType
    | LiteralType
    | SchemaType
    | TupleType
    | ArrayType
    | ObjectType
    | UnionType
    | SourcedType
)
Presence = Literal["yes", "maybe", "unknown", "no"]


@dataclass(frozen=True, slots=True)
class Found:
    """What is one step below a value.

    Attributes:
        type: The type of what is there.
        presence: Whether there is anything: `maybe` where the schema itself leaves it open,
            `unknown` where it says nothing, as of the length of an array.
        holder: What there is instead, in a few words.
        names: The names that the holder declares.
    """

    type: StaticType
    presence: Presence
    holder: str = ""
    names: tuple[str, ...] = ()


def schema_type(schema: Any) -> SchemaType:
    """The type of a schema that is a document of its own."""
    return SchemaType(schema, schema)


TEXT = schema_type({"type": "string"})
NUMBER = schema_type({"type": "number"})
INTEGER = schema_type({"type": "integer"})
BOOLEAN = schema_type({"type": "boolean"})
OBJECT = schema_type({"type": "object"})
ARRAY = schema_type({"type": "array"})
NULL = LiteralType(None)
NOTHING = UnknownType("")  # the item of an empty array, of which every statement holds
# Null from an expression where an array is too short or a name is missing without the schema saying
# so: no reason for a warning.
SILENT_NULL = schema_type({"type": "null"})


def either(options: Iterable[StaticType]) -> StaticType:
    """The union of several types; that of one is itself."""
    flat = tuple(_flat(options))
    return flat[0] if len(flat) == 1 else UnionType(flat)


def any_of(options: Iterable[StaticType]) -> StaticType:
    """The union as a part of other types: each option once, unknown if it grows too large."""
    union = either({_mark(option): option for option in _flat(map(_unsourced, options))}.values())
    return UnknownType("it may be too many things") if is_large(union) else union


def _flat(options: Iterable[StaticType]) -> Iterator[StaticType]:
    for option in options:
        if isinstance(option, UnionType) and not option.each:
            yield from option.options
        else:
            yield option


def _mark(type_: StaticType) -> int | str:
    match type_:
        case LiteralType(value):
            return repr(value)
        case SchemaType(schema):
            return id(schema)
    return id(type_)


def _unsourced(type_: StaticType) -> StaticType:
    return _unsourced(type_.type) if isinstance(type_, SourcedType) else type_


def is_large(type_: StaticType) -> bool:
    """Whether a type has so many parts, each as often as it occurs, that it is not compared."""
    level, seen = [type_], 0
    for _ in range(MAX_LEVELS):
        seen += len(level)
        if not level or seen > MAX_PARTS:
            break
        level = [part for each in level for part in _parts(each)]
    return bool(level)


def _parts(type_: StaticType) -> Iterable[StaticType]:
    match type_:
        case TupleType(parts) | UnionType(parts):
            return parts
        case ObjectType(members):
            return members.values()
        case ArrayType(part) | SourcedType(part):
            return (part,)
    return ()


def object_with(names: tuple[str, ...]) -> str:
    """An object that declares these properties, for messages."""
    noun = "property" if len(names) == 1 else "properties"
    return f"object with {noun} {listed(names, MAX_NAMES)}" if names else "empty object"


def one_of(values: Sequence[Any]) -> str:
    """The values of an `enum`, for messages: `one of "a", 1`."""
    shown = [cut(json.dumps(value, ensure_ascii=False), MAX_VALUE) for value in values]
    return shown[0] if len(shown) == 1 else f"one of {listed(shown, MAX_NAMES)}"


def type_names(types: Types) -> str:
    """JSON types for messages, such as `string or null`."""
    if types == ALL_TYPES:
        return "anything"
    named = types - {"integer"} if "number" in types else types
    return alternatives([name for name in _ORDER if name in named] or ["nothing"])
