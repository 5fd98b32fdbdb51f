"""Does a value of which only the shape is known fit a schema?

The rule of this file: pure; an error is what cannot fit whatever the value is, a warning what the
schemas themselves say may not fit, a note what they do not say. A value that is known is the
`jsonschema` library's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orchestrator.check.mismatch import (
    Mismatch,
    at_reference,
    badness,
    kind_of_text,
    lacking,
    merged,
    milder,
    of_violation,
    wrong_type,
)
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.suggest import nearest
from orchestrator.schema.coercion import ALL_TYPES, Types, converted
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    SILENT_NULL,
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
    type_names,
)
from orchestrator.schema.validator import Validator
from orchestrator.schema.variants import Variant, item_of, lengths, types_of

MAX_DEPTH = 12
_NOT_TEXT = ALL_TYPES - {"string", "null"}


class Assignability:
    """Compares shapes with schemas.

    Args:
        reader: Reads them.
    """

    def __init__(self, reader: TypeQuery) -> None:
        self._reader = reader
        self._validators: dict[int, tuple[Any, Validator]] = {}
        self._comparing: set[tuple[int, int]] = set()
        self._compared: dict[tuple[int, int], tuple[StaticType, Path, list[Mismatch]]] = {}

    def know(self, schema: Any, validator: Validator) -> None:
        """Use a validator that was made before."""
        self._validators[id(schema)] = schema, validator

    def validator(self, root: Any) -> Validator:
        """The validator of a whole schema, made once."""
        if id(root) not in self._validators:
            self._validators[id(root)] = root, Validator(root)
        return self._validators[id(root)][1]

    def arguments(self, given: StaticType, schema: Any) -> list[Mismatch]:
        """What is wrong with the arguments of a call, for the `inputSchema` of its tool."""
        wanted = SchemaType(schema, schema)
        found = list(self._fit(given, wanted, ()))
        names = self._reader.names(given)
        return [*found, *self._not_declared(names, wanted)]

    def _not_declared(self, names: tuple[str, ...], wanted: SchemaType) -> Iterator[Mismatch]:
        """Arguments that the schema neither declares nor forbids: most servers ignore them."""
        known = self._reader.names(wanted)
        if not known or set(names) <= set(known):
            return
        for name in names:
            found = self._reader.step(wanted, name)
            if found.presence == "no" and not self._is_closed(wanted):
                message = f"there is no argument {name!r}, and most servers would ignore it"
                near = nearest(name, known)
                yield Mismatch((name,), "unexpected_argument", "warning", message, "", near)

    def _is_closed(self, wanted: SchemaType) -> bool:
        variants = self._reader.variants(wanted)
        return all(self._reader.layout(variant).is_closed for variant in variants)

    def _fit(self, given: StaticType, wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        if wanted.schema is True or wanted.schema == {}:
            return
        match given:
            case SourcedType(shape, text):
                for finding in self._sourced(shape, wanted, path):
                    yield at_reference(finding, path, text)
            case LiteralType(value):
                yield from self._literal(value, wanted, path)
            case UnionType(options, each):
                yield from merged([list(self._fit(o, wanted, path)) for o in options], each)
            case UnknownType(why):
                if why:
                    yield Mismatch(path, "unknown_type", "note", why)
            case _:
                yield from self._typed(given, wanted, path, self._reader.kinds(given))

    def _sourced(self, shape: StaticType, wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        """What stands alone is converted where that is possible; see `coercion`."""
        match shape:
            case UnionType(options, each):
                yield from merged([list(self._sourced(o, wanted, path)) for o in options], each)
            case LiteralType(value):
                if isinstance(value, str | int | float):
                    value = converted(value, self._reader.kinds(wanted))
                yield from self._literal(value, wanted, path)
            case SourcedType(inner):
                yield from self._sourced(inner, wanted, path)
            case UnknownType():
                yield from self._fit(shape, wanted, path)
            case _:
                yield from self._converted(shape, wanted, path)

    def _converted(self, shape: StaticType, wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        """The types that are left when what may be converted is taken out."""
        kinds, accepted = self._reader.kinds(shape), self._reader.kinds(wanted)
        rest = kinds
        if "string" in kinds and "string" not in accepted and accepted & _NOT_TEXT:
            message = f"text where {type_names(accepted)} is wanted: it depends on the text"
            yield Mismatch(path, "unknown_type", "note", message)
            rest -= {"string"}
        if "string" in accepted and accepted <= {"string", "null"}:
            rest -= {"number", "integer", "boolean"}
            choices = self._reader.finite(wanted)
            if not rest and choices is not None and kinds.isdisjoint(map(kind_of_text, choices)):
                yield wrong_type(path, type_names(kinds), accepted, choices=choices)
        for finding in self._typed(shape, wanted, path, rest) if rest else ():
            yield finding if rest == kinds else milder(finding)

    def _literal(self, value: Any, wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        violations = list(self.validator(wanted.root).violations(value, wanted.schema))
        if not violations:
            return
        inside = list(self._inside_literal(value, wanted, path))
        if any(finding.severity == "error" for finding in inside):
            yield from inside
            return
        for misfit in violations:
            yield of_violation(misfit, path)

    def _inside_literal(self, value: Any, wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        """The same by its parts, which tells more of objects and lists."""
        match value:
            case dict():
                given: StaticType = ObjectType(
                    {name: LiteralType(item) for name, item in value.items()}
                )
            case list():
                given = TupleType(tuple(map(LiteralType, value)))
            case _:
                given = LiteralType(value)
                kinds, accepted = self._reader.kinds(given), self._reader.kinds(wanted)
                if not kinds & accepted:
                    yield wrong_type(path, self._reader.describe(given), accepted, value)
                return
        yield from self._typed(given, wanted, path, self._reader.kinds(given))

    def _typed(
        self, given: StaticType, wanted: SchemaType, path: Path, kinds: Types
    ) -> Iterator[Mismatch]:
        """Compare types, then what is inside of objects and lists.

        Args:
            given: The shape.
            wanted: The schema.
            path: Where in the whole value.
            kinds: The types of the shape that count.
        """
        accepted = self._reader.kinds(wanted)
        if given == SILENT_NULL and "null" not in accepted:
            yield Mismatch(path, "wrong_argument", "error", "")
            return
        if kinds == ALL_TYPES:
            yield Mismatch(path, "unknown_type", "note", "its schema does not say what it is")
            return
        if not kinds & accepted:
            yield wrong_type(path, self._reader.describe(given), accepted)
            return
        if kinds - accepted:
            message = f"may be {type_names(kinds - accepted)}, and {type_names(accepted)} is wanted"
            yield Mismatch(path, "may_not_fit", "warning", message)
        if (values := self._reader.finite(given)) is not None:
            yield from self._values(values, wanted, path)
        elif kinds & accepted & {"object", "array"}:
            yield from self._inside(given, wanted, path)

    def _values(self, values: list[Any], wanted: SchemaType, path: Path) -> Iterator[Mismatch]:
        validator = self.validator(wanted.root)
        bad = [v for v in values if next(validator.violations(v, wanted.schema), None) is not None]
        if not bad:
            return
        shown = ", ".join(json.dumps(value, ensure_ascii=False) for value in bad[:5])
        if len(bad) == len(values):
            message = f"is one of {shown}, and none of them fits"
            yield Mismatch(path, "wrong_argument", "error", message)
        else:
            yield Mismatch(path, "may_not_fit", "warning", f"may be {shown}, which does not fit")

    def _inside(self, given: StaticType, wanted: SchemaType, path: Path) -> list[Mismatch]:
        """What is inside of an object or a list; nothing new, where schemas lead in circles."""
        pair = (id(given.schema) if isinstance(given, SchemaType) else id(given), id(wanted.schema))
        if pair in self._comparing or len(self._comparing) > MAX_DEPTH:
            return []
        if pair in self._compared:
            _, before, found = self._compared[pair]
            return [replace(f, path=(*path, *f.path[len(before) :])) for f in found]
        self._comparing.add(pair)
        try:
            found = self._nearest_way(given, wanted, path)
        finally:
            self._comparing.discard(pair)
        if isinstance(given, SchemaType):  # schemas in circles lead to the same pair many times
            self._compared[pair] = given, path, found
        return found

    def _nearest_way(self, given: StaticType, wanted: SchemaType, path: Path) -> list[Mismatch]:
        """What is amiss for the one of several ways to fit that is nearest."""
        ways = []
        for variant in self._reader.variants(wanted):
            found: list[Mismatch] = []
            kinds = types_of(variant) & self._reader.kinds(given)
            if "object" in kinds:
                found += self._object(given, variant, wanted.root, path)
            if "array" in kinds:
                found += self._array(given, variant, wanted.root, path)
            if not kinds <= {"object"} and not kinds <= {"array"}:  # it may be neither
                found = [milder(finding) for finding in found]
            if kinds:
                ways.append(found)
        return min(ways, key=badness, default=[])

    def _object(
        self, given: StaticType, variant: Variant, root: Any, path: Path
    ) -> Iterator[Mismatch]:
        layout, given_names = self._reader.layout(variant), self._reader.names(given)
        required = layout.required
        if layout.is_closed:
            yield from self._unexpected(given, given_names, variant, root, path)
        for name in dict.fromkeys([*required, *given_names]):
            found = self._reader.step(given, name)
            if found.presence == "no" or (found.presence == "maybe" and name in required):
                if name in required:
                    yield lacking(name, found.presence == "no", path)
            elif found.presence == "yes" or not isinstance(given, SchemaType):
                inner = self._reader.member(variant, name, root).shape
                if isinstance(inner, SchemaType):
                    yield from self._fit(found.shape, inner, (*path, name))

    def _unexpected(
        self, given: StaticType, names: tuple[str, ...], variant: Variant, root: Any, path: Path
    ) -> Iterator[Mismatch]:
        known = self._reader.layout(variant).names
        for name in names:
            certainly = self._reader.step(given, name).presence == "yes"
            if certainly and self._reader.member(variant, name, root).presence == "no":
                near = nearest(name, known)
                message = f"there is no argument {name!r}" if not path else f"has {name!r} too much"
                place = (*path, name) if isinstance(given, ObjectType) else path
                yield Mismatch(place, "unexpected_argument", "error", message, "", near)

    def _array(
        self, given: StaticType, variant: Variant, root: Any, path: Path
    ) -> Iterator[Mismatch]:
        if isinstance(given, TupleType):
            least, _ = lengths(variant)
            if len(given.items) < least:
                message = f"has {len(given.items)} items, and at least {least} are wanted"
                yield Mismatch(path, "wrong_argument", "error", message)
            for index, item in enumerate(given.items):
                inner = item_of(variant, index, root)
                if inner.presence == "no":
                    message = f"has {len(given.items)} items, which is too many"
                    yield Mismatch(path, "wrong_argument", "error", message)
                    return
                if isinstance(inner.shape, SchemaType):
                    yield from self._fit(item, inner.shape, (*path, index))
            return
        each, inner = self._reader.element(given), item_of(variant, 0, root)
        if each is None or not isinstance(inner.shape, SchemaType):
            return
        for finding in self._fit(each, inner.shape, path):  # a list that is empty would fit
            yield replace(milder(finding), message=f"its items: {finding.message}")
