"""A value that fits a JSON Schema, made up: the same schema, the same value.

The rule of this file: candidates by the keywords that schemas of tools use, of which the schema
itself chooses; what does not fit is not given out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.schema.coercion import listed
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import Found, SchemaType
from orchestrator.schema.validator import Schema, Validator
from orchestrator.schema.variants import Variant, item_of, lengths, numbers, types_of

TEXT = "text"
MAX_VALUES = 10_000
"""With more values than that in one sample, schemas lead in circles: it is given up."""
_MAX_DEPTH = 40
_MAX_LENGTH = 100_000
_FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1H",
    "email": "name@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "base64": "dGV4dA==",
}
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_KINDS = ("object", "array", "string", "number", "integer", "boolean", "null")
_PLAIN = {"boolean": True, "null": None}
_ANYTHING = SchemaType(True, True)
# A pattern may take time exponential in the length of a text, so only short ones are tried, and
# those as long as it says itself.
_REPEATED: re.Pattern[str] = re.compile(r"\{(\d{1,3})")
_WORDS: re.Pattern[str] = re.compile(r"\w+")
_CODES = ("Text", "A", "1", "a-1", "a_1", "a.b", "1.0.0", "AB-12", *_FORMATS.values())


@dataclass(frozen=True, slots=True)
class Sample:
    """A value that was made up.

    Attributes:
        value: The value; None if there is none.
        fault: Why there is none; empty if there is one.
    """

    value: Any
    fault: str = ""


class _NoSampleError(Exception):
    """A schema for which no value is found; its message says why."""


def sample(schema: Schema, root: Schema | None = None) -> Sample:
    """A value that fits a schema: its const, enum, example or default, or else made by its type.

    Optional members are there, and arrays have an item, unless the schema forbids that.

    Args:
        schema: The schema.
        root: The document that it is a part of, if it is one.
    """
    known = SchemaType(schema, schema if root is None else root)
    validator = Validator(known.root)
    made = Sample(None) if validator.unusable else _made(known, validator)
    if validator.unusable:  # which may have shown only then
        return Sample(None, f"its schema cannot be used: {validator.unusable}")
    return made


def _made(known: SchemaType, validator: Validator) -> Sample:
    try:
        return Sample(_Maker(validator).make(known))
    except _NoSampleError as error:
        return Sample(None, str(error))
    except (RecursionError, OverflowError) as error:
        return Sample(None, f"its schema is out of all bounds: {error}")


class _Maker:
    """Makes values for the parts of one schema.

    Args:
        validator: That of the whole schema, which chooses.
    """

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._reader = TypeQuery()
        self._inside: list[int] = []
        self._made = 0

    def make(self, known: SchemaType) -> Any:
        self._made += 1
        if id(known.schema) in self._inside:
            raise _NoSampleError("its schema leads in circles")
        if self._made > MAX_VALUES or len(self._inside) > _MAX_DEPTH:
            raise _NoSampleError("its schema leads in circles, or is very large")
        self._inside.append(id(known.schema))
        try:
            return self._first(known)
        finally:
            self._inside.pop()

    def _first(self, known: SchemaType) -> Any:
        """The first of the candidates that fits; null is the last of several ways."""
        variants = self._reader.variants(known)
        fault = "its schema allows no value"
        for variant in sorted(variants, key=lambda variant: types_of(variant) == {"null"}):
            try:
                for value in self._candidates(variant, known):
                    mismatch = next(self._validator.violations(value, known.schema), None)
                    if mismatch is None:
                        return value
                    fault = f"nothing was found that fits {mismatch.keyword!r}"
            except _NoSampleError as error:
                fault = str(error)
        raise _NoSampleError(fault)

    def _candidates(self, variant: Variant, known: SchemaType) -> Iterator[Any]:
        yield from _given(variant)
        match _kind_of(variant):
            case "object":
                yield self._object(variant, known.root)
            case "array":
                yield self._array(variant, known.root)
            case "string":
                yield from _texts(variant)
            case "integer" | "number" as kind:
                yield from _numbers(variant, whole=kind == "integer")
            case other:
                yield _PLAIN[other]

    def _object(self, variant: Variant, root: Any) -> dict[str, Any]:
        named = [name for schema in variant for name in listed(schema, "required")]
        required = [name for name in named if isinstance(name, str)]
        made: dict[str, Any] = {}
        for name in dict.fromkeys([*self._reader.layout(variant).names, *required]):
            try:
                made[name] = self._of(self._reader.member(variant, name, root))
            except _NoSampleError:
                if name in required:
                    raise
        return made

    def _array(self, variant: Variant, root: Any) -> list[Any]:
        least, _ = lengths(variant)
        first = max((len(listed(schema, "prefixItems")) for schema in variant), default=0)
        made: list[Any] = []
        for index in range(max(least, first, 1)):
            try:
                made.append(self._of(item_of(variant, index, root)))
            except _NoSampleError:
                if index < least:
                    raise
                break
        return made

    def _of(self, found: Found) -> Any:
        """A member or an item."""
        if found.presence == "no":
            raise _NoSampleError("its schema allows no value where it wants one")
        return self.make(found.shape if isinstance(found.shape, SchemaType) else _ANYTHING)


def _given(variant: Variant) -> Iterator[Any]:
    """The values that a schema names itself."""
    for schema in variant:
        if "const" in schema:
            yield schema["const"]
        yield from sorted(listed(schema, "enum"), key=lambda value: value is None)
    for schema in variant:
        yield from listed(schema, "examples")[:1]
        if schema.get("default") is not None:
            yield schema["default"]


def _kind_of(variant: Variant) -> str:
    """The type a value is made of: the first that is not null, or what the keywords are about."""
    types = types_of(variant)
    if len(types) < len(_KINDS):
        return next(kind for kind in _KINDS if kind in types)
    keywords = {keyword for schema in variant for keyword in schema}
    return next((kind for kind in _KEYWORDS if keywords & {*_KEYWORDS[kind]}), "string")


def _numbers(variant: Variant, *, whole: bool) -> Iterator[float]:
    low = numbers(variant, "minimum", "exclusiveMinimum")
    high = numbers(variant, "maximum", "exclusiveMaximum")
    found: list[float] = [1, 0]
    for step in filter(None, numbers(variant, "multipleOf")):
        start = math.ceil(max(low, default=0) / step)
        found += [number * step for number in (start, start + 1)]
        found += [math.floor(value / step) * step for value in high]
    for value in (*low, *high):
        found += [value, math.floor(value) + 1, math.ceil(value) - 1]
    if low and high:
        found.append((max(low) + min(high)) / 2)
    for number in found:
        if float(number).is_integer():
            yield int(number)
        elif not whole:
            yield number


def _texts(variant: Variant) -> Iterator[str]:
    least = int(max(numbers(variant, "minLength"), default=0))
    most = int(min(numbers(variant, "maxLength"), default=_MAX_LENGTH))
    if least > _MAX_LENGTH:
        raise _NoSampleError(f"a text of {least} characters is too long to be made up")
    for schema in variant:
        form = schema.get("format") or schema.get("contentEncoding")
        if str(form) in _FORMATS:
            yield _FORMATS[str(form)]
    yield TEXT[: max(most, 0)].ljust(least, "x")
    for pattern in [str(schema["pattern"]) for schema in variant if "pattern" in schema]:
        yield from _WORDS.findall(pattern)
        yield from _CODES
        lengths = {*range(1, 17), *map(int, _REPEATED.findall(pattern)), least}
        yield from (letter * length for letter in "aA1" for length in sorted(lengths))
