"""What a JSON value with references in it is compiled into.

The rule of this file: resolving a template makes a new value and changes nothing; what holds no
reference is shared and never copied.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.jsonpath import Path
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
            CallError: A `reference_error`: a function was given what it does not take.
        """
        return self.expression.evaluate(scope)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that holds no reference, shared and never copied."""

    value: Any

    def resolve(self, scope: Scope) -> Any:  # noqa: ARG002
        """The value itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Text:
    """A string with references in it: each is replaced by text."""

    parts: tuple[str | Reference | Computed, ...]

    def resolve(self, scope: Scope) -> str:
        """The string, with texts as they are and other values as compact JSON."""
        return "".join(
            part if isinstance(part, str) else to_text(part.resolve(scope)) for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class ListTemplate:
    """An array with references somewhere below it."""

    items: tuple[Template, ...]

    def resolve(self, scope: Scope) -> list[Any]:
        """A new array."""
        return [item.resolve(scope) for item in self.items]


@dataclass(frozen=True, slots=True)
class ObjectTemplate:
    """An object with references somewhere below it, in its names too."""

    members: tuple[tuple[Literal | Text, Template], ...]

    def resolve(self, scope: Scope) -> dict[str, Any]:
        """A new object.

        Raises:
            CallError: A `reference_error`, also if two names become the same.
        """
        resolved: dict[str, Any] = {}
        for name, member in self.members:
            key = name.resolve(scope)
            if key in resolved:
                raise CallError("reference_error", f"two members of an object are named {key!r}")
            resolved[key] = member.resolve(scope)
        return resolved


@dataclass(frozen=True, slots=True)
class Source:
    """What gave a value: a reference or an expression, and the place in what it stands for."""

    text: str
    below: Path


Template = Literal | Reference | Computed | Text | ListTemplate | ObjectTemplate
EMPTY = Literal({})


def made_by(template: Template, path: Path) -> Source | None:
    """Which reference gave what stands at a place; None if none did, or one inside of a text."""
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
    """A template as its author wrote it, or as compact JSON without its references."""
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
    """What stands for a value inside of a longer string: text as it is, else compact JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        message = (
            "a value cannot be written as JSON: it is nested too deep, or holds NaN or Infinity"
        )
        raise CallError("reference_error", message) from None
