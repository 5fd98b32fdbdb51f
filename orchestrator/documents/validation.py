"""Turns pydantic's validation errors into problems, with our messages, places and fixes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import move_op, pointer, replace_op, value_at
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import cut, quoted, visible
from orchestrator.errors import Problem

Location = tuple[str | int, ...]
OwnerOf = Callable[[Location], str | None]

_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "int_from_float": "integer",
    "int_parsing": "integer",
    "int_parsing_size": "smaller integer",
    "float_type": "number",
    "float_parsing": "number",
    "finite_number": "finite number",
    "bool_type": "boolean",
    "bool_parsing": "boolean",
    "list_type": "array",
    "too_short": "non-empty array",
    "string_too_short": "non-empty string",
    "string_unicode": "string without lone surrogates",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
    "mapping_type": "object",
}
_PATTERNS = {
    "id": 'an id of letters, digits, "_", "-", "." and ":"',
    "tool": '"server:tool"',
    "rate": 'a rate like "10/s", "100/min" or "1000/h", from 1 to 9,999,999',
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_MISSING = ("missing", "missing_argument")


def problems_of(
    error: ValidationError,
    data: Any,
    fields: Mapping[str, Sequence[str]],
    owner_of: OwnerOf = lambda _: None,
) -> list[Problem]:
    """The problems that pydantic found, one for each place in the data.

    Args:
        error: As pydantic raised it.
        data: What was validated.
        fields: The field names of each kind of object, by the array or field that holds it ("" for
            the top).
        owner_of: The id of the task that a location lies in, or None.
    """
    translator = _Translator(data, fields, owner_of)
    by_place: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        if detail["loc"][-1:] == ("[key]",):
            continue  # no file has such a name; in a dict, the workflow compiler reports it
        missing = detail["type"] in _MISSING
        where = tuple(_real_location(detail["loc"], data, missing))
        by_place.setdefault(pointer(*where), []).append((where, detail))
    return [
        problem
        for path, found in by_place.items()
        for problem in translator.translate(path, found[0][0], [detail for _, detail in found])
    ]


def _real_location(location: Location, data: Any, missing: bool) -> Iterator[str | int]:
    """The steps that exist in the data; pydantic adds the names of union members and types."""
    here: Any = data
    for step in location:
        is_index = isinstance(here, list) and isinstance(step, int)
        if is_index or (isinstance(here, Mapping) and step in here):
            yield step
            here = here[step]
    if missing:
        yield location[-1]


class _Translator:
    def __init__(self, data: Any, fields: Mapping[str, Sequence[str]], owner_of: OwnerOf) -> None:
        self._owner_of = owner_of
        self._data = data
        self._fields = fields
        self._near: dict[tuple[str, str], tuple[str, ...]] = {}

    def translate(self, path: str, where: Location, details: list[Any]) -> Iterator[Problem]:
        """What is wrong at one place; the members of a union that did not fit are one problem."""
        task = self._owner_of(where)
        wanted = {_TYPES[d["type"]]: d["type"] for d in details if d["type"] in _TYPES}
        if wanted:
            given = next(d["input"] for d in details if d["type"] in _TYPES)
            kinds = frozenset(wanted.values())
            choices = [_choices(d) for d in details if d["type"] == "literal_error"]
            message = f"expected {' or '.join([*wanted, *choices])}, got {describe(given)}"
            hint = _hint(kinds, given, of_command=where[-1:] == ("args",))
            meant = _of_type(kinds, given, where)
            operations = () if meant is None else (replace_op(path, meant),)
            yield Problem("wrong_type", message, path, task, (), hint, replacement=operations)
        for detail in details:
            if detail["type"] not in _TYPES and not (wanted and detail["type"] == "literal_error"):
                yield self._other(detail, path, where, task)

    def _other(self, detail: Any, path: str, where: Location, task: str | None) -> Problem:
        kind, given, context = detail["type"], detail["input"], detail.get("ctx") or {}
        name = str(where[-1]) if where else ""
        match kind:
            case "extra_forbidden" | "unexpected_keyword_argument":
                return self._unknown_field(name, path, where, task)
            case "missing" | "missing_argument":
                return Problem("missing_field", f"missing field {quoted(name)}", path, task)
            case "invalid_key":
                message = f"expected string as property name, got {describe(given)}"
                return Problem("not_json", message, path, task)
            case "literal_error":
                return _wrong_choice(detail, path, task)
            case _ if kind in _LIMITS:
                key, words = _LIMITS[kind]
                message = f"expected {words} {context[key]:g}, got {_got(given)}"
            case "string_pattern_mismatch" if name in _PATTERNS:
                message = f"expected {_PATTERNS[name]}, got {_got(given)}"
            case _:
                message = str(context.get("error", f"invalid value {_got(given)}"))
                if message.startswith("expected"):
                    message = f"{message}, got {describe(given)}"
        return Problem("wrong_value", message, path, task)

    def _unknown_field(self, name: str, path: str, where: Location, task: str | None) -> Problem:
        names = [step for step in where[:-1] if isinstance(step, str)]
        holder = names[-1] if names else ""
        known = self._fields.get(holder) or self._fields.get("".join(names[-2:-1]), ())
        if (name, holder) not in self._near:  # a typo is often repeated in every task
            self._near[name, holder] = nearest(name, known)
        near = self._near[name, holder]
        hint = "" if near else f"known fields: {', '.join(known)}"
        message = f"unknown field {quoted(name)}"
        moved = self._moved(name, near, where)
        return Problem("unknown_field", message, path, task, near, hint, replacement=moved)

    def _moved(
        self, name: str, near: Sequence[str], where: Location
    ) -> tuple[Mapping[str, Any], ...]:
        """Renames a property, if its right name is certain and no other property has it."""
        field, holder = certain(name, near), value_at(self._data, pointer(*where[:-1]))
        if field is None or any(certain(other, (field,)) for other in holder if other != name):
            return ()
        return (move_op(pointer(*where), pointer(*where[:-1], field)),)


def _choices(detail: Any) -> str:
    """The values of a Literal, which pydantic writes as `'a', 'b' or 'c'`."""
    return str(detail["ctx"]["expected"]).replace("'", '"').replace(" or ", ", ")


def _wrong_choice(detail: Any, path: str, task: str | None) -> Problem:
    given, allowed = detail["input"], _choices(detail)
    values = [value.strip('"') for value in allowed.split(", ")]
    near = nearest(given, values) if isinstance(given, str) else ()
    meant = certain(given, near) if isinstance(given, str) else None
    operations = () if meant is None else (replace_op(path, meant),)
    message = f"expected one of {allowed}, got {_got(given)}"
    return Problem("wrong_value", message, path, task, near[:1], replacement=operations)


def _hint(kinds: frozenset[str], given: Any, *, of_command: bool) -> str:
    if "list_type" in kinds and isinstance(given, str):
        words = given.split() if of_command else [given]  # split as a shell would
        return f"write {cut(visible(to_json(words)), 80)}"
    if kinds & {"int_type", "float_type"} and isinstance(given, str):
        return "remove the quotes" if given.replace(".", "", 1).isdecimal() else ""
    return "put it in quotes" if kinds == {"string_type"} and isinstance(given, int | float) else ""


def _got(value: Any) -> str:
    """A value of the right type, short: a string or a number as it is written."""
    described = describe(value)
    return described.removeprefix("string ").removeprefix("integer ").removeprefix("number ")


_LISTS = ("depends_on", "locks", "on")  # of names
_NAME = re.compile(r"[^\s,;]+")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(rf"{_WHOLE.pattern}(?:\.[0-9]{{1,14}})?")


def _of_type(kinds: frozenset[str], given: Any, where: tuple[str | int, ...]) -> Any:
    """The value that was meant by one of a wrong type; None if that is not certain."""
    match given:
        case bool():
            return None
        case int() if kinds == {"string_type"}:
            return str(given)
        case str() if "list_type" in kinds and where[-1] in _LISTS and _NAME.fullmatch(given):
            return [given]
        case "true" | "false" if "bool_type" in kinds and "string_type" not in kinds:
            return given == "true"
        case str() if not kinds.isdisjoint(("int_type", "float_type")) and _WHOLE.fullmatch(given):
            return int(given)
        case str() if "float_type" in kinds and _NUMBER.fullmatch(given):
            return float(given)
    return None
