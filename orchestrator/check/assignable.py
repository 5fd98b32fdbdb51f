"""Compares the type of a value, known before the run, with the JSON Schema that it has to fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orchestrator.check.mismatch import (
    Mismatch,
    Mismatches,
    as_json,
    combined,
    from_violation,
    missing_property,
    unexpected_property,
    wrong_type,
)
from orchestrator.check.optional import as_sent
from orchestrator.documents.jsonpath import Path, describe
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import counted, listed, quoted
from orchestrator.errors import Severity
from orchestrator.schema.coercion import ALL_TYPES, Types, converted, json_type
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
    one_of,
    type_names,
)
from orchestrator.schema.validator import Validator
from orchestrator.schema.variants import Variant, item_of, lengths, types_of
from orchestrator.schema.violations import misspelled

MAX_DEPTH = 12
MAX_VALUES = 5
_NOT_STRING = ALL_TYPES - {"string", "null"}


def undeclared(given: Any, schema: Any) -> list[str]:
    """What to say of each argument that a tool neither declares nor refuses."""
    found = Assignability(TypeQuery()).arguments(LiteralType(given), schema)
    is_warned = ("unexpected_argument", "warning")
    return [each.message for each in found if (each.code, each.severity) == is_warned]


class Assignability:
    """Compares types with schemas; literals are checked by the validator.

    An error fails whatever the value is, a warning may fail; the schemas leave a note open.
    """

    def __init__(self, query: TypeQuery) -> None:
        self._query = query
        # Pairs of schemas by id, as dicts have no hash. Schemas may refer to themselves, so that a
        # comparison can lead back to its own pair.
        self._comparing: set[tuple[int, int]] = set()
        self._compared: dict[tuple[int, int], tuple[StaticType, Path, list[Mismatch]]] = {}

    def arguments(
        self, given: StaticType, schema: Any, validator: Validator | None = None
    ) -> list[Mismatch]:
        """The mismatches of the arguments of a call with the `inputSchema` of its tool."""
        self._validator = validator or Validator(schema)
        expected = SchemaType(schema, schema)
        given = as_sent(given, expected, self._query)
        return [*self._fit(given, expected, ()), *self._undeclared(given, expected)]

    def _undeclared(self, given: StaticType, expected: SchemaType) -> Mismatches:
        """Arguments that the schema neither declares nor forbids."""
        names, known = self._query.names(given), self._query.names(expected)
        if not known or set(names) <= set(known):
            return
        variants = self._query.variants(expected)
        if all(self._query.layout(variant).is_closed for variant in variants):
            return
        wrong = misspelled(names, expected.schema, self._query)
        for name in names:
            if self._query.step(expected, name).presence == "no":
                severity: Severity = "error" if name in wrong else "warning"
                ignored = "" if name in wrong else ", which most servers ignore"
                message, near = f"unexpected argument {quoted(name)}{ignored}", nearest(name, known)
                yield Mismatch((name,), "unexpected_argument", severity, message, "", near)

    def _fit(
        self, given: StaticType, expected: SchemaType, path: Path, *, converts: bool = False
    ) -> Mismatches:
        """Compare a type with a schema; a call `converts` the value of a lone reference."""
        if expected.schema is True or expected.schema == {}:
            return
        match given:
            case SourcedType(inner, text):
                # The outermost text is the one that the file has at this path.
                found = self._fit(inner, expected, path, converts=True)
                yield from found if converts else (m.at_reference(path, text) for m in found)
            case LiteralType(value):
                if converts and isinstance(value, str | int | float):
                    value = converted(value, self._query.kinds(expected))
                yield from self._literal(value, expected, path)
            case UnionType(options, each):
                fits = (self._fit(option, expected, path, converts=converts) for option in options)
                yield from combined([list(found) for found in fits], each)
            case UnknownType(why, types):
                if types != ALL_TYPES:
                    yield from self._text_or_json(types, expected, path, converts=converts)
                elif why:
                    yield Mismatch(path, "unknown_type", "note", why)
            case _ if converts:
                yield from self._converted(given, expected, path)
            case _:
                yield from self._typed(given, expected, path, self._query.kinds(given))

    def _text_or_json(
        self, types: Types, expected: SchemaType, path: Path, *, converts: bool
    ) -> Mismatches:
        """Compare text that may be parsed with a schema: only the text itself can tell."""
        accepted = self._query.kinds(expected)
        if "string" in types & accepted:
            return
        wanted, given = type_names(accepted), type_names(types)
        if types & accepted or (converts and accepted & _NOT_STRING):
            message = f"expected {wanted}, got {given}: fits if the text is the JSON of one"
            yield Mismatch(path, "unknown_type", "note", message)
        else:
            yield wrong_type(path, wanted, given)

    def _converted(self, given: StaticType, expected: SchemaType, path: Path) -> Mismatches:
        """Compare the types that remain when those that the call converts are left out."""
        types, accepted = self._query.kinds(given), self._query.kinds(expected)
        rest = types
        if "string" in types and "string" not in accepted and accepted & _NOT_STRING:
            wanted = type_names(accepted)
            message = f"expected {wanted}, got string: fits if the call can convert it"
            yield Mismatch(path, "unknown_type", "note", message)
            rest -= {"string"}
        if "string" in accepted and accepted <= {"string", "null"}:
            rest -= {"number", "integer", "boolean"}
            choices = self._query.finite(expected)
            texts = [choice for choice in choices or () if isinstance(choice, str)]
            made_of = {json_type(converted(text, _NOT_STRING)) for text in texts}
            if not rest and choices is not None and types.isdisjoint(made_of):
                yield wrong_type(path, one_of(choices), type_names(types))
        for mismatch in self._typed(given, expected, path, rest) if rest else ():
            yield mismatch if rest == types else mismatch.possible()

    def _literal(self, value: Any, expected: SchemaType, path: Path) -> Mismatches:
        violations = list(self._validator.violations(value, expected.schema))
        if not violations:
            return
        types, accepted = self._query.kinds(LiteralType(value)), self._query.kinds(expected)
        if not types & accepted:
            fix = as_json(value, accepted)
            yield wrong_type(path, type_names(accepted), describe(value), fix)
            return
        # Comparing its parts gives better paths and messages than the validator.
        parts: list[Mismatch] = []
        if isinstance(value, dict):
            members = ObjectType({name: LiteralType(member) for name, member in value.items()})
            parts = list(self._typed(members, expected, path, types))
        elif isinstance(value, list):
            items = TupleType(tuple(map(LiteralType, value)))
            parts = list(self._typed(items, expected, path, types))
        # Bounds and patterns, for example, are checked by the validator alone.
        has_error = any(mismatch.severity == "error" for mismatch in parts)
        yield from parts if has_error else (from_violation(each, path) for each in violations)

    def _typed(
        self, given: StaticType, expected: SchemaType, path: Path, types: Types
    ) -> Mismatches:
        """Compare those `types` of `given` that count, then the content of objects and arrays."""
        accepted = self._query.kinds(expected)
        if given == SILENT_NULL and "null" not in accepted:
            # Fails, so that other options of a union only may fit; without a message of its own.
            yield Mismatch(path, "wrong_argument", "error", "")
        elif types == ALL_TYPES:
            yield Mismatch(path, "unknown_type", "note", "its schema declares no type")
        elif not types & accepted:
            yield wrong_type(path, type_names(accepted), self._query.describe(given))
        else:
            if rest := types - accepted:
                yield wrong_type(path, type_names(accepted), type_names(rest)).possible()
            if (values := self._query.finite(given)) is not None:
                yield from self._values(values, expected, path)
            elif types & accepted & {"object", "array"}:
                yield from self._inside(given, expected, path)

    def _values(self, values: list[Any], expected: SchemaType, path: Path) -> Mismatches:
        check, schema = self._validator.violations, expected.schema
        wrong = [value for value in values if next(check(value, schema), None)]
        shown = listed((json.dumps(value, ensure_ascii=False) for value in wrong), MAX_VALUES)
        message = f"expected a value that the schema allows, got {shown}"
        possibly = f"expected a value that the schema allows, may be {shown}"
        mismatch = Mismatch(path, "wrong_argument", "error", message, possibly=possibly)
        if wrong:
            yield mismatch if len(wrong) == len(values) else mismatch.possible()

    def _inside(self, given: StaticType, expected: SchemaType, path: Path) -> list[Mismatch]:
        """Compare the properties or items; a pair of recursive schemas is compared once."""
        pair = id(given.schema if isinstance(given, SchemaType) else given), id(expected.schema)
        if pair in self._comparing or len(self._comparing) > MAX_DEPTH:
            return []
        if pair in self._compared:
            _, before, found = self._compared[pair]
            return [replace(m, path=(*path, *m.path[len(before) :])) for m in found]
        self._comparing.add(pair)
        try:
            found = min(self._variants(given, expected, path), key=_distance, default=[])
        finally:
            self._comparing.discard(pair)
        if isinstance(given, SchemaType):  # kept with its result, so that no other gets its id
            self._compared[pair] = given, path, found
        return found

    def _variants(
        self, given: StaticType, expected: SchemaType, path: Path
    ) -> Iterator[list[Mismatch]]:
        """The mismatches with each variant of a schema that shares a type with the value."""
        for variant in self._query.variants(expected):
            found: list[Mismatch] = []
            types = types_of(variant) & self._query.kinds(given)
            if "object" in types:
                found += self._object(given, variant, expected.root, path)
            if "array" in types:
                found += self._array(given, variant, expected.root, path)
            if types:  # with several of them, the value may be of another type
                yield [m.possible() for m in found] if len(types) > 1 else found

    def _object(self, given: StaticType, variant: Variant, root: Any, path: Path) -> Mismatches:
        layout, names = self._query.layout(variant), self._query.names(given)
        for name in names if layout.is_closed else ():
            certain = self._query.step(given, name).presence == "yes"
            if certain and self._query.member(variant, name, root).presence == "no":
                yield unexpected_property(path, name, layout.names)
        for name in dict.fromkeys([*layout.required, *names]):
            found = self._query.step(given, name)
            absent = found.presence == "no"
            if name in layout.required and (absent or found.presence == "maybe"):
                missing = missing_property(path, name)
                yield missing if absent else missing.possible()
            # An optional property that a schema declares may never come: it is not compared.
            elif found.presence == "yes" or not (absent or isinstance(given, SchemaType)):
                inner = self._query.member(variant, name, root).type
                if isinstance(inner, SchemaType):
                    yield from self._fit(found.type, inner, (*path, name))

    def _array(self, given: StaticType, variant: Variant, root: Any, path: Path) -> Mismatches:
        if not isinstance(given, TupleType):
            element, schema = self._query.element(given), item_of(variant, 0, root).type
            if element is not None and isinstance(schema, SchemaType):
                yield from (m.in_items(path) for m in self._fit(element, schema, path))
            return
        count = counted(len(given.items), "item")
        least, _ = lengths(variant)
        if len(given.items) < least:
            yield wrong_type(path, f"at least {counted(least, 'item')}", count)
        for index, item in enumerate(given.items):
            inner = item_of(variant, index, root)
            if inner.presence == "no":
                yield wrong_type(path, f"at most {counted(index, 'item')}", count)
                return
            if isinstance(inner.type, SchemaType):
                yield from self._fit(item, inner.type, (*path, index))


def _distance(found: list[Mismatch]) -> tuple[int, int]:
    return sum(mismatch.severity == "error" for mismatch in found), len(found)
