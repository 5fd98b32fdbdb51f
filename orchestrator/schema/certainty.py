"""Whether a value fits its schema for certain, found out fast.

The rule of this file: what it says yes to fits, in every dialect of JSON Schema; all that it is not
sure of it leaves to the `jsonschema` library, which says what is wrong. So a call that is right
costs about a microsecond and no import, and a large output little more than reading it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import ge, gt, le, lt
from typing import Any

Check = Callable[[Any], bool]

_SAYS_NOTHING = frozenset(
    {
        "$comment",
        "$defs",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "format",
        "nullable",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_.-]*")


class Certainty:
    """Says of values whether they fit a schema, or a part of it, for certain.

    Args:
        schema: The schema; it may be wrong in any way.
    """

    def __init__(self, schema: Any) -> None:
        self._reader = _Reader(schema)
        self._check = self._reader.check(schema)

    def fits(self, value: Any) -> bool:
        """Whether a value fits the schema for certain."""
        try:
            return self._check(value)
        except RecursionError:
            return False

    def doubtful(self, values: Iterable[Any], part: Any) -> Iterator[tuple[int, Any]]:
        """Those of many values, with their numbers, that may not fit a part of the schema."""
        check = self._reader.check(part)
        for number, value in enumerate(values):
            try:
                if check(value):
                    continue
            except RecursionError:
                pass
            yield number, value


def _yes(_: Any) -> bool:
    return True


def _not_certain(_: Any) -> bool:
    return False


class _Reader:
    """Turns the parts of one schema into functions, each once: a `$ref` may lead in circles."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, Check] = {}
        self._kept: list[Any] = []  # so that no other schema has the same identity

    def check(self, schema: Any) -> Check:
        if schema is True:
            return _yes
        if not isinstance(schema, dict):
            return _not_certain
        key = id(schema)
        if key not in self._known:
            self._kept.append(schema)
            self._known[key] = lambda value: self._known[key](value)
            try:
                self._known[key] = self._read(schema)
            except RecursionError:
                self._known[key] = _not_certain
        return self._known[key]

    def _read(self, schema: Mapping[str, Any]) -> Check:
        checks = [
            self._keyword(keyword, wanted)
            for keyword, wanted in schema.items()
            if keyword not in _SAYS_NOTHING and keyword not in _OF_OBJECTS
        ]
        if not _OF_OBJECTS.isdisjoint(schema):
            checks.append(self._object(schema))
        return _all_of(checks)

    def _keyword(self, keyword: str, wanted: Any) -> Check:
        match keyword:
            case "type":
                return _type(wanted)
            case "items":
                return self._items(wanted)
            case "anyOf" if isinstance(wanted, list):
                return _any_of([self.check(option) for option in wanted])
            case "allOf" if isinstance(wanted, list):
                return _all_of([self.check(part) for part in wanted])
            case "$ref":
                return self._reference(wanted)
            case "enum" if isinstance(wanted, list):
                return _enum(wanted)
            case "const":
                return _enum([wanted])
            case "pattern":
                return _pattern(wanted)
            case "uniqueItems" if wanted is False:
                return _yes
            case _ if keyword in _LIMITS and type(wanted) in (int, float):
                return _limit(*_LIMITS[keyword], wanted)
        return _not_certain

    def _object(self, schema: Mapping[str, Any]) -> Check:
        """The members of an object; of what is no object, these keywords say nothing."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            return _not_certain
        members = {name: self.check(member) for name, member in properties.items()}
        others = self.check(schema.get("additionalProperties", True))
        member_of = members.get

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            for name in required:
                if name not in value:
                    return False
            return all(member_of(name, others)(member) for name, member in value.items())

        return check

    def _items(self, wanted: Any) -> Check:
        item = self.check(wanted)
        return lambda value: not isinstance(value, list | tuple) or all(map(item, value))

    def _reference(self, wanted: Any) -> Check:
        """What a pointer into the schema itself names, if no `$id` is on the way to it."""
        if not isinstance(wanted, str) or not re.match(r"#(/|$)", wanted):
            return _not_certain
        here = self._root
        for step in wanted.split("/")[1:]:
            if not isinstance(here, dict) or "$id" in here or not _PLAIN_NAME.fullmatch(step):
                return _not_certain
            here = here.get(step)
        return self.check(here)


def _all_of(checks: list[Check]) -> Check:
    if len(checks) < 2:
        return checks[0] if checks else _yes
    return lambda value: all(check(value) for check in checks)


def _any_of(checks: list[Check]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _type(wanted: Any) -> Check:
    names = wanted if isinstance(wanted, list) else [wanted]
    types = {kind for name in names for kind in _TYPES.get(str(name), ())}
    return lambda value: type(value) in types


def _enum(wanted: list[Any]) -> Check:
    texts = {option for option in wanted if isinstance(option, str)}
    others = [option for option in wanted if isinstance(option, int) or option is None]

    def check(value: Any) -> bool:
        if isinstance(value, str):
            return value in texts
        return any(type(value) is type(option) and value == option for option in others)

    return check


def _pattern(wanted: Any) -> Check:
    try:
        search = re.compile(wanted).search
    except (re.error, TypeError):
        return _not_certain
    return lambda value: not isinstance(value, str) or search(value) is not None


Measure = Callable[[Any], Any]
Compare = Callable[[Any, Any], bool]
_LIMITS: Mapping[str, tuple[tuple[type, ...], Measure, Compare]] = {
    "minimum": ((int, float), lambda number: number, ge),
    "maximum": ((int, float), lambda number: number, le),
    "exclusiveMinimum": ((int, float), lambda number: number, gt),
    "exclusiveMaximum": ((int, float), lambda number: number, lt),
    "minLength": ((str,), len, ge),
    "maxLength": ((str,), len, le),
    "minItems": ((list, tuple), len, ge),
    "maxItems": ((list, tuple), len, le),
    "minProperties": ((dict,), len, ge),
    "maxProperties": ((dict,), len, le),
}


def _limit(kinds: tuple[type, ...], measure: Measure, compare: Compare, wanted: float) -> Check:
    return lambda value: not isinstance(value, kinds) or compare(measure(value), wanted)
