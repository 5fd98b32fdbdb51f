"""A place where a value does not, or may not, fit its schema, and how several of them combine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.errors import Code, Severity
from orchestrator.schema.coercion import Types
from orchestrator.schema.types import MAX_NAMES, Found
from orchestrator.schema.violations import Violation


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place where a value does not fit a schema, may not fit, or cannot be checked.

    Attributes:
        path: The place in the value as the file has it.
        code: The code of the finding, and `severity` its severity.
        message: What is wrong, without the place.
        text: The reference or expression that gives the value, as written; empty for a literal.
        alternatives: The nearest valid names, best first.
        fix: JSON text that certainly belongs in place of the piece, the text or else the value;
            empty if that is not certain.
        piece: The name in `text` that is wrong; empty for all of it.
        below: The place below `path`, in what a reference gives.
        possibly: The message where only some of the possible values are wrong; empty: the same.
    """

    path: Path
    code: Code
    severity: Severity
    message: str
    text: str = ""
    alternatives: tuple[str, ...] = ()
    fix: str = ""
    piece: str = ""
    below: Path = ()
    possibly: str = ""


def wrong_type(path: Path, expected: str, given: str, fix: str = "") -> Mismatch:
    """A value of another type than its schema expects; both are descriptions."""
    message = f"expected {expected}, got {given}"
    possibly = f"expected {expected}, may be {given}"
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
    near: tuple[str, ...] = ()
    fix = ""
    if violation.keyword == "enum":
        given = str(violation.value)
        names = [choice for choice in violation.expected if isinstance(choice, str)]
        near = nearest(given, names)
        same = [name for name in names if name.casefold() == given.casefold()]
        fix = json.dumps(same[0]) if len(same) == 1 else ""
    return Mismatch(place, "wrong_argument", "error", violation.message, alternatives=near, fix=fix)


def as_json(value: Any, accepted: Types) -> str:
    """The value, if it is a string that is exactly the JSON of what is accepted; else nothing."""
    if not isinstance(value, str) or "string" in accepted:
        return ""
    try:
        meant = json.loads(value)
    except ValueError:
        return ""
    type_ = {bool: "boolean", int: "integer", float: "number"}.get(type(meant))
    # "1e3" or " 1" may have been meant as text.
    return value if type_ in accepted and value == json.dumps(meant) else ""


def no_such_place(holder: str, step: str | int, found: Found) -> str:
    """The message for a step that leads nowhere: `$OUTPUT[a] has no property "x" (it has: y)`."""
    missing = f"index {step}" if isinstance(step, int) else f"property {quoted(step)}"
    has_names = isinstance(step, str) and found.names
    there = f"it has: {listed(found.names, MAX_NAMES)}" if has_names else f"it is {found.holder}"
    return f"{holder} has no {missing} ({there})"


def possible(mismatch: Mismatch) -> Mismatch:
    """The mismatch where only some of the possible values have it."""
    if mismatch.severity != "error":
        return mismatch
    message = mismatch.possibly or mismatch.message
    return replace(mismatch, severity="warning", code="may_not_fit", message=message)


def in_items(mismatch: Mismatch, path: Path) -> Mismatch:
    """A mismatch of the items of the array at a path, which would fit if it were empty."""
    place = format_path(mismatch.path[len(path) :])
    mild = possible(mismatch)
    return replace(mild, path=path, message=f"items{place}: {mild.message}")


def at_reference(mismatch: Mismatch, path: Path, text: str) -> Mismatch:
    """A mismatch in what a reference gives: the file has only the reference, at a path."""
    below = (*mismatch.path[len(path) :], *mismatch.below)
    return replace(mismatch, path=path, below=below, text=mismatch.text or text)


def distance(found: list[Mismatch]) -> tuple[int, int]:
    """How far a value is from fitting, to compare the branches of a schema."""
    return sum(mismatch.severity == "error" for mismatch in found), len(found)


def combined(options: list[list[Mismatch]], each: bool) -> Iterator[Mismatch]:
    """The mismatches of a value that is one of several options.

    Args:
        options: The mismatches of each option.
        each: Whether the value is every option in turn, so that each one has to fit.
    """
    seen: set[tuple[Path, Path, str]] = set()
    all_fail = all(distance(found)[0] for found in options)
    for mismatch in (mismatch for found in options for mismatch in found):
        key = mismatch.path, mismatch.below, mismatch.message
        # Without a message it only counts as a failure of its option.
        if key not in seen and mismatch.message:
            seen.add(key)
            yield mismatch if each or all_fail else possible(mismatch)
