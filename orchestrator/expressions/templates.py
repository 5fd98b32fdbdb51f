"""Templates: what a JSON value with references in it is compiled into.

`resolve` builds a new value, or raises a CallError of kind `reference_error`. Parts without
references are shared, never copied.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.expressions.interpreter import MAX_TEXT
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Reference, Scope


@dataclass(frozen=True, slots=True)
class Literal:
    """A value without references."""

    value: Any

    def resolve(self, scope: Scope) -> Any:  # noqa: ARG002
        return self.value


@dataclass(frozen=True, slots=True)
class Text:
    """A string with references in it, each of which is replaced by text."""

    parts: tuple[str | Reference | Expression, ...]

    def resolve(self, scope: Scope) -> str:
        pieces: list[str] = []
        length = 0
        for part in self.parts:
            pieces.append(part if isinstance(part, str) else to_text(part.resolve(scope)))
            length += len(pieces[-1])
            if length > MAX_TEXT:  # one output can be named many times
                message = f"a string would have more than {MAX_TEXT:,} characters"
                raise CallError("reference_error", message)
        return "".join(pieces)


@dataclass(frozen=True, slots=True)
class ListTemplate:
    """An array with references in it, at any depth."""

    items: tuple[Template, ...]

    def resolve(self, scope: Scope) -> list[Any]:
        return [item.resolve(scope) for item in self.items]


@dataclass(frozen=True, slots=True)
class ObjectTemplate:
    """An object with references in its values or property names, at any depth."""

    members: tuple[tuple[Literal | Text, Template], ...]

    def resolve(self, scope: Scope) -> dict[str, Any]:
        resolved: dict[str, Any] = {}
        for name, member in self.members:
            key = name.resolve(scope)
            if key in resolved:
                raise CallError("reference_error", f"duplicate property {quoted(key)}")
            resolved[key] = member.resolve(scope)
        return resolved


Template = Literal | Reference | Expression | Text | ListTemplate | ObjectTemplate
EMPTY = Literal({})


def made_by(template: Template, path: Path) -> str:
    """The reference that gave the value at a path, and the place in it; empty if none did alone."""
    here, depth = template, 0
    while depth < len(path) and isinstance(here, ListTemplate | ObjectTemplate):
        step = path[depth]
        if isinstance(here, ObjectTemplate):
            named = {name.value: item for name, item in here.members if isinstance(name, Literal)}
            here = named.get(step, EMPTY)
        else:
            here = here.items[step] if isinstance(step, int) else EMPTY
        depth += 1
    if not isinstance(here, Reference | Expression):
        return ""
    below = format_path(path[depth:])
    return f"{below} of {here.text}" if below else here.text


def written(template: Template) -> str:
    """A template as its author wrote it; `...` for an array or object with references in it."""
    match template:
        case Literal(value):
            return to_text(value)
        case Text(parts):
            return "".join(part if isinstance(part, str) else part.text for part in parts)
        case ListTemplate() | ObjectTemplate():
            return "..."
        case found:
            return found.text


def to_text(value: Any) -> str:
    """A value inside a longer string: a string as it is, anything else as compact JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        message = "a value is not JSON: nested too deep, or with NaN or Infinity in it"
        raise CallError("reference_error", message) from None
