"""Where a workflow says something: its texts with references, its literals, its objects.

The rule of this file: it reads the document as data, with an own and simple idea of how a reference
is spelled, and knows nothing of what the package makes of it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
Document = dict[str, Any]

_SEGMENT = r"""\.[A-Za-z_]\w*|\[-?\d+\]|\["[^"\\]*"\]|\['[^'\\]*'\]"""
_REFERENCE = re.compile(
    rf"(?P<start>\$?OUTPUT\[(?P<id>[A-Za-z0-9_.:-]+)\])(?P<path>(?:{_SEGMENT})*)"
)
_INPUT = re.compile(rf"(?P<start>\$?INPUT\.(?P<id>[A-Za-z_]\w*))(?P<path>(?:{_SEGMENT})*)")
_ONE_SEGMENT = re.compile(_SEGMENT)
_TEMPLATES = ("arguments", "for_each", "when", "fallback", "locks")


@dataclass(frozen=True)
class Site:
    """One reference in a text of a workflow.

    Attributes:
        at: Where the text is in the document.
        text: The text.
        start: Where the reference begins in it, and `end` where it ends.
        root: `OUTPUT` or `INPUT`.
        id: The task or input it names, written from `id_start` on.
        id_start: See `id`.
        path: What follows, as steps.
        path_start: Where that begins in the text.
    """

    at: Path
    text: str
    start: int
    end: int
    root: str
    id: str
    id_start: int
    path: Path
    path_start: int

    @property
    def written(self) -> str:
        """The reference alone."""
        return self.text[self.start : self.end]

    @property
    def is_whole(self) -> bool:
        """Whether the text is this reference and nothing else."""
        return (self.start, self.end) == (0, len(self.text)) and self.text.startswith("$")

    @property
    def is_alone(self) -> bool:
        """The same, with or without braces around it."""
        before, after = self.text[: self.start], self.text[self.end :]
        return bool(re.fullmatch(r"(\$\{\s*)?", before) and re.fullmatch(r"(\s*\})?", after))

    @property
    def in_braces(self) -> bool:
        """Whether it is part of an expression: then its root may go without a dollar sign."""
        before = self.text[: self.start]
        return self.at[2:3] == ("when",) or before.rfind("${") > before.rfind("}")

    @property
    def task(self) -> int | None:
        """The position of the task that it is in; None for the output of the workflow."""
        return int(self.at[1]) if self.at[0] == "tasks" else None

    @property
    def segments(self) -> list[str]:
        """The steps of its path, as they are written."""
        return _ONE_SEGMENT.findall(self.text[self.path_start : self.end])

    def replaced(self, new: str) -> str:
        """The text with something else in the place of the reference."""
        return self.text[: self.start] + new + self.text[self.end :]

    def with_id(self, name: str) -> str:
        """The text with another name of a task or an input."""
        return self.text[: self.id_start] + name + self.text[self.id_start + len(self.id) :]

    def with_path(self, path: str) -> str:
        """The text with another path behind the root."""
        return self.text[: self.path_start] + path + self.text[self.end :]


def pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def leads_somewhere(document: Any, place: str) -> bool:
    """Whether there is anything at a JSON Pointer."""
    here = document
    for step in place.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            here = here[int(name)]
        else:
            return False
    return True


def get(document: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        document = document[step]
    return document


def replaced(document: Document, path: Path, value: Any) -> Document:
    """A copy of the document with another value at a path, or a new member there."""
    made = copy.deepcopy(document)
    get(made, path[:-1])[path[-1]] = value
    return made


def without(document: Document, path: Path) -> Document:
    """A copy of the document without what is at a path."""
    made = copy.deepcopy(document)
    del get(made, path[:-1])[path[-1]]
    return made


def renamed(document: Document, path: Path, name: str) -> Document:
    """A copy of the document in which the member at a path has another name, in its old place."""
    made = copy.deepcopy(document)
    holder = get(made, path[:-1])
    members = [(name if key == path[-1] else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(members)
    return made


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each value below a value that holds no others, with its path."""
    match value:
        case dict():
            for name, member in value.items():
                yield from leaves(member, (*at, name))
        case list():
            for index, item in enumerate(value):
                yield from leaves(item, (*at, index))
        case _:
            yield at, value


def holders(value: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of the objects in a value, itself included."""
    if isinstance(value, dict):
        yield at
    if isinstance(value, dict | list):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from holders(member, (*at, step))


def texts(document: Document) -> Iterator[tuple[Path, str]]:
    """Each text that may hold references, with its path."""
    for index, task in enumerate(document["tasks"]):
        for field in _TEMPLATES:
            for path, value in leaves(task.get(field), ("tasks", index, field)):
                if isinstance(value, str):
                    yield path, value
    for path, value in leaves(document.get("output"), ("output",)):
        if isinstance(value, str):
            yield path, value


def sites(document: Document) -> list[Site]:
    """Each reference of the document to a task or an input, in the order of the file."""
    return [site for path, text in texts(document) for site in sites_of(text, path)]


def sites_of(text: str, at: Path = ()) -> Iterator[Site]:
    """Each reference in a text."""
    for root, pattern in (("OUTPUT", _REFERENCE), ("INPUT", _INPUT)):
        for found in pattern.finditer(text) if "$" in text or at[2:3] == ("when",) else ():
            path = tuple(map(_step, _ONE_SEGMENT.findall(found["path"])))
            yield Site(
                at,
                text,
                found.start(),
                found.end(),
                root,
                found["id"],
                found.start("id"),
                path,
                found.start("path"),
            )


def _step(segment: str) -> str | int:
    if segment.startswith("."):
        return segment[1:]
    inner = segment[1:-1]
    return inner[1:-1] if inner[0] in "\"'" else int(inner)


def waits(document: Document) -> list[tuple[Path, str]]:
    """Each entry of a `depends_on`, with its path."""
    return [
        (("tasks", index, "depends_on", position), needed)
        for index, task in enumerate(document["tasks"])
        for position, needed in enumerate(task.get("depends_on", []))
    ]


def ids(document: Document) -> list[str]:
    """The ids of the tasks."""
    return [task["id"] for task in document["tasks"]]


def needs(document: Document) -> dict[str, set[str]]:
    """What each task needs, directly."""
    names = ids(document)
    made: dict[str, set[str]] = {name: set() for name in names}
    for site in sites(document):
        if site.root == "OUTPUT" and site.task is not None:
            made[names[site.task]].add(site.id)
    for path, needed in waits(document):
        made[names[int(path[1])]].add(needed)
    for path, text in texts(document):
        for status in re.findall(r"(?:STATUS|ERROR)\[([A-Za-z0-9_.:-]+)\]", text):
            if path[0] == "tasks":
                made[names[int(path[1])]].add(status)
    return made


def below(document: Document, task: str) -> set[str]:
    """The tasks that need a task, directly or not; itself included."""
    needed = needs(document)
    found, before = {task}, set[str]()
    while found != before:
        before = set(found)
        found |= {name for name, others in needed.items() if others & found}
    return found
