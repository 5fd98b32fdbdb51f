"""A workflow that is wrong, as far as it is right: so that what else is wrong shows at once.

The rule of this file: as a compiler goes on behind a mistake, each mistake is cut out, and whatever
is found where something was cut is not told.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.documents.parse import read_document
from orchestrator.documents.pointer import pointer, steps
from orchestrator.errors import Problem, WorkflowError
from orchestrator.workflow.fixes import value_at
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import task_of

MAX_ROUNDS = 8
_STANDS_IN = "?"
_UNKNOWN = f'$INPUT["{_STANDS_IN}"]'
# Behind a mistake in the file these say nothing that matters yet.
_OF_NO_WEIGHT = frozenset({"unused_input", "tools_not_checked"})
_OF_THE_WHOLE_TASK = frozenset({"id", "tool"})
_TAKING_ANYTHING = frozenset({"arguments", "args", "params", "for_each", "fallback"})


@dataclass(slots=True)
class Recovered:
    """A workflow without its mistakes.

    Attributes:
        workflow: What is left; only to be looked at, and never to be run.
        cut: Where something was cut out, as JSON Pointers.
    """

    workflow: Workflow
    cut: list[str] = field(default_factory=list)

    def telling(self, findings: Iterable[Problem]) -> list[Problem]:
        """The findings that have nothing to do with what was cut out."""
        return [finding for finding in findings if not self._is_ours(finding)]

    def _is_ours(self, finding: Problem) -> bool:
        if finding.code in _OF_NO_WEIGHT or repr(_STANDS_IN) in finding.message:
            return True
        if _UNKNOWN in finding.text or _UNKNOWN in finding.message:
            return True
        # What is said of the whole file, as of a server that did not start, has no place in it.
        return bool(finding.path) and any(_overlap(finding.path, cut) for cut in self.cut)


def _overlap(path: str, cut: str) -> bool:
    return path == cut or path.startswith(f"{cut}/") or cut.startswith(f"{path}/")


def recover(data: Any, problems: Iterable[Problem]) -> Recovered | None:
    """What is left of a workflow when its mistakes are cut out; None if that is nothing.

    Args:
        data: The workflow as it stands in its file.
        problems: What is wrong with it.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("tasks"), list):
        return None
    left = copy.deepcopy(dict(data))
    cut: list[str] = []
    for _ in range(MAX_ROUNDS):
        for problem in problems:
            cut += _mended(left, problem) or [_cut(left, problem)]
        inputs = left.get("inputs")
        left["inputs"] = {**(inputs if isinstance(inputs, dict) else {}), _STANDS_IN: True}
        try:
            return Recovered(Workflow.model_validate(left), cut)
        except WorkflowError as error:
            problems = error.problems
    return None


def _mended(data: dict[str, Any], problem: Problem) -> list[str]:
    """Make a name of a field right, where there is no doubt; gives where it stood and stands."""
    moves = [operation for operation in problem.replacement if operation["op"] == "move"]
    *above, name = steps(problem.path) or [""]
    with suppress(KeyError, IndexError, TypeError):  # another mistake has taken it away
        holder = value_at(data, pointer(*above))
        for move in moves:
            holder[steps(move["path"])[-1]] = holder.pop(name)
            return [problem.path, move["path"]]
    return []


def _cut(data: dict[str, Any], problem: Problem) -> str:
    """Cut a mistake out; gives where."""
    path = steps(problem.path)
    if len(path) < 2 or path[0] not in ("tasks", "inputs"):
        data.pop(path[0] if path else "", None)
        return pointer(*path[:1])
    if path[0] == "inputs":
        data["inputs"][path[1]] = True
        return pointer(*path[:2])
    index = int(path[1])
    task = data["tasks"][index]
    is_whole = len(path) == 2 or path[2] in _OF_THE_WHOLE_TASK or not isinstance(task, dict)
    if is_whole or (len(path) == 3 and path[2] not in task):
        data["tasks"][index] = _stand_in(data, index)
        return pointer("tasks", index)
    if len(path) == 3:
        del task[path[2]]
    else:
        _replace(task, path[2:])
    return problem.path


def _replace(task: dict[str, Any], path: list[str]) -> None:
    """Put what is not known in the place of a value, or leave the field out if that does not do."""
    if path[0] not in _TAKING_ANYTHING or not _put(task, path):
        task.pop(path[0], None)


def _put(here: Any, path: list[str]) -> bool:
    """Whether what is not known could be put at a place, and was not there before."""
    try:
        for step in path[:-1]:
            here = here[int(step) if isinstance(here, list) else step]
        key: Any = int(path[-1]) if isinstance(here, list) else path[-1]
        if here[key] == _UNKNOWN:
            return False
        here[key] = _UNKNOWN
    except (KeyError, IndexError, TypeError):  # another mistake has taken it away
        return False
    return True


def _stand_in(data: dict[str, Any], index: int) -> dict[str, Any]:
    """A task that asks for nothing, under the same id if that is one and no other has it."""
    tasks = data["tasks"]
    name = task_of(tasks[index])
    others = {task_of(task) for number, task in enumerate(tasks) if number != index}
    taken = name is None or name in others or not name.replace("_", "").isalnum()
    return {"id": f"cut-out-{index}" if taken else name, "tool": f"{_STANDS_IN}:{_STANDS_IN}"}


def read_again(source: Any) -> Any:
    """The data that a workflow is made of; None if it cannot be read."""
    if isinstance(source, Mapping):
        return source
    try:
        return read_document(Path(source))
    except WorkflowError:
        return None
