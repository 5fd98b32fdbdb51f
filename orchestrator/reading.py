"""Which places of outputs an expression reads, and of what type it takes them to be.

The rule of this file: read off the tree of the `jmespath` library, as far as it goes straight from
a task's output through names, indexes and projections; what is computed further is not followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jmespath import functions

from orchestrator.expressions import Expression
from orchestrator.paths import Path
from orchestrator.tokens import marked_root

_TYPES = {"string", "number", "boolean", "array", "object"}
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}
_TURNED = {"gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte", "eq": "eq", "ne": "ne"}
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Read:
    """A place that an expression reads, and what it takes it for.

    Attributes:
        task: The task whose output it is in.
        path: The place; of a projection, in the first item.
        schema: What the function or the comparison around it wants, a JSON Schema.
        projected: Whether the place stands for one of many, and a list of such is read.
    """

    task: str
    path: Path
    schema: Mapping[str, Any]
    projected: bool = False


def reads_of(expression: Expression) -> list[Read]:
    """What an expression reads of outputs, in the order in which it stands there."""
    reader = _Reader()
    reader.visit(expression.tree, None, _NOTHING)
    return reader.found


_Place = tuple[str | None, Path]
"""A task and a place in its output; `(None, ())` stands for all outputs."""


class _Reader:
    def __init__(self) -> None:
        self.found: list[Read] = []

    def visit(self, node: Any, base: _Place | None, schema: Mapping[str, Any]) -> None:
        """Note what a part of an expression reads, `base` being what it is applied to."""
        place = self._place(node, base)
        if place is not None and place[0] is not None:
            projected = _is_projected(node)
            wanted = schema.get("items", _NOTHING) if projected else schema
            self.found.append(Read(place[0], place[1], wanted, projected))
        elif place is None:
            self._below(node, base)

    def _below(self, node: Any, base: _Place | None) -> None:
        """Note what the arguments of something that is no place read."""
        children = [child for child in node["children"] if isinstance(child, dict)]
        match node["type"]:
            case "function_expression":
                for child, wanted in zip(children, _wanted(node["value"]), strict=False):
                    self.visit(child, base, wanted)
            case "comparator":
                left, right = children
                self.visit(left, base, _compared(node["value"], right))
                self.visit(right, base, _compared(_TURNED.get(node["value"], ""), left))
            case "pipe" | "subexpression" | "index_expression" | "expref":
                for child in children[:1]:
                    self.visit(child, base, _NOTHING)
            case _:
                for child in children:
                    self.visit(child, base, _NOTHING)

    def _place(self, node: Any, base: _Place | None) -> _Place | None:
        """The place that a node leads to from `base`, or None if it computes something."""
        children = node["children"]
        match node["type"]:
            case "field":
                return _named(node["value"], base)
            case "index":
                return _down(base, node["value"])
            case "identity" | "current":
                return base
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    if (base := self._place(child, base)) is None:
                        return None
                return base
            case "slice":
                return base
            case "flatten":
                return self._place(children[0], base)
            case "projection" | "filter_projection":
                return self._projected(children, base)
        return None

    def _projected(self, children: list[Any], base: _Place | None) -> _Place | None:
        """What is read of each item; of a filter what its condition reads, too."""
        holder = self._place(children[0], base)
        if holder is None:
            return None
        skipped = _skipped(children[0])
        item = _down(holder, skipped)
        if len(children) > 2:
            self.visit(children[2], item, _NOTHING)
        if (place := self._place(children[1], item)) is None:
            self.visit(children[1], item, _NOTHING)
        return place


def _is_projected(node: Any) -> bool:
    """Whether a place stands for one of many, so that what is wanted is a list of such."""
    if node["type"] in ("projection", "filter_projection"):
        return True
    return node["type"] == "subexpression" and any(map(_is_projected, node["children"]))


def _named(name: str, base: _Place | None) -> _Place | None:
    root = marked_root(name)
    if root is not None or base is None:
        return (None, ()) if (root or name) == "OUTPUT" else None
    task, path = base
    return (name, ()) if task is None else (task, (*path, name))


def _down(base: _Place | None, step: int) -> _Place | None:
    if base is None or base[0] is None:
        return None
    return base[0], (*base[1], step)


def _skipped(node: Any) -> int:
    """The first item that a projection goes through: that of `[2:]` is the third."""
    last = node["children"][-1] if node["children"] else node
    if last["type"] == "slice" and isinstance(last["children"][0], int):
        return max(0, last["children"][0])
    return 0


def _wanted(function: str) -> Iterator[Mapping[str, Any]]:
    """What a function of JMESPath takes, argument by argument; the last one for ever."""
    signature = functions.Functions.FUNCTION_TABLE[function]["signature"]
    schema = _NOTHING
    for argument in signature:
        schema = _schema_of(argument["types"])
        yield schema
    while True:
        yield schema


def _schema_of(types: list[str]) -> Mapping[str, Any]:
    for name in types:
        kind, _, inner = name.partition("-")
        if kind in _TYPES:
            return {"type": kind, "items": {"type": inner}} if inner else {"type": kind}
    return _NOTHING


def _compared(comparator: str, other: Any) -> Mapping[str, Any]:
    """What makes a comparison with a literal true; with anything else what can be ordered."""
    ordered = {"type": "number"} if comparator in _BOUNDS else _NOTHING
    if other["type"] != "literal" or other["value"] is None:
        return ordered
    value = other["value"]
    if comparator == "eq":
        return {"const": value}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {**ordered, _BOUNDS[comparator]: value} if ordered and is_number else ordered
