"""A value that fits a JSON Schema, made up: the same schema, the same value.

The rule of this file: what is made is checked with the schema, and what does not fit is not given
out. It knows the keywords that schemas of tools use; the check knows them all.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.conversion import referred
from orchestrator.schemas import Schema, Validator
from orchestrator.subschemas import as_list

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
    "idn-email": "name@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "iri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/path",
    "iri-reference": "/path",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/name",
    "regex": ".*",
    "byte": "dGV4dA==",
    "base64": "dGV4dA==",
}
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "string": ("pattern", "format", "minLength", "maxLength", "contentEncoding"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_LEAST = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_MOST = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})
_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
# A pattern may take time exponential in the length of a text, so only short ones are tried, and
# those as long as it says itself.
_REPEATED: re.Pattern[str] = re.compile(r"\{(\d{1,4})")
_MAX_REPEATED = 256
_WORDS: re.Pattern[str] = re.compile(r"\w+")
_ATTEMPTED: tuple[str, ...] = (
    "text",
    "Text",
    "a",
    "A",
    "1",
    "0",
    "a-1",
    "a_1",
    "a.b",
    "1.0.0",
    "2026-01",
    "AB-12",
)


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


def sample(schema: Schema) -> Sample:
    """A value that fits a schema: its const, enum, examples or default, or else made by its type.

    Optional members are there, and arrays have an item, unless the schema forbids that.
    """
    validator = Validator(schema)
    if validator.unusable:
        return Sample(None, f"its schema cannot be used: {validator.unusable}")
    fault = ""
    for by_examples in (True, False):
        try:
            value = _Maker(schema, by_examples).make(schema)
        except _NoSampleError as error:
            fault = fault or str(error)
            continue
        except (RecursionError, OverflowError) as error:
            fault = fault or f"its schema is out of all bounds: {error}"
            continue
        mismatch = next(validator.mismatches(value), None)
        if validator.unusable:
            return Sample(None, f"its schema cannot be used: {validator.unusable}")
        if mismatch is None:
            return Sample(value)
        fault = fault or f"nothing was found that fits {mismatch.keyword!r}"
    return Sample(None, fault)


class _Maker:
    """Makes values for the parts of one schema.

    Args:
        root: The whole schema, which `$ref`s are about.
        by_examples: Whether examples and defaults may be taken.
    """

    def __init__(self, root: Schema, by_examples: bool) -> None:
        self._root = root
        self._by_examples = by_examples
        self._inside: list[str] = []
        self._made = 0

    def make(self, schema: Any, depth: int = 0) -> Any:
        self._made += 1
        if self._made > MAX_VALUES or depth > _MAX_DEPTH:
            raise _NoSampleError("its schema leads in circles, or is very large")
        if schema is False:
            raise _NoSampleError("its schema allows no value")
        if not isinstance(schema, Mapping):
            return TEXT
        if (given := self._given(schema)) is not None:
            return given[0]
        if "$ref" in schema:
            return self._referred(schema, depth)
        if options := as_list(schema.get("allOf")):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.make(_merged([rest, *options], self._root), depth + 1)
        for keyword in ("oneOf", "anyOf"):
            if options := as_list(schema.get(keyword)):
                rest = {key: value for key, value in schema.items() if key != keyword}
                return self._first(rest, options, keyword, depth)
        return self._by_type(schema, depth)

    def _given(self, schema: Mapping[str, Any]) -> tuple[Any] | None:
        """A value that the schema names itself."""
        if "const" in schema:
            return (schema["const"],)
        if values := as_list(schema.get("enum")):
            return (next((value for value in values if value is not None), None),)
        if not self._by_examples:
            return None
        if values := as_list(schema.get("examples")):
            return (values[0],)
        return (schema["default"],) if schema.get("default") is not None else None

    def _referred(self, schema: Mapping[str, Any], depth: int) -> Any:
        reference = str(schema["$ref"])
        if reference in self._inside:
            raise _NoSampleError(f"$ref {reference!r} leads in circles")
        self._inside.append(reference)
        try:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.make(
                _merged([rest, referred(reference, self._root)], self._root), depth + 1
            )
        finally:
            self._inside.pop()

    def _first(self, rest: Mapping[str, Any], options: list[Any], keyword: str, depth: int) -> Any:
        """A value for the first of some options; null is the last to be taken."""
        fault = "none of its options can be made"
        ranked = sorted(
            options, key=lambda each: isinstance(each, Mapping) and each.get("type") == "null"
        )
        definitions = self._root if isinstance(self._root, Mapping) else {}
        for option in ranked:
            try:
                value = self.make(_merged([rest, option], self._root), depth + 1)
            except _NoSampleError as error:
                fault = str(error)
                continue
            alone = {**_definitions(definitions), keyword: options}
            if keyword == "anyOf" or Validator(alone).fits(value):
                return value
        raise _NoSampleError(fault)

    def _by_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return _number(schema, whole=True)
            case "number":
                return _number(schema, whole=False)
            case "boolean":
                return True
            case "null":
                return None
        return _text(schema)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        declared = properties if isinstance(properties, Mapping) else {}
        required = [name for name in as_list(schema.get("required")) if isinstance(name, str)]
        made: dict[str, Any] = {}
        for name, member in declared.items():
            try:
                made[name] = self.make(member, depth + 1)
            except _NoSampleError:
                if name in required:
                    raise
        others = schema.get("additionalProperties", True)
        fewest = _whole(schema, "minProperties", 0)
        missing = max(0, min(fewest, MAX_VALUES) - len({*made, *required}))
        more = [f"name-{number}" for number in range(1, missing + 1)]
        for name in (*required, *more):
            if name not in made:
                made[name] = self.make(_by_pattern(schema, name, others), depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        items = schema.get("items", True)
        first = as_list(schema.get("prefixItems")) or as_list(items)
        rest = schema.get("additionalItems", True) if isinstance(items, list) else items
        least, most = _whole(schema, "minItems", 0), _whole(schema, "maxItems", MAX_VALUES)
        number = min(max(least, len(first), 1), max(most, 0), MAX_VALUES + 1)
        made: list[Any] = []
        if "contains" in schema and number:
            made.append(self.make(schema["contains"], depth + 1))
        while len(made) < number:
            try:
                inner = first[len(made)] if len(made) < len(first) else rest
                made.append(self._another(inner, len(made), schema, depth))
            except _NoSampleError:
                if len(made) < least:
                    raise
                break
        return made

    def _another(self, inner: Any, number: int, schema: Mapping[str, Any], depth: int) -> Any:
        """An item; where all have to differ, one that is unlike those before it."""
        if number and schema.get("uniqueItems") is True and isinstance(inner, Mapping):
            values = as_list(inner.get("enum"))
            if number < len(values):
                return values[number]
            return _varied(self.make(inner, depth + 1), number)
        return self.make(inner, depth + 1)


def _type_of(schema: Mapping[str, Any]) -> str:
    """The type a value is made of: the first that is not null, or what the keywords are about."""
    named = schema.get("type")
    if isinstance(named, str):
        return named
    names = [name for name in as_list(named) if isinstance(name, str)]
    if names:
        return next((name for name in names if name != "null"), "null")
    kinds = (kind for kind, keywords in _KEYWORDS.items() if not schema.keys().isdisjoint(keywords))
    return next(kinds, "string")


def _merged(schemas: list[Any], root: Any) -> Any:
    """One schema for several that a value has to fit at the same time."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        if schema is False:
            return False
        if not isinstance(schema, Mapping):
            continue
        for key, value in schema.items():
            merged[key] = _both(key, merged[key], value, root) if key in merged else value
    return merged


def _both(key: str, one: Any, other: Any, root: Any) -> Any:
    """What a keyword says where two schemas say it."""
    match key:
        case "properties" if isinstance(one, Mapping) and isinstance(other, Mapping):
            shared = {
                name: _merged([one[name], other[name]], root) for name in one if name in other
            }
            return {**one, **other, **shared}
        case "required" | "allOf":
            return [*as_list(one), *as_list(other)]
        case "enum":
            return [value for value in as_list(one) if value in as_list(other)]
        case "type":
            kinds = [[kind] if isinstance(kind, str) else as_list(kind) for kind in (one, other)]
            both = [kind for kind in kinds[0] if kind in kinds[1]]
            whole = ["integer"] if "integer" in kinds[0] + kinds[1] else []
            return both or whole
    if key in _LEAST:
        return max(one, other)
    return min(one, other) if key in _MOST else other


def _definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    return {name: root[name] for name in ("$defs", "definitions", "$schema") if name in root}


def _by_pattern(schema: Mapping[str, Any], name: str, others: Any) -> Any:
    patterns = schema.get("patternProperties", {})
    fitting = (inner for pattern, inner in patterns.items() if _searches(pattern, name))
    return next(fitting, others)


def _whole(schema: Mapping[str, Any], keyword: str, default: int) -> int:
    value = schema.get(keyword)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number else default  # type: ignore[arg-type]


def _varied(value: Any, number: int) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + number
        case str():
            return f"{value}-{number}"
        case dict():
            return {name: _varied(member, number) for name, member in value.items()}
    return value


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """The first of some candidates that is within the bounds."""
    for candidate in _candidates(schema):
        if math.isfinite(candidate) and _is_within(candidate, schema):
            is_whole = float(candidate).is_integer()
            if is_whole or not whole:
                return int(candidate) if is_whole else candidate
    raise _NoSampleError("no number is found within its bounds")


def _candidates(schema: Mapping[str, Any]) -> Iterator[float]:
    yield from (1, 0)
    low = [schema[key] for key in ("minimum", "exclusiveMinimum") if _is_number(schema.get(key))]
    high = [schema[key] for key in ("maximum", "exclusiveMaximum") if _is_number(schema.get(key))]
    step = schema.get("multipleOf")
    if _is_number(step) and step:
        start = math.ceil(max(low, default=0) / step)
        yield from (number * step for number in (start, start + 1))
        yield from (math.floor(value / step) * step for value in high)
    for value in (*low, *high):
        yield from (value, math.floor(value) + 1, math.ceil(value) - 1)
    if low and high:
        yield (max(low) + min(high)) / 2


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_within(value: float, schema: Mapping[str, Any]) -> bool:
    step = schema.get("multipleOf")
    if _is_number(step) and step and not float(value / step).is_integer():
        return False
    bounds = ((fits, schema.get(key)) for key, fits in _BOUNDS.items())
    return all(fits(value, bound) for fits, bound in bounds if _is_number(bound))


def _text(schema: Mapping[str, Any]) -> str:
    least, most = _whole(schema, "minLength", 0), _whole(schema, "maxLength", _MAX_LENGTH)
    if least > _MAX_LENGTH:
        raise _NoSampleError(f"a text of {least} characters is too long to be made up")
    if isinstance(pattern := schema.get("pattern"), str):
        return _matching(pattern, least, most)
    if (text := _FORMATS.get(str(schema.get("format")))) is not None:
        return text
    if schema.get("contentEncoding") == "base64":
        return _FORMATS["base64"]
    return TEXT[: max(most, 0)].ljust(least, "x")


def _matching(pattern: str, least: int, most: int) -> str:
    """A text for a pattern, out of a few; patterns of tools are mostly of names and codes."""
    named = {int(digits) for digits in _REPEATED.findall(pattern)}
    lengths: list[int] = sorted(
        {*range(1, 17), *(length for length in named if length <= _MAX_REPEATED)}
    )
    repeated = (letter * length for letter in "aA1" for length in lengths)
    words: list[str] = _WORDS.findall(pattern)
    for text in (*words, *_ATTEMPTED, *_FORMATS.values(), *repeated, "a" * least):
        if least <= len(text) <= most and _searches(pattern, text):
            return text
    raise _NoSampleError(f"no text is found for the pattern {pattern!r}")


def _searches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # a pattern of another dialect
        return False
