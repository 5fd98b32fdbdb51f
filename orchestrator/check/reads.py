"""What a template reads, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.lexer import marked_root
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import (
    ListTemplate,
    ObjectTemplate,
    Template,
    Text,
    written,
)

Read = Reference | Expression


def reads(template: Template, path: Path = ()) -> Iterator[tuple[Path, Read]]:
    """Everything that a template reads, and where."""
    match template:
        case Reference() | Expression():
            yield path, template
        case Text(parts):
            yield from ((path, part) for part in parts if not isinstance(part, str))
        case ListTemplate(items):
            for index, item in enumerate(items):
                yield from reads(item, (*path, index))
        case ObjectTemplate(members):
            for name, member in members:
                at = (*path, written(name))
                yield from reads(name, at)
                yield from reads(member, at)


def members_of_item(what: Read) -> Iterator[str | None]:
    """The members of `ITEM` that are read; None for all of it."""
    if isinstance(what, Expression):
        yield from _members_in(what.tree)
    else:
        name = what.path[0] if what.path else None
        yield name if isinstance(name, str) else None


def _members_in(node: Any) -> Iterator[str | None]:
    children = [child for child in node["children"] if isinstance(child, dict)]
    if _is_item(node):
        yield None
    if node["type"] == "subexpression" and _is_item(children[0]) and children[1]["type"] == "field":
        yield children[1]["value"]
        del children[:2]
    for child in children:
        yield from _members_in(child)


def _is_item(node: Any) -> bool:
    is_field = node["type"] == "field"
    return is_field and (marked_root(node["value"]) or node["value"]) == "ITEM"
