"""What is known of a value before there is one: its shape.

The rule of this file: a shape says what a value can be, from literals, templates and JSON Schemas;
what they do not say is `Unknown`, with the reason, and never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.documents.text import cut, listed
from orchestrator.schema.coercion import ALL_TYPES, Types

MAX_NAMES = 12
MAX_VALUE = 60
MAX_LEVELS = 40
MAX_PARTS = 500


@dataclass(frozen=True, slots=True)
class UnknownType:
    """Nothing is known of it; `why` says so in a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class LiteralType:
    """It is this very value."""

    value: Any


@dataclass(frozen=True, slots=True)
class SchemaType:
    """It fits a JSON Schema; `root` is the document that a `$ref` in it leads into."""

    schema: Any
    root: Any


@dataclass(frozen=True, slots=True)
class TupleType:
    """It is an array of exactly these items."""

    items: tuple[StaticType, ...]


@dataclass(frozen=True, slots=True)
class ArrayType:
    """It is an array of any length, of items of one shape."""

    item: StaticType


@dataclass(frozen=True, slots=True)
class ObjectType:
    """It is an object of exactly these members."""

    members: Mapping[str, StaticType]


@dataclass(frozen=True, slots=True)
class UnionType:
    """It is one of these; with `each`, every one of them comes about, one after the other."""

    options: tuple[StaticType, ...]
    each: bool = False


@dataclass(frozen=True, slots=True)
class SourcedType:
    """It comes from a reference or an expression that stands alone, written as `text`."""

    shape: StaticType
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


def schema_type(schema: Any) -> SchemaType:
    """The shape of a value that fits a schema of its own."""
    return SchemaType(schema, schema)


TEXT = schema_type({"type": "string"})
NUMBER = schema_type({"type": "number"})
INTEGER = schema_type({"type": "integer"})
BOOLEAN = schema_type({"type": "boolean"})
OBJECT = schema_type({"type": "object"})
ARRAY = schema_type({"type": "array"})
NULL = LiteralType(None)
# The item of a list that has none: whatever is said of it holds.
NOTHING = UnknownType("")
# Null that an expression gives where a list is too short or a name is missing, of which the schema
# does not say that it may be: it is no reason for a warning.
SILENT_NULL = schema_type({"type": "null"})


def either(options: Iterable[StaticType]) -> StaticType:
    """One of several; one that is alone is itself."""
    flat: list[StaticType] = []
    for option in options:
        flat += option.options if isinstance(option, UnionType) and not option.each else [option]
    return flat[0] if len(flat) == 1 else UnionType(tuple(flat))


def any_of(options: Iterable[StaticType]) -> StaticType:
    """The same for what others will be made of: each option once, and nothing that grows on."""
    flat: list[StaticType] = []
    for option in map(_unsourced, options):
        flat += option.options if isinstance(option, UnionType) and not option.each else [option]
    shape = either({_mark(option): option for option in flat}.values())
    return UnknownType("it may be too many things") if _is_large(shape) else shape


def _mark(shape: StaticType) -> int | str:
    """What is the same for shapes that are known to be alike."""
    match shape:
        case LiteralType(value):
            return repr(value)
        case SchemaType(schema):
            return id(schema)
    return id(shape)


def _unsourced(shape: StaticType) -> StaticType:
    return _unsourced(shape.shape) if isinstance(shape, SourcedType) else shape


def _is_large(shape: StaticType) -> bool:
    """Whether a shape, written out, has too many parts or levels to be looked through."""
    level, seen = [shape], 0
    for _ in range(MAX_LEVELS):
        seen += len(level)
        if not level or seen > MAX_PARTS:
            return bool(level)
        level = [part for each in level for part in _parts(each)]
    return bool(level)


def _parts(shape: StaticType) -> Iterable[StaticType]:
    match shape:
        case TupleType(parts) | UnionType(parts):
            return parts
        case ObjectType(members):
            return members.values()
        case ArrayType(part) | SourcedType(part):
            return (part,)
    return ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is one step below a value.

    Attributes:
        shape: What is there.
        presence: Whether there is anything: `maybe`, where the schema itself says so; `unknown`,
            where it says nothing, as of the length of a list.
        holder: What there is instead, in a few words.
        names: The names that the holder declares.
    """

    shape: StaticType
    presence: Presence
    holder: str = ""
    names: tuple[str, ...] = ()


def object_with(names: tuple[str, ...]) -> str:
    """An object that declares these properties, for messages."""
    noun = "property" if len(names) == 1 else "properties"
    return f"object with {noun} {listed(names, MAX_NAMES)}" if names else "empty object"


def one_of(values: Sequence[Any]) -> str:
    """The values of an `enum`, for messages: `one of "a", 1`."""
    shown = [cut(json.dumps(value, ensure_ascii=False), MAX_VALUE) for value in values]
    return shown[0] if len(shown) == 1 else f"one of {listed(shown, MAX_NAMES)}"


_ORDER = ("string", "integer", "number", "boolean", "array", "object", "null")


def type_names(types: Types) -> str:
    """JSON types for messages, such as `string or null`."""
    if types == ALL_TYPES:
        return "anything"
    named = types - {"integer"} if "number" in types else types
    return " or ".join(name for name in _ORDER if name in named) or "nothing"
