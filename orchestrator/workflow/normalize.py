"""The one canonical form of what people and models write, and the errors in it as they wrote it.

The rule of this file: synonyms end here. Nothing behind it knows that `args` means `arguments`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from orchestrator.documents.pointer import pointer, steps
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import Location
from orchestrator.errors import Problem

WORKFLOW_SYNONYMS = {"maxConcurrent": "max_concurrency"}
TASK_SYNONYMS = {
    "args": "arguments",
    "params": "arguments",
    "dependsOn": "depends_on",
    "needs": "depends_on",
}
_FEW = 50
Names = Callable[[Sequence[str]], Iterable[str]]


def canonical_workflow(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The workflow with its fields under their one name, and what stands twice under two names.

    `$schema`, which editors put there, is left out.
    """
    workflow, problems = rename(data, WORKFLOW_SYNONYMS, ())
    if isinstance(workflow.get("$schema"), str):
        del workflow["$schema"]
    if isinstance(tasks := workflow.get("tasks"), list):
        workflow["tasks"] = [
            _canonical_task(task, index, problems) for index, task in enumerate(tasks)
        ]
    return workflow, problems


def _canonical_task(task: Any, index: int, problems: list[Problem]) -> Any:
    if not isinstance(task, Mapping):
        return task
    renamed, doubled = rename(task, TASK_SYNONYMS, ("tasks", index))
    problems += doubled
    return renamed


def rename(
    data: Mapping[str, Any], synonyms: Mapping[str, str], at: Location
) -> tuple[dict[str, Any], list[Problem]]:
    """Put each field under its canonical name; a field given under two names is a problem."""
    renamed: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in data.items():
        target = synonyms.get(name, name)
        if target in renamed:
            names = [other for other in data if synonyms.get(other, other) == target]
            message = f"{' and '.join(map(quoted, names))} name the same field: keep one"
            problems.append(Problem("doubled_field", message, pointer(*at, name), task_of(data)))
        else:
            renamed[target] = value
    return renamed, problems


def as_written(problems: Iterable[Problem], data: Mapping[str, Any]) -> list[Problem]:
    """The problems in the order of the file, each once, at the names that the file has.

    Args:
        problems: What was found in the canonical form.
        data: The workflow as it was given.
    """
    placed: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        problem = with_written_names(problem, partial(_names, data))
        placed.setdefault((problem.path, problem.message), problem)
    return sorted(placed.values(), key=lambda problem: _order(problem.path, data))


def _order(path: str, data: Any) -> tuple[float, ...]:
    """Where in the file a path is; what is wrong with the whole file comes last."""
    order: list[float] = [] if path else [math.inf]
    here = data
    for step in steps(path):
        if isinstance(here, Mapping) and len(here) <= _FEW:
            order.append(list(here).index(step) if step in here else len(here))
            here = here.get(step)
        elif isinstance(here, list):
            order.append(int(step))
            here = here[int(step)]
        else:
            break
    return tuple(order)


def _names(data: Any, steps: Sequence[str]) -> Iterable[str]:
    """The names in the object that these steps lead to; none if it is no object."""
    here = data
    for step in steps:
        here = here[int(step)] if isinstance(here, list) else here[step]
    return here if isinstance(here, Mapping) else ()


def with_written_names(problem: Problem, names: Names) -> Problem:
    """A problem of the canonical form, at the names that the file has.

    Args:
        problem: The problem; if it has the names of the file already, it stays as it is.
        names: Gives the names of the members that the object at some place of the file has.
    """
    path = written(problem.path, names)
    operations = tuple(
        {
            key: written(value, names) if key in ("path", "from") else value
            for key, value in operation.items()
        }
        for operation in problem.replacement
    )
    return replace(problem, path=path, replacement=operations)


def written(path: str, names: Names) -> str:
    """The path with the names that the file has: of two names of one field, the first counts."""
    where = steps(path)
    if len(where) > 2 and where[0] == "tasks":
        where[2] = _first_name(where[2], names(where[:2]), TASK_SYNONYMS)
    elif where:
        where[0] = _first_name(where[0], names(()), WORKFLOW_SYNONYMS)
    return pointer(*where)


def _first_name(field: str, names: Iterable[str], synonyms: Mapping[str, str]) -> str:
    return next((name for name in names if synonyms.get(name, name) == field), field)


def owner_of(data: Mapping[str, Any], location: Location) -> str | None:
    """The id of the task that a location in a workflow lies in, if it has one."""
    if len(location) < 2 or location[0] != "tasks":
        return None
    return task_of(data["tasks"][location[1]])


def task_of(data: Any) -> str | None:
    """The id of a task as it stands in a file, if it has one."""
    identifier = data.get("id") if isinstance(data, Mapping) else None
    return identifier if isinstance(identifier, str) else None
