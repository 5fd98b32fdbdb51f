"""Replaces the synonyms of fields by their canonical names, and maps problems back to the file.

Nothing behind this module knows that `args` means `arguments`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from orchestrator.documents.pointer import pointer, steps, value_at
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import Location
from orchestrator.errors import Problem
from orchestrator.workflow import oktyv

WORKFLOW_SYNONYMS = {"maxConcurrent": "max_concurrency"}
TASK_SYNONYMS = {
    "args": "arguments",
    "params": "arguments",
    "dependsOn": "depends_on",
    "needs": "depends_on",
}
TASK_LISTS = ("tasks", "finally")  # the fields of a workflow that hold tasks
_OF_CONFIG = {ours: theirs for theirs, ours in oktyv.FIELDS.items()}
_PATHS = {"path", "from"}  # of an operation of JSON Patch
_FEW = 50  # properties: to find the position of one takes a search through all
Names = Callable[[Sequence[str]], Iterable[str]]


def canonical_workflow(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The workflow with canonical field names, and a problem for each field given twice."""
    foreign: list[Problem] = []
    if oktyv.is_request(data):
        data, foreign = oktyv.translated(data)
    workflow, problems = _renamed(data, WORKFLOW_SYNONYMS, ())
    problems += foreign
    if isinstance(workflow.get("$schema"), str):
        del workflow["$schema"]  # editors put it there
    for field in TASK_LISTS:
        if not isinstance(tasks := workflow.get(field), list):
            continue
        workflow[field] = list(tasks)
        for index, task in enumerate(tasks):
            if isinstance(task, Mapping):
                workflow[field][index], doubled = _renamed(task, TASK_SYNONYMS, (field, index))
                problems += doubled
    return workflow, problems


def _renamed(
    data: Mapping[str, Any], synonyms: Mapping[str, str], at: Location
) -> tuple[dict[str, Any], list[Problem]]:
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
    """The problems in the order of the file, each once, with the names used in the file."""
    placed: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        problem = with_written_names(problem, partial(property_names, data))
        placed.setdefault((problem.path, problem.message), problem)
    return sorted(placed.values(), key=lambda problem: _order(problem.path, data))


def _order(path: str, data: Any) -> tuple[float, ...]:
    """The position of a path in the file; the whole file comes last."""
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


def property_names(data: Any, where: Sequence[str]) -> Iterable[str]:
    """The names of the properties of the object that some steps lead to; none if it is none."""
    here = value_at(data, pointer(*where))
    return here if isinstance(here, Mapping) else ()


def with_written_names(problem: Problem, names: Names) -> Problem:
    """A problem with its paths as the file has them; `names` gives the names in an object there."""
    return with_paths(problem, lambda path: written(path, names))


def with_paths(problem: Problem, change: Callable[[str], str]) -> Problem:
    """A problem with its path, and those of its replacement, changed."""
    operations = tuple(
        {**operation, **{key: change(operation[key]) for key in _PATHS & operation.keys()}}
        for operation in problem.replacement
    )
    return replace(problem, path=change(problem.path), replacement=operations)


def written(path: str, names: Names) -> str:
    """A path with the names used in the file; of two names of one field, the first."""
    where = steps(path)
    theirs = _OF_CONFIG.get(where[0]) if where else None
    has_config = theirs is not None and oktyv.CONFIG in names([])
    if theirs is not None and has_config and theirs in names([oktyv.CONFIG]):
        return pointer(oktyv.CONFIG, theirs, *where[1:])
    if where[0:1] and where[0] in TASK_LISTS and where[2:3] == ["workflow"] and where[3:]:
        inner = where[:3]
        return pointer(*inner) + written(pointer(*where[3:]), lambda at: names([*inner, *at]))
    is_in_task = len(where) > 2 and where[0] in TASK_LISTS
    depth, synonyms = (2, TASK_SYNONYMS) if is_in_task else (0, WORKFLOW_SYNONYMS)
    if where:
        used = (name for name in names(where[:depth]) if synonyms.get(name, name) == where[depth])
        where[depth] = next(used, where[depth])
    return pointer(*where)


def owner_of(data: Mapping[str, Any], location: Location) -> str | None:
    """The id of the task that a location in a workflow is in, if it is in one."""
    is_in_task = len(location) > 1 and location[0] in TASK_LISTS
    return task_of(data[str(location[0])][location[1]]) if is_in_task else None


def tasks_in(workflow: Mapping[str, Any]) -> Iterator[tuple[tuple[str, int], Any]]:
    """Each task of a workflow file with its place, those of `finally` last."""
    for field in TASK_LISTS:
        tasks = workflow.get(field)
        for index, task in enumerate(tasks if isinstance(tasks, list) else ()):
            yield (field, index), task


def task_of(data: Any) -> str | None:
    """The id of a task in a workflow file, if it is a string."""
    identifier = data.get("id") if isinstance(data, Mapping) else None
    return identifier if isinstance(identifier, str) else None
