"""A path where a value does not, or may not, fit its schema, and how several of them combine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.errors import Code, Severity
from orchestrator.schema.coercion import Types, converted
from orchestrator.schema.types import MAX_NAMES, Found
from orchestrator.schema.violations import Violation


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A path where a value does not fit a schema, may not fit, or cannot be checked."""

    path: Path  # in the value as the file has it
    code: Code
    severity: Severity
    message: str  # without the path
    text: str = ""  # the reference or expression that gives the value; empty for a literal
    alternatives: tuple[str, ...] = ()
    fix: str = ""  # JSON text that certainly belongs in place of the piece, the text or the value
    piece: str = ""  # the name in `text` that is wrong; empty for all of it
    below: Path = ()  # the path below `path`, in what a reference gives
    possibly: str = ""  # the message where only some of the possible values are wrong
    hint: str = ""  # how to fix it, where that does not follow from the code

    def possible(self) -> Mismatch:
        """The mismatch where only some of the possible values have it."""
        if self.severity != "error":
            return self
        message = self.possibly or self.message
        return replace(self, severity="warning", code="may_not_fit", message=message)

    def in_items(self, path: Path) -> Mismatch:
        """The mismatch of an item, as one of the array at a path."""
        mild = self.possible()  # an empty array would fit
        items = f"items{format_path(self.path[len(path) :])}"
        return replace(mild, path=path, message=f"{items}: {mild.message}")

    def at_reference(self, path: Path, text: str) -> Mismatch:
        """The mismatch in what a reference gives: the file has only the reference, at a path."""
        below = (*self.path[len(path) :], *self.below)
        # A fix is the JSON of a literal: it belongs in place of no expression that gives one.
        return replace(self, path=path, below=below, text=self.text or text, fix="")


Mismatches = Iterator[Mismatch]


def wrong_type(
    path: Path, expected: str, given: str, fix: str = "", verb: str = "expected"
) -> Mismatch:
    """A value of another type than its schema expects; both are descriptions."""
    message = f"{verb} {expected}, got {given}"
    possibly = f"{verb} {expected}, may be {given}"
    return Mismatch(path, "wrong_argument", "error", message, fix=fix, possibly=possibly)


def missing_property(path: Path, name: str) -> Mismatch:
    """An object at a path, or the arguments, without something that the schema requires."""
    what = f"{'property' if path else 'argument'} {quoted(name)}"
    possibly = f"{what} is required and may be missing"
    return Mismatch(path, "missing_argument", "error", f"missing {what}", possibly=possibly)


def unexpected_property(path: Path, name: str, known: tuple[str, ...] = ()) -> Mismatch:
    """An object, or the arguments, with something that the schema forbids."""
    message = f"unexpected {'property' if path else 'argument'} {quoted(name)}"
    near = nearest(name, known)
    return Mismatch((*path, name), "unexpected_argument", "error", message, alternatives=near)


def from_violation(violation: Violation, path: Path) -> Mismatch:
    """A violation that the validator found in a literal at a path."""
    place = (*path, *violation.path)
    if violation.is_property:
        make = missing_property if violation.keyword == "required" else unexpected_property
        return make(place[:-1], str(place[-1]))
    given, names = str(violation.value), []
    if violation.keyword == "enum":
        names = [choice for choice in violation.expected if isinstance(choice, str)]
    same = [json.dumps(name) for name in names if name.casefold() == given.casefold()]
    fix, near = same[0] if len(same) == 1 else "", nearest(given, names)
    return Mismatch(place, "wrong_argument", "error", violation.message, "", near, fix)


def as_json(value: Any, accepted: Types) -> str:
    """The value, if it is a string that is exactly the JSON of an accepted number or boolean."""
    meant = converted(value, accepted) if isinstance(value, str) else None
    # Another spelling, such as "1e3", may have been meant as a string.
    return value if isinstance(meant, int | float) and value == json.dumps(meant) else ""


def no_such_place(holder: str, step: str | int, found: Found) -> str:
    """The message for a step that leads nowhere: `$OUTPUT[a] has no property "x" (it has: y)`."""
    missing = f"index {step}" if isinstance(step, int) else f"property {quoted(step)}"
    there = f"it is {found.holder}"
    if isinstance(step, str) and found.names:
        there = f"it has: {listed(found.names, MAX_NAMES)}"
    return f"{holder} has no {missing} ({there})"


def combined(options: list[list[Mismatch]], each: bool) -> Mismatches:
    """The mismatches of a value that is one of several options, or with `each` all in turn."""
    every_option_fails = all(any(m.severity == "error" for m in found) for found in options)
    seen: set[tuple[Path, Path, str]] = set()
    for mismatch in (mismatch for found in options for mismatch in found):
        key = mismatch.path, mismatch.below, mismatch.message
        # Without a message it only counts as a failure of its option.
        if key not in seen and mismatch.message:
            seen.add(key)
            yield mismatch if each or every_option_fails else mismatch.possible()
