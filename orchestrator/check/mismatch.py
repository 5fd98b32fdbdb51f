"""One thing that is found in a value of which the shape is known, and what several of them come to.

The rule of this file: facts at a path in a value; where that is in a file, `problems` knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import nearest
from orchestrator.errors import Code, Severity
from orchestrator.schema.coercion import Types, json_type
from orchestrator.schema.types import type_names
from orchestrator.schema.violations import Violation

MAX_CHOICES = 5


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place where a value does not fit, may not fit, or nobody knows.

    Attributes:
        path: Where in the value.
        code: Its code, and `severity` how bad it is.
        message: What is wrong, without the place.
        text: The reference it comes from, as it is written; empty if it is a literal.
        piece: The part of the text that is meant; empty if it is all of it.
        alternatives: The nearest valid names.
        value: What would certainly do instead, of the piece, the text or else the value, as a JSON
            text; empty if that is not certain.
    """

    path: Path
    code: Code
    severity: Severity
    message: str
    text: str = ""
    alternatives: tuple[str, ...] = ()
    value: str = ""
    piece: str = ""


def lacking(name: str, certain: bool, path: Path) -> Mismatch:
    """A member that an object has to have, and does not; or may not."""
    if certain:
        return Mismatch(path, "missing_argument", "error", f"lacks {name!r}")
    return Mismatch(path, "may_not_fit", "warning", f"may lack {name!r}, which is required")


def of_violation(misfit: Violation, path: Path) -> Mismatch:
    """What the `jsonschema` library says of a value that is known, in the words of a run."""
    place = (*path, *misfit.path)
    if misfit.is_property:
        name = str(misfit.path[-1])
        if misfit.keyword == "required":
            return lacking(name, True, place[:-1])
        return Mismatch(place, "unexpected_argument", "error", f"has {name!r} too much")
    near: tuple[str, ...] = ()
    certain = ""
    if misfit.keyword == "enum":
        names = [choice for choice in misfit.expected if isinstance(choice, str)]
        near = nearest(str(misfit.value), names)
        alike = [name for name in names if name.casefold() == str(misfit.value).casefold()]
        certain = json.dumps(alike[0]) if len(alike) == 1 else ""
    return Mismatch(place, "wrong_argument", "error", misfit.message, "", near, certain)


def kind_of_text(text: Any) -> str:
    """The JSON type of what is written in a text, of which a number may have become it."""
    try:
        return json_type(json.loads(text)) if isinstance(text, str) else ""
    except ValueError:
        return "string"


def wrong_type(
    path: Path, described: str, accepted: Types, value: Any = None, choices: list[Any] | None = None
) -> Mismatch:
    """A value whose type does not fit, with the value that was surely meant instead."""
    one_of = f"one of {', '.join(map(repr, choices[:MAX_CHOICES]))}" if choices else ""
    message = f"is {described}, and {one_of or type_names(accepted)} is wanted"
    certain = ""
    if isinstance(value, str) and "string" not in accepted:
        certain = _as_json(value, accepted)
    return Mismatch(path, "wrong_argument", "error", message, "", (), certain)


def _as_json(text: str, accepted: Types) -> str:
    """A text that is exactly the JSON of what is wanted, as that."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    fits = {bool: "boolean", int: "integer", float: "number"}.get(type(value))
    return text if fits in accepted and text == json.dumps(value) else ""


def milder(finding: Mismatch) -> Mismatch:
    """What is wrong with some of the values that there may be, and not with all."""
    if finding.severity != "error":
        return finding
    message = finding.message
    for certainly, perhaps in (("is ", "may be "), ("lacks ", "may lack ")):
        if message.startswith(certainly):
            message = perhaps + message.removeprefix(certainly)
    return replace(finding, severity="warning", code="may_not_fit", message=message)


def at_reference(finding: Mismatch, path: Path, text: str) -> Mismatch:
    """What is wrong inside of what a reference gives: the file has nothing but the reference."""
    below = format_path(finding.path[len(path) :])
    message = f"{finding.message} (at its {below})" if below else finding.message
    return replace(finding, path=path, text=finding.text or text, message=message)


def badness(found: list[Mismatch]) -> tuple[int, int]:
    """How far a value is from one way to fit."""
    errors = [finding for finding in found if finding.severity == "error"]
    return len(errors), len(found)


def merged(ways: list[list[Mismatch]], each: bool) -> Iterator[Mismatch]:
    """What is wrong with a value that is one of several; `each`: that is all of them in turn."""
    seen: set[tuple[Path, str]] = set()
    failing = [any(finding.severity == "error" for finding in way) for way in ways]
    for finding in (finding for way in ways for finding in way):
        if (finding.path, finding.message) not in seen and finding.message:
            seen.add((finding.path, finding.message))
            yield finding if each or all(failing) else milder(finding)
