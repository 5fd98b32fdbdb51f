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

from orchestrator.conversion import ALL_TYPES, Types, converted
from orchestrator.errors import nearest
from orchestrator.finding import (
    Finding,
    at_reference,
    badness,
    kind_of_text,
    lacking,
    merged,
    milder,
    of_misfit,
    wrong_type,
)
from orchestrator.misfits import told
from orchestrator.paths import Path
from orchestrator.reader import Reader
from orchestrator.schemas import Validator
from orchestrator.shapes import (
    SILENT_NULL,
    Either,
    Exactly,
    Known,
    ListOf,
    Members,
    Shape,
    Sourced,
    Unknown,
    words,
)
from orchestrator.unfolding import Variant, item_of, lengths, types_of

MAX_DEPTH = 12
_NOT_TEXT = ALL_TYPES - {"string", "null"}


class Comparison:
    """Compares shapes with schemas.

    Args:
        reader: Reads them.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._validators: dict[int, tuple[Any, Validator]] = {}
        self._comparing: set[tuple[int, int]] = set()
        self._compared: dict[tuple[int, int], tuple[Shape, Path, list[Finding]]] = {}

    def know(self, schema: Any, validator: Validator) -> None:
        """Use a validator that was made before."""
        self._validators[id(schema)] = schema, validator

    def validator(self, root: Any) -> Validator:
        """The validator of a whole schema, made once."""
        if id(root) not in self._validators:
            self._validators[id(root)] = root, Validator(root)
        return self._validators[id(root)][1]

    def arguments(self, given: Shape, schema: Any) -> list[Finding]:
        """What is wrong with the arguments of a call, for the `inputSchema` of its tool."""
        wanted = Known(schema, schema)
        found = list(self._fit(given, wanted, ()))
        names = self._reader.names(given)
        return [*found, *self._not_declared(names, wanted)]

    def _not_declared(self, names: tuple[str, ...], wanted: Known) -> Iterator[Finding]:
        """Arguments that the schema neither declares nor forbids: most servers ignore them."""
        known = self._reader.names(wanted)
        if not known or set(names) <= set(known):
            return
        for name in names:
            found = self._reader.step(wanted, name)
            if found.presence == "no" and not self._is_closed(wanted):
                message = f"there is no argument {name!r}, and most servers would ignore it"
                near = nearest(name, known)
                yield Finding((name,), "unexpected_argument", "warning", message, "", near)

    def _is_closed(self, wanted: Known) -> bool:
        variants = self._reader.variants(wanted)
        return all(self._reader.layout(variant).is_closed for variant in variants)

    def _fit(self, given: Shape, wanted: Known, path: Path) -> Iterator[Finding]:
        if wanted.schema is True or wanted.schema == {}:
            return
        match given:
            case Sourced(shape, text):
                for finding in self._sourced(shape, wanted, path):
                    yield at_reference(finding, path, text)
            case Exactly(value):
                yield from self._literal(value, wanted, path)
            case Either(options, each):
                yield from merged([list(self._fit(o, wanted, path)) for o in options], each)
            case Unknown(why):
                if why:
                    yield Finding(path, "unknown_type", "note", why)
            case _:
                yield from self._typed(given, wanted, path, self._reader.kinds(given))

    def _sourced(self, shape: Shape, wanted: Known, path: Path) -> Iterator[Finding]:
        """What stands alone is converted where that is possible; see `orchestrator.conversion`."""
        match shape:
            case Either(options, each):
                yield from merged([list(self._sourced(o, wanted, path)) for o in options], each)
            case Exactly(value):
                if isinstance(value, str | int | float):
                    value = converted(value, self._reader.kinds(wanted))
                yield from self._literal(value, wanted, path)
            case Sourced(inner):
                yield from self._sourced(inner, wanted, path)
            case Unknown():
                yield from self._fit(shape, wanted, path)
            case _:
                yield from self._converted(shape, wanted, path)

    def _converted(self, shape: Shape, wanted: Known, path: Path) -> Iterator[Finding]:
        """The types that are left when what may be converted is taken out."""
        kinds, accepted = self._reader.kinds(shape), self._reader.kinds(wanted)
        rest = kinds
        if "string" in kinds and "string" not in accepted and accepted & _NOT_TEXT:
            message = f"text where {words(accepted)} is wanted: it depends on the text"
            yield Finding(path, "unknown_type", "note", message)
            rest -= {"string"}
        if "string" in accepted and accepted <= {"string", "null"}:
            rest -= {"number", "integer", "boolean"}
            choices = self._reader.finite(wanted)
            if not rest and choices is not None and kinds.isdisjoint(map(kind_of_text, choices)):
                yield wrong_type(path, words(kinds), accepted, choices=choices)
        for finding in self._typed(shape, wanted, path, rest) if rest else ():
            yield finding if rest == kinds else milder(finding)

    def _literal(self, value: Any, wanted: Known, path: Path) -> Iterator[Finding]:
        mismatches = list(self.validator(wanted.root).mismatches(value, wanted.schema))
        if not mismatches:
            return
        inside = list(self._inside_literal(value, wanted, path))
        if any(finding.severity == "error" for finding in inside):
            yield from inside
            return
        for misfit in told(mismatches):
            yield of_misfit(misfit, path)

    def _inside_literal(self, value: Any, wanted: Known, path: Path) -> Iterator[Finding]:
        """The same by its parts, which tells more of objects and lists."""
        match value:
            case dict():
                given: Shape = Members({name: Exactly(item) for name, item in value.items()})
            case list():
                given = ListOf(tuple(map(Exactly, value)))
            case _:
                given = Exactly(value)
                kinds, accepted = self._reader.kinds(given), self._reader.kinds(wanted)
                if not kinds & accepted:
                    yield wrong_type(path, self._reader.describe(given), accepted, value)
                return
        yield from self._typed(given, wanted, path, self._reader.kinds(given))

    def _typed(self, given: Shape, wanted: Known, path: Path, kinds: Types) -> Iterator[Finding]:
        """Compare types, then what is inside of objects and lists.

        Args:
            given: The shape.
            wanted: The schema.
            path: Where in the whole value.
            kinds: The types of the shape that count.
        """
        accepted = self._reader.kinds(wanted)
        if given == SILENT_NULL and "null" not in accepted:
            yield Finding(path, "wrong_argument", "error", "")
            return
        if kinds == ALL_TYPES:
            yield Finding(path, "unknown_type", "note", "its schema does not say what it is")
            return
        if not kinds & accepted:
            yield wrong_type(path, self._reader.describe(given), accepted)
            return
        if kinds - accepted:
            message = f"may be {words(kinds - accepted)}, and {words(accepted)} is wanted"
            yield Finding(path, "may_not_fit", "warning", message)
        if (values := self._reader.finite(given)) is not None:
            yield from self._values(values, wanted, path)
        elif kinds & accepted & {"object", "array"}:
            yield from self._inside(given, wanted, path)

    def _values(self, values: list[Any], wanted: Known, path: Path) -> Iterator[Finding]:
        validator = self.validator(wanted.root)
        bad = [v for v in values if next(validator.mismatches(v, wanted.schema), None) is not None]
        if not bad:
            return
        shown = ", ".join(json.dumps(value, ensure_ascii=False) for value in bad[:5])
        if len(bad) == len(values):
            message = f"is one of {shown}, and none of them fits"
            yield Finding(path, "wrong_argument", "error", message)
        else:
            yield Finding(path, "may_not_fit", "warning", f"may be {shown}, which does not fit")

    def _inside(self, given: Shape, wanted: Known, path: Path) -> list[Finding]:
        """What is inside of an object or a list; nothing new, where schemas lead in circles."""
        pair = (id(given.schema) if isinstance(given, Known) else id(given), id(wanted.schema))
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
        if isinstance(given, Known):  # schemas in circles lead to the same pair many times
            self._compared[pair] = given, path, found
        return found

    def _nearest_way(self, given: Shape, wanted: Known, path: Path) -> list[Finding]:
        """What is amiss for the one of several ways to fit that is nearest."""
        ways = []
        for variant in self._reader.variants(wanted):
            found: list[Finding] = []
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

    def _object(self, given: Shape, variant: Variant, root: Any, path: Path) -> Iterator[Finding]:
        layout, given_names = self._reader.layout(variant), self._reader.names(given)
        required = layout.required
        if layout.is_closed:
            yield from self._unexpected(given, given_names, variant, root, path)
        for name in dict.fromkeys([*required, *given_names]):
            found = self._reader.step(given, name)
            if found.presence == "no" or (found.presence == "maybe" and name in required):
                if name in required:
                    yield lacking(name, found.presence == "no", path)
            elif found.presence == "yes" or not isinstance(given, Known):
                inner = self._reader.member(variant, name, root).shape
                if isinstance(inner, Known):
                    yield from self._fit(found.shape, inner, (*path, name))

    def _unexpected(
        self, given: Shape, names: tuple[str, ...], variant: Variant, root: Any, path: Path
    ) -> Iterator[Finding]:
        known = self._reader.layout(variant).names
        for name in names:
            certainly = self._reader.step(given, name).presence == "yes"
            if certainly and self._reader.member(variant, name, root).presence == "no":
                near = nearest(name, known)
                message = f"there is no argument {name!r}" if not path else f"has {name!r} too much"
                place = (*path, name) if isinstance(given, Members) else path
                yield Finding(place, "unexpected_argument", "error", message, "", near)

    def _array(self, given: Shape, variant: Variant, root: Any, path: Path) -> Iterator[Finding]:
        if isinstance(given, ListOf):
            least, _ = lengths(variant)
            if len(given.items) < least:
                message = f"has {len(given.items)} items, and at least {least} are wanted"
                yield Finding(path, "wrong_argument", "error", message)
            for index, item in enumerate(given.items):
                inner = item_of(variant, index, root)
                if inner.presence == "no":
                    message = f"has {len(given.items)} items, which is too many"
                    yield Finding(path, "wrong_argument", "error", message)
                    return
                if isinstance(inner.shape, Known):
                    yield from self._fit(item, inner.shape, (*path, index))
            return
        each, inner = self._reader.element(given), item_of(variant, 0, root)
        if each is None or not isinstance(inner.shape, Known):
            return
        for finding in self._fit(each, inner.shape, path):  # a list that is empty would fit
            yield replace(milder(finding), message=f"its items: {finding.message}")
