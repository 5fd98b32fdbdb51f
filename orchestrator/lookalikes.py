"""Text that looks like a reference and is none.

The rule of this file: a `$` that begins no reference is itself, so all of this is allowed; but who
writes `$output[a]`, `$a.title` or `{{a.title}}` most likely means a reference.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from orchestrator.errors import Problem, pointer
from orchestrator.paths import Path
from orchestrator.workflow import Workflow

_ROOTS = {"output": "OUTPUT", "input": "INPUT", "item": "ITEM", "index": "INDEX", "error": "ERROR"}
_PLACE = r"(?:\.[A-Za-z_]\w*|\[-?\d+\])*"
_WORD = r"(?P<word>[A-Za-z][\w:-]*)(?:\[(?P<id>[A-Za-z][\w.:-]*)\])?"
_DOLLAR = re.compile(rf"(?<!\$)\${_WORD}(?P<place>{_PLACE})")
_BRACES = re.compile(rf"\{{\{{\s*\$?{_WORD}(?P<place>{_PLACE})\s*\}}\}}")


def lookalikes(workflow: Workflow) -> Iterator[Problem]:
    """A warning for each text in arguments and lists that is most likely meant as a reference."""
    tasks = {task.id for task in workflow.tasks}
    for index, task in enumerate(workflow.tasks):
        values = {"arguments": task.arguments, "for_each": task.for_each}
        for path, text in _texts(values, ("tasks", index)):
            for found in (*_DOLLAR.finditer(text), *_BRACES.finditer(text)):
                if (meant := _meant(found, tasks, workflow.inputs)) is not None:
                    yield _problem(found[0], meant, pointer(*path), task.id)


def _problem(found: str, meant: str, at: str, task: str) -> Problem:
    message = f"{found!r} is text as it stands, and looks like a reference"
    hint = f"write {meant}; a dollar sign that is meant as text is doubled: $$"
    return Problem("likely_reference", message, at, task, (meant,), hint, "warning", found)


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    match value:
        case str() if "$" in value or "{{" in value:
            yield path, value
        case dict():
            for name, member in value.items():
                yield from _texts(member, (*path, name))
        case list():
            for number, item in enumerate(value):
                yield from _texts(item, (*path, number))


def _meant(found: re.Match[str], tasks: Container[str], inputs: Container[str]) -> str | None:
    """The reference that a piece of text looks like; None if it looks like none."""
    word, identifier, place = found["word"], found["id"], found["place"]
    in_braces = found.re is _BRACES
    root = _ROOTS.get(word.casefold().removesuffix("s"), "")
    if root in ("OUTPUT", "ERROR"):
        return None if identifier is None or word == root else f"${root}[{identifier}]{place}"
    if identifier is not None:
        return None
    if root and (place or root != "INPUT"):
        return None if word == root and not in_braces else f"${root}{place}"
    if word in tasks and (place or in_braces):
        return f"$OUTPUT[{word}]{place.removeprefix('.output').removeprefix('.result')}"
    return f"$INPUT.{word}{place}" if word in inputs else None
