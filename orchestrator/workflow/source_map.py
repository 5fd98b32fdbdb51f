"""Finds the line and column of a problem in its workflow file.

The file is read again, and only if there are problems. A path that is not in the file is placed at
the nearest value around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from orchestrator.documents.files import text_of
from orchestrator.documents.parse import is_yaml
from orchestrator.documents.pointer import steps
from orchestrator.documents.positions import (
    LineIndex,
    Node,
    Span,
    json_tree,
    lookup,
    token_at,
    within,
    yaml_tree,
)
from orchestrator.errors import Problem
from orchestrator.workflow.normalize import TASK_LISTS, with_written_names

# These are about the name of a property, not its value.
_OF_NAMES = frozenset(
    {"unknown_field", "doubled_field", "missing_input", "unused_input", "unexpected_argument"}
)


Tree = Callable[[str], Node | None]  # raises a ValueError for a malformed text


@dataclass(frozen=True, slots=True)
class LineSpan:
    """A piece of one line: line and column from 1, and its length in characters, at least 1."""

    line: int
    column: int
    length: int


class Source:
    """The text of a file, whose tree `tree` makes."""

    def __init__(self, text: str, tree: Tree = json_tree) -> None:
        self._text = text
        self._lines = LineIndex(text)
        self._root: Node | None = None
        with suppress(ValueError, RecursionError):  # malformed: it has no places
            self._root = tree(text)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The text of a file; None if it cannot be read."""
        try:
            return cls(text_of(path), cls._tree_of(path))
        except (OSError, ValueError):
            return None

    @staticmethod
    def _tree_of(path: Path) -> Tree:
        return yaml_tree if is_yaml(path) else json_tree

    def shown(self, span: LineSpan) -> tuple[str, LineSpan]:
        """The line of a span as it may be shown, with the span in it."""
        return self.line(span.line), span

    def line(self, number: int) -> str:
        """A line, from 1, without its end; empty if the text has fewer."""
        return self._lines.line(number)

    def place(self, problem: Problem) -> LineSpan | None:
        """Where a problem is, if that is known."""
        if problem.path and self._root is not None:
            return self._placed(self._span(self._root, problem))
        if problem.line is None or problem.column is None:
            return None
        offset = self._lines.offset(problem.line, problem.column)
        return self._placed(token_at(self._text, offset))

    def located(self, problem: Problem) -> Problem:
        """A problem with its line and column, and its paths with the names used in the file."""
        if problem.line is not None or not problem.path:
            return problem
        problem = with_written_names(problem, self._names)
        place = self.place(problem)
        return problem if place is None else replace(problem, line=place.line, column=place.column)

    def _names(self, where: Sequence[str]) -> Iterable[str]:
        if self._root is None:
            return ()
        node, found = lookup(self._root, where)
        return node.children if found else ()

    def _span(self, root: Node, problem: Problem) -> Span:
        where = steps(problem.path)
        node, found = lookup(root, where)
        if not found:
            start, end = node.span  # of a container around it only the opening is shown
            return Span(start, start + 1 if self._text[start : start + 1] in ("{", "[") else end)
        if len(where) == 2 and where[0] in TASK_LISTS and "id" in node.children:
            return node.children["id"].span  # a whole task is shown by its id
        if problem.code in _OF_NAMES and node.name is not None:
            return node.name
        for string in (node.span, node.name) if problem.text else ():
            if string is not None and (piece := within(self._text, string, problem.text)):
                return piece
        return node.span

    def _placed(self, span: Span) -> LineSpan:
        line, column = self._lines.place(span.start)
        end = min(span.end, self._lines.end(span.start))
        shown = self._text[span.start : end].rstrip()
        return LineSpan(line, column, max(1, len(shown)))


def located(problems: Iterable[Problem], path: Path, kind: type[Source] = Source) -> list[Problem]:
    """The problems in the order of the file, with line and column; those of all of it come last.

    Their paths may have canonical names or those used in the file.
    """
    found = list(problems)
    source = kind.read(path) if found else None
    if source is None:  # the file cannot be read any more
        return found
    placed = map(source.located, found)
    return sorted(placed, key=lambda each: (each.line or math.inf, each.column or math.inf))
