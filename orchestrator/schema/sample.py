"""Makes a value that fits a JSON Schema: its const, enum, example or default, else by its type.

The same schema gives the same value. The validator has the last word on each candidate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from orchestrator.documents.text import quoted
from orchestrator.schema.coercion import ALL_TYPES, listed
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import Found, SchemaType, schema_type
from orchestrator.schema.validator import Schema, Validator
from orchestrator.schema.variants import (
    Variant,
    declared,
    item_of,
    lengths,
    member_of,
    numbers,
    types_of,
)

TEXT = "text"
MAX_VALUES = 10_000
_MAX_DEPTH = 40
_MAX_LENGTH = 100_000
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KEYWORDS = {  # which tell the type of a schema that names none
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
}


class NoSampleError(Exception):
    """No value is found for a schema; the message says why."""


def sample(schema: Schema) -> Any:
    """A value that fits a schema, with optional properties and an item in arrays if it may.

    Raises:
        NoSampleError: None is found, or the schema cannot be used.
    """
    maker = _Maker(schema)
    if maker.validator.unusable:
        raise NoSampleError(f"its schema cannot be used: {maker.validator.unusable}")
    try:
        return maker.make(schema_type(schema))
    except (RecursionError, OverflowError) as error:
        raise NoSampleError(f"its schema is out of all bounds: {error}") from None


class _Maker:
    """Makes values for the parts of one schema."""

    def __init__(self, schema: Schema) -> None:
        self.validator = Validator(schema)
        self._query = TypeQuery()
        self._open: list[int] = []
        self._made = 0

    def make(self, known: SchemaType) -> Any:
        self._made += 1
        is_circular = id(known.schema) in self._open
        if is_circular or self._made > MAX_VALUES or len(self._open) > _MAX_DEPTH:
            raise NoSampleError("its schema leads in circles, or is very large")
        self._open.append(id(known.schema))
        try:
            return self._first(known)
        finally:
            self._open.pop()

    def _first(self, known: SchemaType) -> Any:
        fault = "its schema allows no value"
        variants = self._query.variants(known)
        for variant in sorted(variants, key=lambda variant: types_of(variant) == {"null"}):
            try:
                for value in self._candidates(variant, known.root):
                    violation = next(self.validator.violations(value, known.schema), None)
                    if violation is None:
                        return value
                    fault = f"no value was found that fits {quoted(violation.keyword)}"
            except NoSampleError as error:
                fault = str(error)
        raise NoSampleError(fault)

    def _candidates(self, variant: Variant, root: Any) -> Iterator[Any]:
        for schema in variant:
            yield from [schema["const"]] if "const" in schema else []
            yield from sorted(listed(schema, "enum"), key=lambda value: value is None)
        for schema in variant:  # null shows less of a workflow than a value of another type
            given = [*listed(schema, "examples")[:1], schema.get("default")]
            yield from (value for value in given if value is not None)
        match _type_of(variant):
            case "object":
                yield self._object(variant, root)
            case "array":
                yield self._array(variant, root)
            case "string":
                yield _string(variant)
            case "integer" | "number":
                yield from _numbers(variant)
            case simple:
                yield True if simple == "boolean" else None

    def _object(self, variant: Variant, root: Any) -> dict[str, Any]:
        names = [name for schema in variant for name in listed(schema, "required")]
        required = [name for name in names if isinstance(name, str)]
        made: dict[str, Any] = {}
        for name in dict.fromkeys([*declared(variant), *required]):
            try:
                made[name] = self._part(member_of(variant, name, root))
            except NoSampleError:
                if name in required:
                    raise
        return made

    def _array(self, variant: Variant, root: Any) -> list[Any]:
        least, _ = lengths(variant)
        first = max((len(listed(schema, "prefixItems")) for schema in variant), default=0)
        made: list[Any] = []
        while len(made) < max(least, first, 1):
            try:
                made.append(self._part(item_of(variant, len(made), root)))
            except NoSampleError:
                if len(made) < least:
                    raise
                break
        return made

    def _part(self, found: Found) -> Any:
        if found.presence == "no":
            raise NoSampleError("its schema allows no value where it requires one")
        return self.make(found.type if isinstance(found.type, SchemaType) else schema_type(True))


def _type_of(variant: Variant) -> str:
    types = types_of(variant)
    if types != ALL_TYPES:
        return next(name for name in _TYPES if name in types)
    used = {keyword for schema in variant for keyword in schema}
    return next((name for name, keywords in _KEYWORDS.items() if keywords & used), "string")


def _numbers(variant: Variant) -> Iterator[float]:
    low = numbers(variant, "minimum", "exclusiveMinimum")
    high = numbers(variant, "maximum", "exclusiveMaximum")
    between = [(max(low) + min(high)) / 2] if low and high else []
    around = [limit for bound in (*low, *high) for limit in (bound, bound + 1, bound - 1)]
    for number in (1, 0, *around, *map(math.ceil, low), *map(math.floor, high), *between):
        yield int(number) if float(number).is_integer() else number


def _string(variant: Variant) -> str:
    least = int(max(numbers(variant, "minLength"), default=0))
    most = int(min(numbers(variant, "maxLength"), default=_MAX_LENGTH))
    if least > _MAX_LENGTH:
        raise NoSampleError(f"a string of {least} characters is too long to be made up")
    return TEXT[: max(most, 0)].ljust(least, "x")
