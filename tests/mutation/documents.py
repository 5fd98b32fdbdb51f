"""Paths, edits and references in a workflow document, by a simple pattern of how one is spelled."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.pointer import steps

Path = tuple[str | int, ...]
Document = dict[str, Any]

_SEGMENT = r"""\.[A-Za-z_]\w*|\[-?\d+\]|\["[^"\\]*"\]|\['[^'\\]*'\]"""
_ONE_SEGMENT = re.compile(_SEGMENT)
_REFERENCE = re.compile(
    r"\$?(?:OUTPUT\[(?P<task>[A-Za-z0-9_.:-]+)\]|INPUT\.(?P<input>[A-Za-z_]\w*))"
    rf"(?P<path>(?:{_SEGMENT})*)"
)
_TEMPLATES = ("arguments", "for_each", "when", "fallback", "locks")


@dataclass(frozen=True)
class Site:
    """A reference to a task or an input in a text at the path `at`."""

    at: Path
    text: str
    match: re.Match[str]

    @property
    def name(self) -> str:
        """The task or input it names."""
        return str(self.match["task"] or self.match["input"])

    @property
    def segments(self) -> list[str]:
        """The steps behind the name, as written."""
        return _ONE_SEGMENT.findall(self.match["path"])

    @property
    def path(self) -> Path:
        """The steps behind the name, as keys and indexes."""
        return tuple(map(_step, self.segments))

    @property
    def is_whole(self) -> bool:
        """Whether the text is this reference and nothing else, without braces."""
        return self.match[0] == self.text and self.text.startswith("$")

    @property
    def is_alone(self) -> bool:
        """Whether the text is this reference and nothing else, with or without braces."""
        return bool(re.fullmatch(rf"\$\{{\s*{re.escape(self.match[0])}\s*\}}", self.text)) or (
            self.match[0] == self.text
        )

    def with_name(self, name: str) -> str:
        """The text with another task or input."""
        return self._with("task" if self.match["task"] else "input", name)

    def with_path(self, path: str) -> str:
        """The text with another path behind the name."""
        return self._with("path", path)

    def _with(self, group: str, new: str) -> str:
        return self.text[: self.match.start(group)] + new + self.text[self.match.end(group) :]


def _step(segment: str) -> str | int:
    inner = segment[1:-1]
    if segment.startswith("."):
        return segment[1:]
    return inner[1:-1] if inner[0] in "\"'" else int(inner)


def sites_in(text: str, at: Path = ()) -> list[Site]:
    """Each reference in a text."""
    if "$" not in text and at[2:3] != ("when",):
        return []
    return [Site(at, text, match) for match in _REFERENCE.finditer(text)]


def texts(document: Document) -> Iterator[tuple[Path, str]]:
    """Each text that can hold references."""
    for path, value in leaves(document):
        in_task = path[0] == "tasks" and path[2] in _TEMPLATES
        if isinstance(value, str) and (in_task or path[0] == "output"):
            yield path, value


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each value that holds no others, with its path."""
    if isinstance(value, dict | list):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, (*at, step))
    else:
        yield at, value


def holders(value: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of the objects in a value, including itself."""
    if isinstance(value, dict):
        yield at
    if isinstance(value, dict | list):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from holders(member, (*at, step))


def waits(document: Document) -> list[Path]:
    """The path of each entry of a `depends_on`."""
    return [path for path, _ in leaves(document["tasks"], ("tasks",)) if path[2] == "depends_on"]


def mentions(document: Document, task: str) -> list[Path]:
    """Where a task is referred to."""
    name = re.compile(rf"\b(?:OUTPUT|STATUS|ERROR)\[{re.escape(task)}\]")
    found = [path for path, text in texts(document) if name.search(text)]
    return found + [path for path in waits(document) if get(document, path) == task]


def get(document: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        document = document[step]
    return document


def exists(document: Any, pointer: str) -> bool:
    """Whether there is a value at a JSON Pointer."""
    for step in steps(pointer):
        if isinstance(document, list):
            document = {str(index): item for index, item in enumerate(document)}
        if not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True


def replaced(document: Document, path: Path, value: Any) -> Document:
    """A copy with another value at a path, or a new property there."""
    made = copy.deepcopy(document)
    get(made, path[:-1])[path[-1]] = value
    return made


def without(document: Document, path: Path) -> Document:
    """A copy without the value at a path."""
    made = copy.deepcopy(document)
    del get(made, path[:-1])[path[-1]]
    return made


def renamed(document: Document, path: Path, name: str) -> Document:
    """A copy in which the property at a path has another name, in its old place."""
    members = get(document, path[:-1]).items()
    return replaced(
        document, path[:-1], {name if key == path[-1] else key: value for key, value in members}
    )
