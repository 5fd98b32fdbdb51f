"""Templates: what a JSON value with references in it is compiled into.

Resolving a template builds a new value; parts without references are shared, never copied.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Reference, Scope, ScopeKey


@dataclass(frozen=True, slots=True)
class Computed:
    """A `${...}` expression as a part of a template."""

    expression: Expression

    @property
    def text(self) -> str:
        """As the author wrote it."""
        return f"${{{self.expression.text}}}"

    @property
    def places(self) -> tuple[ScopeKey, ...]:
        """What it reads."""
        return self.expression.places

    def resolve(self, scope: Scope) -> Any:
        """Its value.

        Raises:
            CallError: A `reference_error`: a function got a value of the wrong type.
        """
        return self.expression.evaluate(scope, null_is_unknown=scope.null_is_unknown)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value without references, shared and never copied."""

    value: Any

    def resolve(self, scope: Scope) -> Any:  # noqa: ARG002
        return self.value


@dataclass(frozen=True, slots=True)
class Text:
    """A string with references in it, each of which is replaced by text."""

    parts: tuple[str | Reference | Computed, ...]

    def resolve(self, scope: Scope) -> str:
        return "".join(
            part if isinstance(part, str) else to_text(part.resolve(scope)) for part in self.parts
        )


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
        """A new object.

        Raises:
            CallError: A `reference_error`, also if two property names become the same.
        """
        resolved: dict[str, Any] = {}
        for name, member in self.members:
            key = name.resolve(scope)
            if key in resolved:
                raise CallError("reference_error", f"duplicate property {quoted(key)}")
            resolved[key] = member.resolve(scope)
        return resolved


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from: a reference or an expression, and the path in its value."""

    text: str
    below: Path


Template = Literal | Reference | Computed | Text | ListTemplate | ObjectTemplate
EMPTY = Literal({})


def made_by(template: Template, path: Path) -> Source | None:
    """Which reference gave the value at a path; None if none did, or one inside a longer string."""
    here = template
    for depth, step in enumerate(path):
        match here:
            case ObjectTemplate(members):
                named = {
                    name.value: member for name, member in members if isinstance(name, Literal)
                }
                here = named.get(step, EMPTY)
            case ListTemplate(items) if isinstance(step, int):
                here = items[step]
            case _:
                return _source(here, path[depth:])
    return _source(here, ())


def _source(template: Template, below: Path) -> Source | None:
    match template:
        case Reference(text=text) | Computed(text=text):
            return Source(text, below)
    return None


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
    """A value inside a longer string: a string as it is, anything else as compact JSON.

    Raises:
        CallError: A `reference_error`: nested too deep, or with NaN or Infinity in it.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        message = "a value is not JSON: nested too deep, or with NaN or Infinity in it"
        raise CallError("reference_error", message) from None
