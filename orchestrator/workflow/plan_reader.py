"""Reads the tasks of a JSON document that is still being written, such as a model's tool call.

ijson 3.6 does not replace it: a broken object ends its stream (here the next one is read), NaN and
line breaks in strings are errors of its own words, which depend on the backend, and 200 KB of
brackets exhaust the memory; the fast backend refuses integers of more than 64 bits.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_MARKS = re.compile(r'["\\{}\[\]]')


class Piece(NamedTuple):
    """An object that has been closed.

    Attributes:
        value: What it says; None if it is not valid JSON.
        is_task: Whether it is a task: an object in `tasks`, or one of a line without `tasks`.
        is_head: Whether it is the begin of a document, without the tasks that come now.
        error: Why it is not valid JSON; empty if it is.
    """

    value: Any
    is_task: bool
    error: str = ""
    is_head: bool = False


class PlanReader:
    """Gives each task as soon as its object is closed, in time linear in the text.

    The text may be one task after the other, or a workflow document: then what it has before its
    tasks comes first, and the whole document last.
    """

    def __init__(self) -> None:
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
        at = 0
        for mark in _MARKS.finditer(text):
            start = mark.start()
            if start > at:
                self._is_escaped = False
            self._keep(text[at:start])
            at = mark.end()
            self._read(mark[0], found)
        if at < len(text):
            self._keep(text[at:])
            self._is_escaped = False
        return found

    def _keep(self, text: str) -> None:
        if self._depth and text:
            for parts in (self._whole, self._task, self._name):
                if parts is not None:
                    parts.append(text)

    def _read(self, mark: str, found: list[Piece]) -> None:
        if self._is_text:
            self._keep(mark)
            is_end = mark == '"' and not self._is_escaped
            self._is_escaped = mark == "\\" and not self._is_escaped
            if is_end:
                self._is_text = False
                self._end_name()
        elif mark == '"':
            self._is_text = self._depth > 0
            self._name = [] if self._depth == 1 else None
            self._keep(mark)
        elif mark in "{[":
            self._begin(mark, found)
        elif mark in "}]" and self._depth:
            self._end(mark, found)

    def _end_name(self) -> None:
        if self._name is not None:
            name, self._name = "".join(self._name), None
            try:
                self._last_name = json.loads(name, strict=False)
            except ValueError:
                self._last_name = name

    def _begin(self, mark: str, found: list[Piece]) -> None:
        self._depth += 1
        if self._depth == 2 and mark == "[" and self._last_name == "tasks":
            self._in_tasks = self._has_tasks = True
            head = _piece(f"{''.join(self._whole)}null}}", is_task=False)
            if not head.error:  # else the whole document has the same error
                del head.value["tasks"]
                found.append(head._replace(is_head=True))
        elif self._depth == 3 and mark == "{" and self._in_tasks:
            self._task = []
        self._keep(mark)

    def _end(self, mark: str, found: list[Piece]) -> None:
        self._keep(mark)
        self._depth -= 1
        if self._depth == 2 and self._task is not None:
            found.append(_piece("".join(self._task), is_task=True))
            self._task = None
        elif self._depth == 1:
            self._in_tasks = False
        elif self._depth == 0:
            found.append(_piece("".join(self._whole), is_task=not self._has_tasks))
            self._begin_anew()


def _piece(text: str, *, is_task: bool) -> Piece:
    try:
        return Piece(json.loads(text), is_task)
    except (ValueError, RecursionError) as error:
        return Piece(None, is_task, str(error))
