"""Turns pydantic's validation errors into problems, with our messages, places and fixes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import move_op, pointer, replace_op, value_at
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import alternatives, cut, quoted, visible
from orchestrator.errors import Problem

Location = tuple[str | int, ...]
Fields = Mapping[str, tuple[str, ...]]

# The kinds of errors of strict models: those that convert values have more.
_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "float_type": "number",
    "finite_number": "finite number",
    "bool_type": "boolean",
    "list_type": "array",
    "too_short": "non-empty array",
    "string_too_short": "non-empty string",
    "string_unicode": "string without lone surrogates",
    "dict_type": "object",
    "model_type": "object",
}
_PATTERNS = {
    "id": 'an id of letters, digits, "_", "-", "." and ":"',
    "tool": '"server:tool"',
    "read": '"server:uri"',
    "prompt": '"server:name"',
    "rate": 'a rate like "10/s", "100/min" or "1000/h", from 1 to 9,999,999',
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LISTS = ("depends_on", "locks", "on")  # of names
_NAME = re.compile(r"[^\s,;]+")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(rf"{_WHOLE.pattern}(?:\.[0-9]{{1,14}})?")
_nearest = lru_cache(nearest)  # a typo is often repeated in every task


class MissingFieldError(ValueError):
    """A validator of a model misses a field; its message is the name."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name)
        self.hint = hint


class MisplacedFieldError(ValueError):
    """A validator of a model does not take a field that is there."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def problems_of(
    error: ValidationError,
    data: Any,
    fields: Fields,
    owner_of: Callable[[Location], str | None] = lambda _: None,
) -> list[Problem]:
    """The problems that pydantic found, those of one place in the data beside each other.

    Args:
        error: As pydantic raised it.
        data: What was validated.
        fields: The field names of each kind of object, by the array or field that holds it ("" for
            the top).
        owner_of: The id of the task that a location lies in, or None.
    """
    by_place: dict[Location, list[Any]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        if detail["loc"][-1:] == ("[key]",):
            continue  # no file has such a name; in a dict, the workflow compiler reports it
        where = tuple(_real_location(detail["loc"], data, detail["type"] == "missing"))
        by_place.setdefault(where, []).append(detail)
    # What has a problem inside is of a type that a union accepts; its other members do not matter.
    fitting = {where[:length] for where in by_place for length in range(len(where))}
    return [
        replace(problem, task=owner_of(where))
        for where, details in by_place.items()
        if where not in fitting or any(detail["type"] not in _TYPES for detail in details)
        for problem in _translated(where, details, data, fields)
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


def _translated(
    where: Location, details: list[Any], data: Any, fields: Fields
) -> Iterator[Problem]:
    # Each member of a union that did not fit has an error of its own: they become one problem.
    typed = [detail for detail in details if detail["type"] in _TYPES]
    choices = [_choices(detail) for detail in details if detail["type"] == "literal_error"]
    if typed:
        kinds, given = {detail["type"] for detail in typed}, typed[0]["input"]
        wanted = dict.fromkeys(map(_type_wanted, typed))
        message = f"expected {alternatives([*wanted, *choices])}, got {describe(given)}"
        hint = _hint(kinds, given, of_command=where[-1:] == ("args",))
        meant, path = _of_type(kinds, given, where), pointer(*where)
        operations = () if meant is None else (replace_op(path, meant),)
        yield Problem("wrong_type", message, path, hint=hint, replacement=operations)
    limits = [detail for detail in details if detail["type"] in _LIMITS]
    for detail in details:
        if detail["type"] == "extra_forbidden":
            yield _unknown_field(where, data, fields)
        elif detail["type"] == "literal_error" and (typed or limits):
            continue  # a part of the other message
        elif detail not in typed:
            yield _other(detail, where, choices)


def problem_of(error: ValueError, where: Location) -> Problem:
    """The problem that a validator of a model has with the object at a place."""
    if isinstance(error, MissingFieldError):
        message = f"missing field {quoted(str(error))}"
        path = pointer(*where, str(error))
        return Problem("missing_field", message, path, hint=error.hint)
    at = (*where, error.name) if isinstance(error, MisplacedFieldError) else where
    return Problem("wrong_value", str(error), pointer(*at))


def _type_wanted(detail: Any) -> str:
    is_object = (detail.get("ctx") or {}).get("field_type") == "Dictionary"
    return "non-empty object" if is_object else _TYPES[detail["type"]]


def _other(detail: Any, where: Location, choices: list[str]) -> Problem:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx") or {}
    name, path = str(where[-1]) if where else "", pointer(*where)
    if kind == "missing":
        return Problem("missing_field", f"missing field {quoted(name)}", path)
    if kind == "invalid_key":
        message = f"expected string as property name, got {describe(given)}"
        return Problem("not_json", message, path)
    if kind == "literal_error":
        return _wrong_choice(detail, path)
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        wanted = alternatives([f"{words} {context[key]:g}", *choices])
        message = f"expected {wanted}, got {_got(given)}"
    elif kind == "string_pattern_mismatch" and name in _PATTERNS:
        message = f"expected {_PATTERNS[name]}, got {_got(given)}"
    elif isinstance(of_field := context.get("error"), MissingFieldError | MisplacedFieldError):
        return problem_of(of_field, where)
    else:
        message = str(context.get("error", f"invalid value {_got(given)}"))
        if message.startswith("expected"):
            message = f"{message}, got {describe(given)}"
    return Problem("wrong_value", message, path)


def _unknown_field(where: Location, data: Any, fields: Fields) -> Problem:
    *above, name = where
    names = ["", *(step for step in above if isinstance(step, str))]
    # An item of "tasks" or "locks" has no name of its own: its fields are those of the array.
    known = fields.get(names[-1]) or fields.get("".join(names[-2:-1]), ())
    near = _nearest(str(name), known)
    field, holder = certain(str(name), near), value_at(data, pointer(*above))
    # Renamed only if the object has no other property that could be the same field.
    is_free = field and not any(certain(other, (field,)) for other in holder if other != name)
    moved = (move_op(pointer(*where), pointer(*above, field)),) if field and is_free else ()
    hint = "" if near else f"known fields: {', '.join(known)}"
    message, path = f"unknown field {quoted(str(name))}", pointer(*where)
    return Problem("unknown_field", message, path, None, near, hint, replacement=moved)


def _choices(detail: Any) -> str:
    """The values of a Literal, which pydantic writes as `'a', 'b' or 'c'`."""
    return str(detail["ctx"]["expected"]).replace("'", '"').replace(" or ", ", ")


def _wrong_choice(detail: Any, path: str) -> Problem:
    given, allowed = detail["input"], _choices(detail)
    values = [value.strip('"') for value in allowed.split(", ")]
    near = nearest(given, values) if isinstance(given, str) else ()
    meant = certain(given, near) if near else None
    operations = () if meant is None else (replace_op(path, meant),)
    message = f"expected one of {allowed}, got {_got(given)}"
    return Problem("wrong_value", message, path, None, near[:1], replacement=operations)


def _hint(kinds: set[str], given: Any, *, of_command: bool) -> str:
    if "list_type" in kinds and isinstance(given, str):
        words = given.split() if of_command else [given]  # split as a shell would
        return f"write {cut(visible(to_json(words)), 80)}"
    if kinds & {"int_type", "float_type"} and isinstance(given, str):
        return "remove the quotes" if given.replace(".", "", 1).isdecimal() else ""
    return "put it in quotes" if kinds == {"string_type"} and isinstance(given, int | float) else ""


def _got(value: Any) -> str:
    # Its type is right, so that a string or a number is shown alone.
    return re.sub("^(string|integer|number) ", "", describe(value))


def _of_type(kinds: set[str], given: Any, where: Location) -> Any:
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
