"""Reads shapes: which types a value can have, and what is at a place of it.

The rule of this file: every question is answered for all values that a shape allows; a schema is
unfolded once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.documents.jsonpath import describe
from orchestrator.schema.coercion import ALL_TYPES, Types, json_type, listed
from orchestrator.schema.types import (
    NOTHING,
    NULL,
    ArrayType,
    Found,
    LiteralType,
    ObjectType,
    Presence,
    SchemaType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
    either,
    object_with,
    one_of,
    type_names,
)
from orchestrator.schema.variants import (
    ObjectMembers,
    Variant,
    any_item,
    declared,
    has_default,
    is_closed,
    item_of,
    member_of,
    types_of,
    unfold,
)


class TypeQuery:
    """Reads shapes; each schema is unfolded once."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, int], Types] = {}
        self._layouts: dict[int, tuple[Variant, ObjectMembers]] = {}
        self._members: dict[tuple[int, str], tuple[Variant, Found]] = {}
        self._unfolded: dict[tuple[int, int], tuple[SchemaType, tuple[Variant, ...]]] = {}
        self._found: dict[tuple[int, int, str | int], tuple[SchemaType, Found]] = {}

    def variants(self, known: SchemaType) -> tuple[Variant, ...]:
        """The ways to fit a schema, with `$ref`, `allOf`, `anyOf` and `oneOf` written out.

        None at all, if nothing fits it. `()` fits anything.
        """
        key = id(known.schema), id(known.root)
        if key not in self._unfolded:
            found = tuple(v for v in unfold(known.schema, known.root) if types_of(v))
            self._unfolded[key] = known, found
        return self._unfolded[key][1]

    def layout(self, variant: Variant) -> ObjectMembers:
        """What a variant says of members. As at run time, what has a default may be missing: some
        libraries list it as required.
        """
        if id(variant) not in self._layouts:
            listing = dict.fromkeys(name for part in variant for name in listed(part, "required"))
            names = tuple(dict.fromkeys(declared(variant)))
            required = (name for name in listing if isinstance(name, str))
            needed = tuple(name for name in required if not has_default(variant, name))
            self._layouts[id(variant)] = variant, ObjectMembers(names, needed, is_closed(variant))
        return self._layouts[id(variant)][1]

    def member(self, variant: Variant, name: str, root: Any) -> Found:
        """What an object of a variant has under a name."""
        key = id(variant), name
        if key not in self._members:
            self._members[key] = variant, member_of(variant, name, root)
        return self._members[key][1]

    def kinds(self, shape: StaticType) -> Types:
        """The JSON types that a value can have; a `number` may be an `integer` too."""
        match shape:
            case UnknownType():
                return ALL_TYPES
            case LiteralType(value):
                return frozenset({json_type(value)})
            case SchemaType():
                key = id(shape.schema), id(shape.root)
                if key not in self._kinds:
                    found = frozenset().union(*map(types_of, self.variants(shape)))
                    self._kinds[key] = found  # `variants` keeps the schema
                return self._kinds[key]
            case TupleType() | ArrayType():
                return frozenset({"array"})
            case ObjectType():
                return frozenset({"object"})
            case UnionType(options):
                return frozenset().union(*map(self.kinds, options))
            case SourcedType(inner):
                return self.kinds(inner)

    def describe(self, shape: StaticType) -> str:
        """A shape in a few words, for messages."""
        match shape:
            case LiteralType(value):
                return describe(value)
            case SourcedType(inner):
                return self.describe(inner)
        if isinstance(shape, SchemaType) and (values := self.finite(shape)) is not None:
            return one_of(values)
        kinds = self.kinds(shape)
        if kinds == {"object"} and (names := self.names(shape)):
            return object_with(names)
        return type_names(kinds)

    def names(self, shape: StaticType) -> tuple[str, ...]:
        """The names that an object declares."""
        match shape:
            case LiteralType(dict() as value):
                return tuple(value)
            case ObjectType(members):
                return tuple(members)
            case SchemaType():
                return tuple(dict.fromkeys(n for v in self.variants(shape) for n in declared(v)))
            case UnionType(options):
                return tuple(dict.fromkeys(n for option in options for n in self.names(option)))
            case SourcedType(inner):
                return self.names(inner)
        return ()

    def finite(self, shape: StaticType) -> list[Any] | None:
        """The values of a literal, an `enum` or a `const`; None if there is no such list."""
        match shape:
            case LiteralType(value):
                return [value]
            case SourcedType(inner):
                return self.finite(inner)
            case SchemaType() if len(variants := self.variants(shape)) == 1:
                for schema in variants[0]:
                    if "const" in schema:
                        return [schema["const"]]
                    if values := listed(schema, "enum"):
                        return values
        return None

    def step(self, shape: StaticType, segment: str | int) -> Found:
        """What is at a name or an index of a value."""
        match shape:
            case UnknownType():
                return Found(shape, "unknown")
            case SourcedType(inner):
                return self.step(inner, segment)
            case UnionType(options, each):
                steps = [self.step(option, segment) for option in options]
                lacking = [found for found in steps if each and found.presence == "no"]
                # Another name that this one has may be lacking in the next.
                return replace(lacking[0], names=()) if lacking else _joined(steps)
            case SchemaType():
                return self._step_known(shape, segment)
            case ArrayType(item) if isinstance(segment, int):
                return Found(item, "unknown")
        there = _member(shape, segment)
        if there is not None:
            return Found(there, "yes")
        return Found(NULL, "no", self.describe(shape), self.names(shape))

    def _step_known(self, known: SchemaType, segment: str | int) -> Found:
        key = id(known.schema), id(known.root), segment
        if key not in self._found:
            variants = self.variants(known)
            steps = [self._step_variant(v, known, segment) for v in variants]
            found = _joined(steps) if steps else Found(NULL, "no", "nothing")
            self._found[key] = known, found
        return self._found[key][1]

    def _step_variant(self, variant: Variant, known: SchemaType, segment: str | int) -> Found:
        kinds = types_of(variant)
        holder = "array" if isinstance(segment, int) else "object"
        if holder not in kinds:
            return Found(NULL, "no", type_names(kinds))
        found = (
            item_of(variant, segment, known.root)
            if isinstance(segment, int)
            else member_of(variant, segment, known.root)
        )
        if len(kinds) > 1 and found.presence in ("yes", "maybe"):  # it may be no object at all
            return Found(found.shape, "unknown", found.holder, found.names)
        return found

    def is_open(self, shape: StaticType) -> bool:
        """Whether an object may have other members than those that are declared."""
        match shape:
            case SchemaType():
                objects = (v for v in self.variants(shape) if "object" in types_of(v))
                return not all(self.layout(variant).is_closed for variant in objects)
            case UnionType(options):
                return any(map(self.is_open, options))
        return False

    def element(self, shape: StaticType) -> StaticType | None:
        """What the items of a list are, taken together; None if it is certainly no list."""
        match shape:
            case UnknownType():
                return shape
            case SourcedType(whole):
                return self.element(whole)
            case LiteralType([]) | TupleType(()):
                return NOTHING
            case LiteralType(list() as values):
                return UnionType(tuple(map(LiteralType, values)), each=True)
            case TupleType(items):
                return UnionType(items, each=True)
            case ArrayType(item):
                return item
            case UnionType(options):
                elements = [self.element(option) for option in options]
                lists = [element for element in elements if element is not None]
                telling = [element for element in lists if element is not NOTHING]
                return either(telling or lists[:1]) if lists else None
            case SchemaType() if "array" in self.kinds(shape):
                variants = [v for v in self.variants(shape) if "array" in types_of(v)]
                return either(any_item(variant, shape.root) for variant in variants)
        return None


def _member(shape: StaticType, segment: str | int) -> StaticType | None:
    """What is at a place of a value that is there to its last step."""
    match shape, segment:
        case LiteralType(dict() as value), str() if segment in value:
            return LiteralType(value[segment])
        case LiteralType(list() as value), int() if -len(value) <= segment < len(value):
            return LiteralType(value[segment])
        case TupleType(items), int() if -len(items) <= segment < len(items):
            return items[segment]
        case ObjectType(members), str() if segment in members:
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
