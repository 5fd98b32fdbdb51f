"""What is known of a value before there is one: its shape.

The rule of this file: a shape says what a value can be, from literals, templates and JSON Schemas;
what they do not say is `Unknown`, with the reason, and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.conversion import ALL_TYPES, Types

MAX_NAMES = 12
MAX_LEVELS = 40
MAX_PARTS = 500


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is known of it; `why` says so in a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Exactly:
    """It is this very value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Known:
    """It fits a JSON Schema; `root` is the document that a `$ref` in it leads into."""

    schema: Any
    root: Any


@dataclass(frozen=True, slots=True)
class ListOf:
    """It is an array of exactly these items."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """It is an array of any length, of items of one shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Members:
    """It is an object of exactly these members."""

    members: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Either:
    """It is one of these; with `each`, every one of them comes about, one after the other."""

    options: tuple[Shape, ...]
    each: bool = False


@dataclass(frozen=True, slots=True)
class Sourced:
    """It comes from a reference or an expression that stands alone, written as `text`."""

    shape: Shape
    text: str


Shape = Unknown | Exactly | Known | ListOf | ArrayOf | Members | Either | Sourced
Presence = Literal["yes", "maybe", "unknown", "no"]


def schema_shape(schema: Any) -> Known:
    """The shape of a value that fits a schema of its own."""
    return Known(schema, schema)


TEXT = schema_shape({"type": "string"})
NUMBER = schema_shape({"type": "number"})
INTEGER = schema_shape({"type": "integer"})
BOOLEAN = schema_shape({"type": "boolean"})
OBJECT = schema_shape({"type": "object"})
ARRAY = schema_shape({"type": "array"})
NULL = Exactly(None)
# The item of a list that has none: whatever is said of it holds.
NOTHING = Unknown("")
# Null that an expression gives where a list is too short or a name is missing, of which the schema
# does not say that it may be: it is no reason for a warning.
SILENT_NULL = schema_shape({"type": "null"})


def either(options: Iterable[Shape]) -> Shape:
    """One of several; one that is alone is itself."""
    flat: list[Shape] = []
    for option in options:
        flat += option.options if isinstance(option, Either) and not option.each else [option]
    return flat[0] if len(flat) == 1 else Either(tuple(flat))


def any_of(options: Iterable[Shape]) -> Shape:
    """The same for what others will be made of: each option once, and nothing that grows on."""
    flat: list[Shape] = []
    for option in map(_unsourced, options):
        flat += option.options if isinstance(option, Either) and not option.each else [option]
    shape = either({_mark(option): option for option in flat}.values())
    return Unknown("it may be too many things") if _is_large(shape) else shape


def _mark(shape: Shape) -> int | str:
    """What is the same for shapes that are known to be alike."""
    match shape:
        case Exactly(value):
            return repr(value)
        case Known(schema):
            return id(schema)
    return id(shape)


def _unsourced(shape: Shape) -> Shape:
    return _unsourced(shape.shape) if isinstance(shape, Sourced) else shape


def _is_large(shape: Shape) -> bool:
    """Whether a shape, written out, has too many parts or levels to be looked through."""
    level, seen = [shape], 0
    for _ in range(MAX_LEVELS):
        seen += len(level)
        if not level or seen > MAX_PARTS:
            return bool(level)
        level = [part for each in level for part in _parts(each)]
    return bool(level)


def _parts(shape: Shape) -> Iterable[Shape]:
    match shape:
        case ListOf(parts) | Either(parts):
            return parts
        case Members(members):
            return members.values()
        case ArrayOf(part) | Sourced(part):
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

    shape: Shape
    presence: Presence
    holder: str = ""
    names: tuple[str, ...] = ()


def object_with(names: tuple[str, ...]) -> str:
    """An object that declares these names, in a few words."""
    if not names:
        return "an empty object"
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"an object with {', '.join(names[:MAX_NAMES])}{more}"


_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def words(kinds: Types) -> str:
    """JSON types in words, such as `text or null`."""
    if kinds == ALL_TYPES:
        return "anything"
    named = kinds - {"integer"} if "number" in kinds else kinds
    return " or ".join(word for kind, word in _WORDS.items() if kind in named) or "nothing"
