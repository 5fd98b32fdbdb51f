"""Queries static types: which JSON types a value can have, and what is at a path of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from itertools import chain
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.documents.jsonpath import describe
from orchestrator.schema.coercion import NO_TYPES, Types, json_type, listed
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
    item_of,
    member_of,
    members_of,
    types_of,
    unfold,
)
from orchestrator.schema.wrapped import NAME

P = ParamSpec("P")
R = TypeVar("R")
Query = Callable[Concatenate["TypeQuery", P], R]


def _remembered(query: Query[P, R]) -> Query[P, R]:
    """Remember answers by the identity of the schemas asked about, as these have no hash."""

    @wraps(query)
    def answer(self: TypeQuery, /, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (query.__name__, *map(_key, args))
        if key not in self._answers:  # kept with the arguments, so that no other object gets the id
            self._answers[key] = args, query(self, *args, **kwargs)
        result: R = self._answers[key][1]
        return result

    return answer


def _key(argument: Any) -> Any:
    match argument:
        case SchemaType(schema, root, wrapped):
            return id(schema), id(root), wrapped
        case str() | int():
            return argument
    return id(argument)


class TypeQuery:
    """Answers questions about all the values of a type; reads each schema once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    @_remembered
    def variants(self, known: SchemaType) -> tuple[Variant, ...]:
        """The variants of a schema that some value fits."""
        return tuple(way for way in unfold(known.schema, known.root) if types_of(way))

    @_remembered
    def layout(self, variant: Variant) -> ObjectMembers:
        """The properties of an object of a variant."""
        return members_of(variant)

    @_remembered
    def member(self, variant: Variant, name: str, root: Any) -> Found:
        """What an object of a variant has under a name."""
        return member_of(variant, name, root)

    @_remembered
    def _schema_types(self, known: SchemaType) -> Types:
        return NO_TYPES.union(*map(types_of, self.variants(known)))

    def kinds(self, type_: StaticType) -> Types:
        """The JSON types that a value can have; a `number` may be an `integer` too."""
        match type_:
            case UnknownType(_, types):
                return types
            case SchemaType():
                return self._schema_types(type_)
            case SourcedType(inner):
                return self.kinds(inner)
            case LiteralType(value):
                return frozenset({json_type(value)})
            case TupleType() | ArrayType():
                return frozenset({"array"})
            case ObjectType():
                return frozenset({"object"})
            case UnionType(options):
                return NO_TYPES.union(*map(self.kinds, options))

    def types_at(self, type_: StaticType, path: Sequence[str | int]) -> Types:
        """The JSON types that a value can have at a path; none if there is nothing."""
        for step in path:
            found = self.step(type_, step)
            if found.presence == "no":
                return NO_TYPES
            type_ = found.type
        return self.kinds(type_)

    def describe(self, type_: StaticType) -> str:
        """A type in a few words, for messages."""
        match type_:
            case LiteralType(value):
                return describe(value)
            case SourcedType(inner):
                return self.describe(inner)
            case SchemaType() if (values := self.finite(type_)) is not None:
                return one_of(values)
        types = self.kinds(type_)
        names = self.names(type_) if types == {"object"} else ()
        return object_with(names) if names else type_names(types)

    def names(self, type_: StaticType) -> tuple[str, ...]:
        """The names that an object declares."""
        match type_:
            case LiteralType(dict() as members) | ObjectType(members):
                return tuple(members)
            case SchemaType():
                return _unique(map(declared, self.variants(type_)))
            case UnionType(options):
                return _unique(map(self.names, options))
            case SourcedType(inner):
                return self.names(inner)
        return ()

    def finite(self, type_: StaticType) -> list[Any] | None:
        """The values of a literal, an `enum` or a `const`; None if there is no such list."""
        match type_:
            case LiteralType(value):
                return [value]
            case SourcedType(inner):
                return self.finite(inner)
            case SchemaType() if len(variants := self.variants(type_)) == 1:
                for schema in variants[0]:
                    if "const" in schema:
                        return [schema["const"]]
                    if values := listed(schema, "enum"):
                        return values
        return None

    def step(self, type_: StaticType, segment: str | int) -> Found:
        """What is at a name or an index of a value."""
        match type_, segment:
            case SchemaType(wrapped=True) | UnknownType(wrapped=True), "result":
                return self._step_wrapper(type_)
            case UnknownType(why), _:
                return Found(UnknownType(why), "unknown")
            case SourcedType(inner), _:
                return self.step(inner, segment)
            case UnionType(options, each), _:
                steps = [self.step(option, segment) for option in options]
                lacking = [found for found in steps if each and found.presence == "no"]
                # Another name that this one has may be lacking in the next.
                return replace(lacking[0], names=()) if lacking else _joined(steps)
            case SchemaType(), _:
                return self._step_schema(type_, segment)
            case ArrayType(item), int():
                return Found(item, "unknown")
            case LiteralType(dict() as value), str() if segment in value:
                return Found(LiteralType(value[segment]), "yes")
            case LiteralType(list() as value), int() if -len(value) <= segment < len(value):
                return Found(LiteralType(value[segment]), "yes")
            case TupleType(items), int() if -len(items) <= segment < len(items):
                return Found(items[segment], "yes")
            case ObjectType(members), str() if segment in members:
                return Found(members[segment], "yes")
        return Found(NULL, "no", self.describe(type_), self.names(type_))

    def _step_wrapper(self, type_: SchemaType | UnknownType) -> Found:
        """The value itself, unless it has a property "result" of its own."""
        inner = replace(type_, wrapped=False)
        whole = Found(inner, "yes")
        if NAME not in self.names(inner):
            return whole
        return replace(_joined([self.step(inner, NAME), whole]), presence="yes")

    @_remembered
    def _step_schema(self, known: SchemaType, segment: str | int) -> Found:
        steps = [_step_variant(way, known.root, segment) for way in self.variants(known)]
        return _joined(steps) if steps else Found(NULL, "no", "nothing")

    def is_open(self, type_: StaticType) -> bool:
        """Whether an object may have other properties than those that are declared."""
        match type_:
            case SchemaType():
                objects = (way for way in self.variants(type_) if "object" in types_of(way))
                return not all(self.layout(variant).is_closed for variant in objects)
            case UnionType(options):
                return any(map(self.is_open, options))
        return False

    def leaves_out(self, arguments: SchemaType, name: str) -> bool:
        """Whether null for an argument is left out: it is optional and does not accept null."""
        variants = self.variants(arguments)
        if all(name in self.layout(variant).required for variant in variants):
            return False
        found = self.step(arguments, name)
        return found.presence != "no" and "null" not in self.kinds(found.type)

    def element(self, type_: StaticType) -> StaticType | None:
        """The type of all items of an array; None if the value is certainly no array."""
        match type_:
            case UnknownType(why):
                return UnknownType(why)
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
                arrays = [element for element in elements if element is not None]
                telling = [element for element in arrays if element is not NOTHING]
                return either(telling or arrays[:1]) if arrays else None
            case SchemaType() if "array" in self.kinds(type_):
                variants = (way for way in self.variants(type_) if "array" in types_of(way))
                return either(any_item(variant, type_.root) for variant in variants)
        return None


def _step_variant(variant: Variant, root: Any, segment: str | int) -> Found:
    types = types_of(variant)
    if ("array" if isinstance(segment, int) else "object") not in types:
        return Found(NULL, "no", type_names(types))
    read: Callable[..., Found] = item_of if isinstance(segment, int) else member_of
    found = read(variant, segment, root)
    if len(types) > 1 and found.presence != "no":
        return replace(found, presence="unknown")  # it may not hold anything at all
    return found


def _joined(steps: list[Found]) -> Found:
    """What is there if the value is one of several."""
    if len(steps) == 1:
        return steps[0]
    there = [found for found in steps if found.presence != "no"]
    names = _unique(found.names for found in steps)
    holder = " or ".join(dict.fromkeys(found.holder for found in steps if found.holder))
    if not there:
        return Found(NULL, "no", holder, names)
    presences = {found.presence for found in steps}
    presence: Presence = "unknown" if "unknown" in presences else "yes"
    if presences & {"no", "maybe"}:
        presence = "maybe"
    return Found(either(found.type for found in there), presence, holder, names)


def _unique(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(names)))
