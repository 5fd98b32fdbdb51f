"""pydantic's errors as problems, at the places and with the names that the file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import move_op, pointer, replace_op
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import cut
from orchestrator.errors import Problem

Location = tuple[str | int, ...]
OwnerOf = Callable[[Location], str | None]

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "too_short": "a list that is not empty",
    "string_too_short": "text that is not empty",
    "string_unicode": "text without halves of surrogate pairs",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "mapping_type": "an object",
}
_PATTERNS = {
    "id": "is no id: letters, digits and _ - . : only",
    "tool": "names no tool: it is written server:tool",
    "rate": "is no rate: it is written 10/s, 100/min or 1000/h, from 1 to 9,999,999",
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
    """What pydantic found, in our words and with our places.

    Args:
        error: As pydantic raised it.
        data: What was validated.
        fields: For each kind of object, by the name of the list or field that holds it ("" for the
            top), the names of its fields.
        owner_of: The id of the task that a location lies in, or None.
    """
    translator = _Translator(data, fields, owner_of)
    by_place: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        if detail["loc"][-1:] == ("[key]",):
            continue  # no file has a name that is no text; where a dict has one, planning says so
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
        wanted = {_WANTED[d["type"]]: d for d in details if d["type"] in _WANTED}
        if wanted:
            given = next(iter(wanted.values()))["input"]
            mended = of_type(frozenset(d["type"] for d in wanted.values()), given, where)
            choices = [d["ctx"]["expected"] for d in details if d["type"] == "literal_error"]
            message = f"has to be {' or '.join([*wanted, *choices])}, not {shown(given)}"
            hint = _hint([d["type"] for d in wanted.values()], given, where[-1:] == ("args",))
            operations = () if mended is None else (replace_op(path, mended),)
            yield Problem("wrong_type", message, path, task, (), hint, replacement=operations)
        for detail in details:
            if detail["type"] not in _WANTED and not (wanted and detail["type"] == "literal_error"):
                yield self._other(detail, path, where, task)

    def _other(self, detail: Any, path: str, where: Location, task: str | None) -> Problem:
        kind, given, context = detail["type"], detail["input"], detail.get("ctx") or {}
        name = str(where[-1]) if where else ""
        match kind:
            case "extra_forbidden" | "unexpected_keyword_argument":
                return self._unknown_field(name, path, where, task)
            case "missing" | "missing_argument":
                return Problem("missing_field", f"the field {name!r} is required", path, task)
            case "invalid_key":
                return Problem("not_json", f"the name {given!r} has to be text", path, task)
            case "literal_error":
                return _wrong_choice(given, str(context["expected"]), path, task)
            case _ if kind in _LIMITS:
                key, words = _LIMITS[kind]
                message = f"has to be {words} {context[key]:g}, not {shown(given)}"
                return Problem("wrong_value", message, path, task)
        reason = str(context.get("error") or _PATTERNS.get(name, "has the wrong form"))
        must = reason.startswith("has to be")
        message = f"{reason}, not {shown(given)}" if must else f"{shown(given)} {reason}"
        return Problem("wrong_value", message, path, task)

    def _unknown_field(self, name: str, path: str, where: Location, task: str | None) -> Problem:
        names = [step for step in where[:-1] if isinstance(step, str)]
        holder = names[-1] if names else ""
        known = self._fields.get(holder) or self._fields.get("".join(names[-2:-1]), ())
        if (name, holder) not in self._near:
            self._near[name, holder] = nearest(name, known)
        near = self._near[name, holder]
        hint = "" if near else f"known are {', '.join(known)}"
        message = f"there is no field {name!r}"
        moved = self._moved(name, near, where)
        return Problem("unknown_field", message, path, task, near, hint, replacement=moved)

    def _moved(
        self, name: str, near: Sequence[str], where: Location
    ) -> tuple[Mapping[str, Any], ...]:
        """What gives a member its right name, if that is certain and no other member has it."""
        field, holder = certain(name, near), self._data
        for step in where[:-1]:
            holder = holder[step]
        if field is None or any(certain(other, (field,)) for other in holder if other != name):
            return ()
        return (move_op(pointer(*where), pointer(*where[:-1], field)),)


def _wrong_choice(given: Any, allowed: str, path: str, task: str | None) -> Problem:
    values = [value.strip("'") for value in allowed.replace(" or ", ", ").split(", ")]
    near = nearest(given, values) if isinstance(given, str) else ()
    meant = certain(given, near) if isinstance(given, str) else None
    operations = () if meant is None else (replace_op(path, meant),)
    message = f"{shown(given)} is none of {allowed}"
    return Problem("wrong_value", message, path, task, near[:1], replacement=operations)


def _hint(kinds: Iterable[str], given: Any, of_command: bool) -> str:
    kinds = set(kinds)
    if "list_type" in kinds and isinstance(given, str):
        if of_command:  # each word is an argument, as a shell would have it
            return f"write {cut(to_json(given.split()), 80)}"
        return f'write ["{shown(given)[1:-1]}"]'
    if kinds & {"int_type", "float_type"} and isinstance(given, str):
        return "without the quotes" if given.replace(".", "", 1).isdecimal() else ""
    return "in quotes" if kinds == {"string_type"} and isinstance(given, int | float) else ""


def shown(value: Any) -> str:
    """A value as it may stand in a message: never long, and never deep."""
    if isinstance(value, str):
        return repr(cut(value, 60))
    return describe(value).removeprefix("the number ")[:60]


_LISTS = ("depends_on", "locks", "on")  # of names
_NAME = re.compile(r"[^\s,;]+")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(rf"{_WHOLE.pattern}(?:\.[0-9]{{1,14}})?")


def of_type(kinds: frozenset[str], given: Any, where: tuple[str | int, ...]) -> Any:
    """The value that was meant by one of a wrong type; None if that is not certain.

    Args:
        kinds: What pydantic calls the types that are wanted.
        given: The value.
        where: Where it stands.
    """
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
