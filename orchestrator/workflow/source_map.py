"""The line and the column of each finding in the file that it was made in.

The rule of this file: it reads the file once more, and only when something was found. A place that
is not there any more, or never was, is that of the nearest thing around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from orchestrator.documents.parse import is_yaml
from orchestrator.documents.pointer import steps
from orchestrator.documents.positions import (
    Lines,
    Node,
    Span,
    json_tree,
    lookup,
    token_at,
    within,
    yaml_tree,
)
from orchestrator.errors import Problem
from orchestrator.workflow.normalize import with_written_names

# What is meant is the name of a member, and not its value.
_OF_NAMES = frozenset(
    {"unknown_field", "doubled_field", "missing_input", "unused_input", "unexpected_argument"}
)


@dataclass(frozen=True, slots=True)
class LineSpan:
    """What is to be underlined: a piece of one line.

    Attributes:
        line: The line, from 1.
        column: Its first character, from 1.
        length: How many characters it has, 1 at least.
    """

    line: int
    column: int
    length: int


class Source:
    """The text of a workflow file.

    Args:
        text: The text.
        yaml: Whether it is YAML.
    """

    def __init__(self, text: str, *, yaml: bool = False) -> None:
        self._text = text
        self._lines = Lines(text)
        self._root = _root(text, yaml=yaml)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The text of a file; None if it cannot be read."""
        try:
            return cls(path.read_text(encoding="utf-8-sig"), yaml=is_yaml(path))
        except (OSError, ValueError):
            return None

    def line(self, number: int) -> str:
        """A line, from 1, without its end; empty if there is none of that number."""
        return self._lines.line(number)

    def place(self, problem: Problem) -> LineSpan | None:
        """Where a problem is; None if it is in no place of the file."""
        if problem.path and self._root is not None:
            return self._placed(self._span(self._root, problem))
        if problem.line is None or problem.column is None:
            return None
        offset = self._lines.offset(problem.line, problem.column)
        return self._placed(token_at(self._text, offset))

    def located(self, problem: Problem) -> Problem:
        """A problem with its line and column, at the names that the file has."""
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
            return self._opening(node)
        if len(where) == 2 and where[0] == "tasks" and "id" in node.children:
            return node.children["id"].span  # a task as a whole is shown by its name
        if problem.code in _OF_NAMES and node.name is not None:
            return node.name
        for string in (node.span, node.name) if problem.text else ():
            if string is not None and (piece := within(self._text, string, problem.text)):
                return piece
        return node.span

    def _opening(self, node: Node) -> Span:
        start, end = node.span
        return Span(start, start + 1 if self._text[start : start + 1] in ("{", "[") else end)

    def _placed(self, span: Span) -> LineSpan:
        line, column = self._lines.place(span.start)
        end = min(span.end, self._lines.end(span.start))
        shown = self._text[span.start : end].rstrip()
        return LineSpan(line, column, max(1, len(shown)))


def _root(text: str, *, yaml: bool) -> Node | None:
    """The document in a text; None if there is none, or it is malformed."""
    try:
        return yaml_tree(text) if yaml else json_tree(text)
    except (ValueError, RecursionError):
        return None


def located(problems: Iterable[Problem], path: Path) -> list[Problem]:
    """The problems in the order of the file, each with its line and column where they are known.

    What is wrong with the file as a whole comes last.

    Args:
        problems: What was found, in the file as it is written or in its canonical form.
        path: The file. If it cannot be read any more, the problems are given back as they are.
    """
    found = list(problems)
    source = Source.read(path) if found else None
    if source is None:
        return found
    return sorted(map(source.located, found), key=_order)


def _order(problem: Problem) -> tuple[float, float]:
    if problem.line is None or problem.column is None:
        return math.inf, math.inf
    return problem.line, problem.column
