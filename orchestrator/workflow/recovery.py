"""Cuts the mistakes out of a workflow, so that the rest of it can be checked too.

A finding at or around a place that was cut out is not reported.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.documents.parse import read_document
from orchestrator.documents.pointer import pointer, steps, value_at
from orchestrator.documents.text import visible
from orchestrator.errors import Problem, WorkflowError
from orchestrator.workflow.kinds import KINDS
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import TASK_LISTS, task_of, tasks_in

MAX_ROUNDS = 8
# A noncharacter, which Unicode reserves for use inside programs: no message has it but ours.
_STANDS_IN = "\ufdd0"
_UNKNOWN = f'$INPUT["{_STANDS_IN}"]'
# These mean nothing before the mistakes in the file are fixed.
_IRRELEVANT = frozenset({"unused_input", "tools_not_checked"})
_OF_THE_WHOLE_TASK = frozenset({"id", *KINDS})
_TAKING_ANYTHING = frozenset({"arguments", "args", "params", "for_each", "fallback"})


@dataclass(slots=True)
class Recovered:
    """A workflow without its mistakes."""

    workflow: Workflow  # only to be checked, never to be run
    cut: list[str] = field(default_factory=list)  # what was cut out, as JSON Pointers

    def telling(self, findings: Iterable[Problem]) -> list[Problem]:
        """The findings that have nothing to do with what was cut out."""
        return [finding for finding in findings if not self._is_consequence(finding)]

    def _is_consequence(self, finding: Problem) -> bool:
        said = finding.message + finding.text
        if finding.code in _IRRELEVANT or _STANDS_IN in said or visible(_STANDS_IN) in said:
            return True
        # A finding about the whole file, such as a server that did not start, has no path.
        path = f"{finding.path}/"
        return path != "/" and any(
            path.startswith(f"{cut}/") or f"{cut}/".startswith(path) for cut in self.cut
        )


def recover(data: Any, problems: Iterable[Problem]) -> Recovered | None:
    """What is left of the data of a workflow without its mistakes; None if that is nothing."""
    if not isinstance(data, Mapping) or not isinstance(data.get("tasks"), list):
        return None
    left = copy.deepcopy(dict(data))
    cut: list[str] = []
    for _ in range(MAX_ROUNDS):
        for problem in problems:
            cut += _renamed(left, problem) or _cut(left, problem)
        inputs = left.get("inputs")
        left["inputs"] = {**(inputs if isinstance(inputs, dict) else {}), _STANDS_IN: True}
        try:
            return Recovered(Workflow.model_validate(left), cut)
        except WorkflowError as error:
            problems = error.problems
    return None


def _renamed(data: dict[str, Any], problem: Problem) -> list[str]:
    """Correct the name of a field where that is certain; gives its old and its new path."""
    *above, name = steps(problem.path) or [""]
    for move in (operation for operation in problem.replacement if operation["op"] == "move"):
        with suppress(KeyError, IndexError, TypeError):  # another mistake has removed it
            holder = value_at(data, pointer(*above))
            holder[steps(move["path"])[-1]] = holder.pop(name)
            return [problem.path, move["path"]]
    return []


def _cut(data: dict[str, Any], problem: Problem) -> list[str]:
    """Cut a mistake out; gives the paths of what was cut."""
    path = steps(problem.path)
    if len(path) < 2 or path[0] not in (*TASK_LISTS, "inputs"):
        data.pop(path[0] if path else "", None)
        return [pointer(*path[:1])]
    if path[0] == "inputs":
        data["inputs"][path[1]] = True
        return [pointer(*path[:2])]
    place, index = path[0], int(path[1])
    task = data[place][index]
    if problem.code == "cycle":
        return _cut_references(data, place, index)
    is_whole = len(path) == 2 or path[2] in _OF_THE_WHOLE_TASK or not isinstance(task, dict)
    if is_whole or (len(path) == 3 and path[2] not in task):
        data[place][index] = _stand_in(data, place, index)
        return [pointer(place, index)]
    below_field = len(path) > 3 and path[2] in _TAKING_ANYTHING
    if not below_field or not _put_unknown(task, path[2:]):
        task.pop(path[2], None)
    return [problem.path]


def _cut_references(data: dict[str, Any], place: str, index: int) -> list[str]:
    """Cut all fields of a task of a cycle but its tool, so that this can be checked."""
    tasks = data[place]
    task = tasks[index]
    left = {name: task[name] for name in ("id", "tool", "prompt") if name in task}
    if len(left) < 2:
        tasks[index] = _stand_in(data, place, index)
        return [pointer(place, index)]
    # The type of its output depends on these.
    unknown = {"for_each": _UNKNOWN, "fallback": {"value": _UNKNOWN}}
    tasks[index] = left | {name: value for name, value in unknown.items() if name in task}
    return [pointer(place, index, name) for name in ("arguments", *task) if name not in left]


def _put_unknown(task: dict[str, Any], path: list[str]) -> bool:
    """Whether an unknown value could be put at a path, and was not there before."""
    with suppress(KeyError, IndexError, TypeError):  # another mistake has removed it
        holder = value_at(task, pointer(*path[:-1]))
        key: Any = int(path[-1]) if isinstance(holder, list) else path[-1]
        if holder[key] != _UNKNOWN:
            holder[key] = _UNKNOWN
            return True
    return False


def _stand_in(data: dict[str, Any], place: str, index: int) -> dict[str, Any]:
    """A task without policies, under the same id if that is valid and unique."""
    name = task_of(data[place][index])
    others = {task_of(task) for at, task in tasks_in(data) if at != (place, index)}
    taken = name is None or name in others or not name.replace("_", "").isalnum()
    return {
        "id": f"cut-out-{place}-{index}" if taken else name,
        "tool": f"{_STANDS_IN}:{_STANDS_IN}",
    }


def read_again(source: Any) -> Any:
    """The data of a workflow file or dict; None if it cannot be read."""
    try:
        return source if isinstance(source, Mapping) else read_document(Path(source))
    except WorkflowError:
        return None
