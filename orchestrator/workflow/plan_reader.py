"""Reads the tasks of a JSON document that is still being written, such as a model's tool call.

ijson 3.6 does not replace it: a broken object ends its stream (here the next one is read), NaN and
line breaks in strings are errors of its own words, which depend on the backend, and 200 KB of
brackets exhaust the memory; the fast backend refuses integers of more than 64 bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from orchestrator.documents.parse import DocumentError, malformed, parse_json
from orchestrator.errors import Problem
from orchestrator.workflow.source_map import Source

_MARKS = re.compile(r'["\\{}\[\]]')
_STRAY = re.compile(r"[^\s,\ufeff]+")
_SHAPES = 'write one task a line, or one document {"tasks": [...]}'
_BEFORE, _TASK, _BEHIND = '{"tasks":[', "/tasks/0", "]}"  # what makes a workflow of a task


class Place(NamedTuple):
    """Where a piece begins in all that was read; both from 1."""

    line: int
    column: int


class Piece(NamedTuple):
    """An object that has been closed.

    Attributes:
        value: What it says; None if it is not valid JSON.
        is_task: Whether it is a task: an object in `tasks`, or one of a line without `tasks`.
        text: As it is written.
        place: Where that begins.
        problem: Why it is not valid JSON, with line and column of all that was read; None if it is.
        is_head: Whether it is the begin of a document, without the tasks that come now.
    """

    value: Any
    is_task: bool
    text: str
    place: Place
    problem: Problem | None = None
    is_head: bool = False

    @property
    def error(self) -> str:
        """Why it is not valid JSON; empty if it is."""
        return "" if self.problem is None else self.problem.message

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """What is wrong with it, as `GrowingRun.add` has it, with line and column."""
        before, at, behind = (_BEFORE, _TASK, _BEHIND) if self.is_task else ("", "", "")
        source = Source(f"{before}{self.text}{behind}")
        found = []
        for problem in problems:
            placed = source.located(replace(problem, path=f"{at}{problem.path}"))
            path = placed.path.removeprefix(at)
            moved = _moved(placed, self.place, len(before)) if placed.line else placed
            found.append(replace(moved, path=path))
        return found


def _moved(problem: Problem, to: Place, left: int = 0) -> Problem:
    """A problem in a piece with its line and column in all that was read."""
    if problem.line is None or problem.column is None:
        return replace(problem, line=to.line, column=to.column)
    column = problem.column + (to.column - 1 - left if problem.line == 1 else 0)
    return replace(problem, line=problem.line + to.line - 1, column=column)


class PlanReader:
    """Gives each task as soon as its object is closed, in time linear in the text.

    The text may be one task after the other, or a workflow document: then what it has before its
    tasks comes first, and the whole document last.
    """

    def __init__(self) -> None:
        self._line, self._line_start = 1, 0  # of what was looked at
        self._stray_line = 0  # the last line of which something between objects was told
        self._read_before, self._looked = 0, 0  # all that was fed, and what was looked at of it
        self._text, self._of_whole, self._of_task = "", Place(1, 1), Place(1, 1)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._depth, self._is_text, self._is_escaped = 0, False, False
        self._whole: list[str] = []  # of the outermost object
        self._task: list[str] | None = None
        self._name: list[str] | None = None  # of a member of the outermost object
        self._last_name, self._has_tasks, self._in_tasks = "", False, False

    @property
    def is_open(self) -> bool:
        """Whether an object has begun that is not closed."""
        return self._depth > 0

    def feed(self, text: str) -> list[Piece]:
        """Read more of the text; what has been closed in it, in order."""
        found: list[Piece] = []
        at, self._text = 0, text
        for mark in _MARKS.finditer(text):
            start = mark.start()
            if start > at:
                self._is_escaped = False
            self._between(at, start, found)
            at = mark.end()
            self._read(mark[0], start, found)
        if at < len(text):
            self._between(at, len(text), found)
            self._is_escaped = False
        self._place(len(text))
        self._read_before += len(text)
        return found

    def _between(self, at: int, end: int, found: list[Piece]) -> None:
        """Keep what is between two marks; outside of objects there is nothing but commas."""
        if self._depth:
            self._keep(self._text[at:end])
        else:
            for stray in _STRAY.finditer(self._text, at, end):
                self._stray(stray.start(), found)

    def _stray(self, at: int, found: list[Piece]) -> None:
        """Tell what is no object, once for each line."""
        place = self._place(at)
        if place.line != self._stray_line:
            self._stray_line = place.line
            found.append(_not_an_object(place))

    def _place(self, at: int) -> Place:
        """The line and column of a place in the text that is being read; it is behind the last."""
        looked = self._looked - self._read_before
        self._line += self._text.count("\n", looked, at)
        if (end := self._text.rfind("\n", looked, at)) >= 0:
            self._line_start = self._read_before + end + 1
        self._looked = self._read_before + at
        return Place(self._line, self._looked - self._line_start + 1)

    def _keep(self, text: str) -> None:
        if self._depth and text:
            for parts in (self._whole, self._task, self._name):
                if parts is not None:
                    parts.append(text)

    def _read(self, mark: str, at: int, found: list[Piece]) -> None:
        if self._is_text:
            self._keep(mark)
            is_end = mark == '"' and not self._is_escaped
            self._is_escaped = mark == "\\" and not self._is_escaped
            if is_end:
                self._is_text = False
                self._end_name()
        elif mark == '"' and self._depth:
            self._is_text = True
            self._name = [] if self._depth == 1 else None
            self._keep(mark)
        elif mark in "{[":
            self._begin(mark, at, found)
        elif mark in "}]" and self._depth:
            self._end(mark, found)
        elif not self._depth:
            self._stray(at, found)

    def _end_name(self) -> None:
        if self._name is not None:
            name, self._name = "".join(self._name), None
            try:
                self._last_name = json.loads(name, strict=False)
            except ValueError:
                self._last_name = name

    def _begin(self, mark: str, at: int, found: list[Piece]) -> None:
        self._depth += 1
        if self._depth == 1:
            self._of_whole = self._place(at)
        if self._depth == 2 and mark == "[" and self._last_name == "tasks":
            self._in_tasks = self._has_tasks = True
            text = f"{''.join(self._whole)}null}}"
            head = _piece(text, self._of_whole, is_task=False)
            if head.problem is None:  # else the whole document has the same
                del head.value["tasks"]
                found.append(head._replace(is_head=True))
        elif self._depth == 3 and mark == "{" and self._in_tasks:
            self._task, self._of_task = [], self._place(at)
        self._keep(mark)

    def _end(self, mark: str, found: list[Piece]) -> None:
        self._keep(mark)
        self._depth -= 1
        if self._depth == 2 and self._task is not None:
            found.append(_piece("".join(self._task), self._of_task, is_task=True))
            self._task = None
        elif self._depth == 1:
            self._in_tasks = False
        elif self._depth == 0:
            text = "".join(self._whole)
            found.append(_piece(text, self._of_whole, is_task=not self._has_tasks))
            self._begin_anew()


def _not_an_object(place: Place, text: str = "") -> Piece:
    message = "expected a JSON object, such as a task, got something else"
    problem = Problem("malformed_document", message, hint=_SHAPES)
    return Piece(None, True, text, place, _moved(problem, place))


def _piece(text: str, place: Place, *, is_task: bool) -> Piece:
    try:
        value = parse_json(text)
        if not isinstance(value, dict):
            return _not_an_object(place, text)
        return Piece(value, is_task, text, place)
    except DocumentError as error:
        return Piece(None, is_task, text, place, _moved(malformed(error), place))
