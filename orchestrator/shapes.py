"""What is known of a value before there is one: its shape.

The rule of this file: a shape says what a value can be, from literals, templates and JSON Schemas;
what they do not say is `Unknown`, with the reason, and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from orchestrator.conversion import ALL_TYPES, Types, json_type, listed, own_types, referred
from orchestrator.paths import describe

MAX_VARIANTS = 64
MAX_DEPTH = 40
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


def one_of(options: Iterable[Shape]) -> Shape:
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
    for _ in range(MAX_DEPTH):
        seen += len(level)
        if seen > MAX_PARTS:
            return True
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


# Plain schemas that all hold at once.
Variant = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a variant says of the members of an object.

    Attributes:
        names: Those that are declared.
        required: Those that have to be there.
        is_closed: Whether there are no others.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    is_closed: bool


class Reader:
    """Reads shapes; each schema is unfolded once."""

    def __init__(self) -> None:
        self._layouts: dict[int, tuple[Variant, Layout]] = {}
        self._members: dict[tuple[int, str], tuple[Variant, Found]] = {}
        self._unfolded: dict[tuple[int, int], tuple[Known, tuple[Variant, ...]]] = {}
        self._found: dict[tuple[int, int, str | int], tuple[Known, Found]] = {}

    def variants(self, known: Known) -> tuple[Variant, ...]:
        """The ways to fit a schema, with `$ref`, `allOf`, `anyOf` and `oneOf` written out.

        None at all, if nothing fits it. `()` fits anything.
        """
        key = id(known.schema), id(known.root)
        if key not in self._unfolded:
            found = tuple(v for v in _unfold(known.schema, known.root, 0, {}) if types_of(v))
            self._unfolded[key] = known, found
        return self._unfolded[key][1]

    def layout(self, variant: Variant) -> Layout:
        """What a variant says of members. As at run time, what has a default may be missing: some
        libraries list it as required.
        """
        if id(variant) not in self._layouts:
            listing = dict.fromkeys(name for part in variant for name in listed(part, "required"))
            names = tuple(dict.fromkeys(declared(variant)))
            required = (name for name in listing if isinstance(name, str))
            needed = tuple(name for name in required if not has_default(variant, name))
            self._layouts[id(variant)] = variant, Layout(names, needed, is_closed(variant))
        return self._layouts[id(variant)][1]

    def member(self, variant: Variant, name: str, root: Any) -> Found:
        """What an object of a variant has under a name."""
        key = id(variant), name
        if key not in self._members:
            self._members[key] = variant, member_of(variant, name, root)
        return self._members[key][1]

    def kinds(self, shape: Shape) -> Types:
        """The JSON types that a value can have; a `number` may be an `integer` too."""
        match shape:
            case Unknown():
                return ALL_TYPES
            case Exactly(value):
                return frozenset({json_type(value)})
            case Known():
                return frozenset().union(*map(types_of, self.variants(shape)))
            case ListOf() | ArrayOf():
                return frozenset({"array"})
            case Members():
                return frozenset({"object"})
            case Either(options):
                return frozenset().union(*map(self.kinds, options))
            case Sourced(inner):
                return self.kinds(inner)

    def describe(self, shape: Shape) -> str:
        """A shape in a few words, for messages."""
        match shape:
            case Exactly(value):
                return describe(value)
            case Sourced(inner):
                return self.describe(inner)
        if isinstance(shape, Known) and (values := self.finite(shape)) is not None:
            return f"one of {', '.join(map(repr, values[:MAX_NAMES]))}"
        kinds = self.kinds(shape)
        if kinds == {"object"} and (names := self.names(shape)):
            more = ", ..." if len(names) > MAX_NAMES else ""
            return f"an object with {', '.join(names[:MAX_NAMES])}{more}"
        return words(kinds)

    def names(self, shape: Shape) -> tuple[str, ...]:
        """The names that an object declares."""
        match shape:
            case Exactly(dict() as value):
                return tuple(value)
            case Members(members):
                return tuple(members)
            case Known():
                return tuple(dict.fromkeys(n for v in self.variants(shape) for n in declared(v)))
            case Either(options):
                return tuple(dict.fromkeys(n for option in options for n in self.names(option)))
            case Sourced(inner):
                return self.names(inner)
        return ()

    def finite(self, shape: Shape) -> list[Any] | None:
        """The values of a literal, an `enum` or a `const`; None if there is no such list."""
        match shape:
            case Exactly(value):
                return [value]
            case Sourced(inner):
                return self.finite(inner)
            case Known() if len(variants := self.variants(shape)) == 1:
                for schema in variants[0]:
                    if "const" in schema:
                        return [schema["const"]]
                    if values := listed(schema, "enum"):
                        return values
        return None

    def step(self, shape: Shape, segment: str | int) -> Found:
        """What is at a name or an index of a value."""
        match shape:
            case Unknown():
                return Found(shape, "unknown")
            case Sourced(inner):
                return self.step(inner, segment)
            case Either(options, each):
                steps = [self.step(option, segment) for option in options]
                lacking = [found for found in steps if each and found.presence == "no"]
                # Another name that this one has may be lacking in the next.
                return replace(lacking[0], names=()) if lacking else _joined(steps)
            case Known():
                return self._step_known(shape, segment)
            case ArrayOf(item) if isinstance(segment, int):
                return Found(item, "unknown")
        there = _member(shape, segment)
        if there is not None:
            return Found(there, "yes")
        return Found(NULL, "no", self.describe(shape), self.names(shape))

    def _step_known(self, known: Known, segment: str | int) -> Found:
        key = id(known.schema), id(known.root), segment
        if key not in self._found:
            variants = self.variants(known)
            steps = [self._step_variant(v, known, segment) for v in variants]
            found = _joined(steps) if steps else Found(NULL, "no", "nothing")
            self._found[key] = known, found
        return self._found[key][1]

    def _step_variant(self, variant: Variant, known: Known, segment: str | int) -> Found:
        kinds = types_of(variant)
        holder = "array" if isinstance(segment, int) else "object"
        if holder not in kinds:
            return Found(NULL, "no", words(kinds))
        found = (
            item_of(variant, segment, known.root)
            if isinstance(segment, int)
            else member_of(variant, segment, known.root)
        )
        if len(kinds) > 1 and found.presence in ("yes", "maybe"):  # it may be no object at all
            return Found(found.shape, "unknown", found.holder, found.names)
        return found

    def is_open(self, shape: Shape) -> bool:
        """Whether an object may have other members than those that are declared."""
        match shape:
            case Known():
                objects = (v for v in self.variants(shape) if "object" in types_of(v))
                return not all(self.layout(variant).is_closed for variant in objects)
            case Either(options):
                return any(map(self.is_open, options))
        return False

    def element(self, shape: Shape) -> Shape | None:
        """What the items of a list are, taken together; None if it is certainly no list."""
        match shape:
            case Unknown():
                return shape
            case Sourced(whole):
                return self.element(whole)
            case Exactly([]) | ListOf(()):
                return NOTHING
            case Exactly(list() as values):
                return Either(tuple(map(Exactly, values)), each=True)
            case ListOf(items):
                return Either(items, each=True)
            case ArrayOf(item):
                return item
            case Either(options):
                elements = [self.element(option) for option in options]
                lists = [element for element in elements if element is not None]
                telling = [element for element in lists if element is not NOTHING]
                return either(telling or lists[:1]) if lists else None
            case Known() if "array" in self.kinds(shape):
                variants = [v for v in self.variants(shape) if "array" in types_of(v)]
                return either(_any_item(variant, shape.root) for variant in variants)
        return None


MAX_NAMES = 12
_SILENT = "its schema does not say what is in it"


# Stands for what a schema says that is not read here: it may declare more members.
_OPEN: Variant = ({"additionalProperties": True},)
_CONDITIONAL = frozenset(
    {
        "if",
        "dependentSchemas",
        "dependencies",
        "$dynamicRef",
        "$recursiveRef",
        "unevaluatedProperties",
    }
)


# What a `$ref` leads to, by the id of it: in a circle it says nothing.
_Referred = dict[int, list[Variant]]


def _unfold(schema: Any, root: Any, depth: int, referred_to: _Referred) -> list[Variant]:
    if schema is False:
        return []
    if not isinstance(schema, Mapping) or not schema or depth > MAX_DEPTH:
        return [()]
    found: list[Variant] = [(schema,)]
    if "$ref" in schema:
        found = _both(found, _unfold_ref(schema["$ref"], root, depth, referred_to))
    for part in listed(schema, "allOf"):
        found = _both(found, _unfold(part, root, depth + 1, referred_to))
    for keyword in ("anyOf", "oneOf"):
        if options := listed(schema, keyword):
            each = [v for part in options for v in _unfold(part, root, depth + 1, referred_to)]
            found = _both(found, each)
    return found if len(found) <= MAX_VARIANTS else [()]


def _unfold_ref(reference: Any, root: Any, depth: int, referred_to: _Referred) -> list[Variant]:
    target = referred(reference, root)
    if target is True:
        return [_OPEN]
    if id(target) not in referred_to:
        referred_to[id(target)] = [()]
        referred_to[id(target)] = _unfold(target, root, depth + 1, referred_to)
    return referred_to[id(target)]


def _both(first: list[Variant], second: list[Variant]) -> list[Variant]:
    if len(first) * len(second) > MAX_VARIANTS * MAX_VARIANTS:
        return [()]
    return [one + other for one, other in product(first, second)]


def types_of(variant: Variant) -> Types:
    """The JSON types that fit all of these schemas."""
    types = ALL_TYPES
    for schema in variant:
        own = own_types(schema)
        types &= own | {"integer"} if "number" in own else own
    return types


def declared(variant: Variant) -> Iterator[str]:
    """The names of the properties that are declared."""
    for schema in variant:
        yield from _mapping(schema, "properties")


def member_of(variant: Variant, name: str, root: Any) -> Found:
    """What an object has under a name."""
    parts = [part for schema in variant for part in _declared_parts(schema, name)]
    names = tuple(dict.fromkeys(declared(variant)))
    required = any(name in listed(schema, "required") for schema in variant)
    if parts:
        # Servers in Python declare what has a default as optional, and always send it.
        optional: Presence = "unknown" if has_default(variant, name) else "maybe"
        presence: Presence = "yes" if required else optional
        shape = Known(parts[0] if len(parts) == 1 else {"allOf": parts}, root)
        if False in parts:
            presence = "no"
        return Found(shape, presence, _object(names), names)
    if is_closed(variant):
        return Found(NULL, "no", _object(names), names)
    further = [schema["additionalProperties"] for schema in variant if _has_further(schema)]
    if further or required:  # `required` may name what nothing else describes
        others = _of_parts(further, root)
        return Found(others, "yes" if required else "unknown", _object(names), names)
    conditional = any(not _CONDITIONAL.isdisjoint(schema) for schema in variant)
    if names and not conditional:  # the servers of the SDKs answer nothing that is not declared
        return Found(NULL, "no", _object(names), names)
    return Found(Unknown(_SILENT), "unknown")


def has_default(variant: Variant, name: str) -> bool:
    """Whether a property is declared with a default."""
    parts = (part for schema in variant for part in _declared_parts(schema, name))
    return any(isinstance(part, Mapping) and "default" in part for part in parts)


def is_closed(variant: Variant) -> bool:
    """Whether an object has no other members than those that are declared."""
    if any(schema.get("additionalProperties") is False for schema in variant):
        return True
    closed = any(schema.get("unevaluatedProperties") is False for schema in variant)
    other = _CONDITIONAL - {"unevaluatedProperties"}
    return closed and all(other.isdisjoint(schema) for schema in variant)


def _has_further(schema: Mapping[str, Any]) -> bool:
    return schema.get("additionalProperties", False) is not False


def _of_parts(parts: list[Any], root: Any) -> Shape:
    telling = [part for part in parts if part is not True and part != {}]
    if not telling:
        return Unknown(_SILENT)
    return Known(telling[0] if len(telling) == 1 else {"allOf": telling}, root)


def _declared_parts(schema: Mapping[str, Any], name: str) -> Iterator[Any]:
    properties = _mapping(schema, "properties")
    if name in properties:
        yield properties[name]
    for pattern, part in _mapping(schema, "patternProperties").items():
        if _matches(pattern, name):
            yield part


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # of another dialect: it may match
        return True


def item_of(variant: Variant, index: int, root: Any) -> Found:
    """What an array has at an index, from its end if that is negative."""
    least = least_items(variant)
    most = min((_number(schema, "maxItems", 2**60) for schema in variant), default=2**60)
    needed = index + 1 if index >= 0 else -index
    parts = [_item_schema(schema, index) for schema in variant]
    if needed > most or False in parts:
        return Found(NULL, "no", f"a list of at most {most}" if needed > most else "a list")
    presence: Presence = "yes" if needed <= least else "unknown"
    return Found(_of_parts(parts, root), presence, "a list")


def least_items(variant: Variant) -> int:
    """How many items an array has at least."""
    return max((_number(schema, "minItems", 0) for schema in variant), default=0)


def _item_schema(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items", True)
    first = listed(schema, "prefixItems") or (items if isinstance(items, list) else [])
    if not first:
        return items
    if index < 0:
        return True
    if index < len(first):
        return first[index]
    return schema.get("additionalItems", True) if isinstance(items, list) else items


def _any_item(variant: Variant, root: Any) -> Shape:
    if any(listed(schema, "prefixItems") or listed(schema, "items") for schema in variant):
        return Unknown(_SILENT)
    return _of_parts([schema.get("items", True) for schema in variant], root)


def _number(schema: Mapping[str, Any], keyword: str, default: int) -> int:
    value = schema.get(keyword)
    return value if isinstance(value, int) else default


def _mapping(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, Mapping) else {}


def _member(shape: Shape, segment: str | int) -> Shape | None:
    """What is at a place of a value that is there to its last step."""
    match shape, segment:
        case Exactly(dict() as value), str() if segment in value:
            return Exactly(value[segment])
        case Exactly(list() as value), int() if -len(value) <= segment < len(value):
            return Exactly(value[segment])
        case ListOf(items), int() if -len(items) <= segment < len(items):
            return items[segment]
        case Members(members), str() if segment in members:
            return members[segment]
    return None


def _joined(steps: list[Found]) -> Found:
    """What is there, if one of several values is it."""
    if len(steps) == 1:
        return steps[0]
    there = [found for found in steps if found.presence != "no"]
    names = tuple(dict.fromkeys(name for found in steps for name in found.names))
    holder = " or ".join(dict.fromkeys(found.holder for found in steps if found.holder))
    if not there:
        return Found(NULL, "no", holder, names)
    presences = {found.presence for found in steps}
    presence: Presence = (
        "maybe" if presences & {"no", "maybe"} else "unknown" if "unknown" in presences else "yes"
    )
    return Found(either(found.shape for found in there), presence, holder, names)


def _object(names: tuple[str, ...]) -> str:
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
