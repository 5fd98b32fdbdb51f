"""What calls took in earlier runs, in a small file: the estimates of later ones.

The rule of this file: it only ever changes which task goes first. So nothing in it has to be true:
what is old, or of another workflow of the same name, may cost some time.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.validation import problems_of
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.errors import Code, Problem, WorkflowError
from orchestrator.workflow.model import Workflow

# The weight of the newest time: 0.2 to 0.3 is what is advised for moving means of this kind
# (Roberts, 1959; Hunter, 1986). The first times are weighted alike, or the very first would count
# for most of them.
NEWEST_WEIGHT = 0.25
MAX_TASKS = 20_000
MAX_TOOLS = 2_000
_MEND = "delete it to begin anew, or name another file"


class Measured(BaseModel):
    """What a call took: a moving mean of successful ones, and how many runs it is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mean_ms: float = Field(ge=0, allow_inf_nan=False)
    runs: int = Field(ge=1)

    def moved(self, took_ms: float) -> dict[str, float | int]:
        """The fields after one more run."""
        weight = max(NEWEST_WEIGHT, 1 / (self.runs + 1))
        mean_ms = self.mean_ms + weight * (took_ms - self.mean_ms)
        return {"mean_ms": round(mean_ms, 3), "runs": self.runs + 1}


class MeasuredTask(Measured):
    """The same of a task, and the tool that it called: a task that calls another is another."""

    tool: str


class _Document(BaseModel):
    """The file. What was measured last stands last, everywhere."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    workflows: dict[str, dict[str, MeasuredTask]] = Field(default_factory=dict)
    tools: dict[str, Measured] = Field(default_factory=dict)


class Statistics:
    """What calls took in earlier runs, by workflow and task, and by tool.

    Of each run counts what succeeded at the first attempt: how long a call took that failed, was
    cancelled or was made again says nothing about the next one. With `for_each` it is the mean over
    its items. The newest `MAX_TASKS` tasks and `MAX_TOOLS` tools are kept.
    """

    def __init__(self) -> None:
        self._document = _Document()

    def __repr__(self) -> str:
        tasks = sum(map(len, self._document.workflows.values()))
        return f"Statistics({tasks} tasks, {len(self._document.tools)} tools)"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The statistics in a file; empty ones if it is not there.

        Raises:
            WorkflowError: It is there and cannot be read, or holds something else; or its
                directory is not there.
        """
        path, made = Path(path), cls()
        if not path.parent.is_dir():
            raise _broken(path, "unwritable_file", f"there is no directory {str(path.parent)!r}")
        if path.exists():
            made._document = _read(path)
        return made

    def estimates(self, workflow: Workflow) -> dict[str, float]:
        """What each task of a workflow is expected to take, seconds; unknown ones are left out.

        A task that was not measured takes what its tool took in other tasks.
        """
        mine = self._document.workflows.get(workflow.name, {})
        found: dict[str, float] = {}
        for task in workflow.plan.tasks.values():
            target = task.target
            measured: Measured | None = mine.get(task.id)
            if not isinstance(measured, MeasuredTask) or measured.tool != target:
                measured = self._document.tools.get(target)
            if measured is not None:
                found[task.id] = measured.mean_ms / 1000
        return found

    def update(self, workflow: Workflow, result: RunResult) -> int:
        """Take in what the tasks of a run took; a dry run took nothing that counts.

        Args:
            workflow: What was run; it says which tool each task called.
            result: What the run came to.

        Returns:
            How many tasks there was something to learn of.
        """
        if result.dry_run:
            return 0
        tools: dict[str, list[float]] = {}
        mine = self._document.workflows.pop(workflow.name, {})
        for task in workflow.plan.tasks.values():
            if times_ms := list(_times_ms(result[task.id])):
                took_ms = sum(times_ms) / len(times_ms)
                tools.setdefault(task.target, []).append(took_ms)
                _learn_task(mine, task.id, task.target, took_ms)
        if mine:
            self._document.workflows[workflow.name] = mine
        for target, took in tools.items():
            _learn_tool(self._document.tools, target, sum(took) / len(took))
        self._forget()
        return sum(map(len, tools.values()))

    def save(self, path: str | Path) -> None:
        """Write the file, as a whole or not at all. Of two who save, the last one's stays.

        Raises:
            OSError: It cannot be written.
        """
        path = Path(path).resolve()
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            beside.write_text(to_json(self._document.model_dump(), 1) + "\n", encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _forget(self) -> None:
        """Drop what was measured longest ago, if there is too much."""
        workflows, tools = self._document.workflows, self._document.tools
        too_many = sum(map(len, workflows.values())) - MAX_TASKS
        while too_many > 0:
            name, oldest = next(iter(workflows.items()))
            for task in list(oldest)[:too_many]:
                del oldest[task]
                too_many -= 1
            if not oldest:
                del workflows[name]
        for target in list(tools)[: max(0, len(tools) - MAX_TOOLS)]:
            del tools[target]


def _times_ms(result: TaskResult) -> Iterator[float]:
    """How long each call of a task took that succeeded at its first attempt."""
    if result.recovered:
        return
    for part in (result,) if result.items is None else result.items:
        if part.status == "success" and part.attempts == 1:
            yield part.duration_ms


def _learn_task(tasks: dict[str, MeasuredTask], task: str, tool: str, took_ms: float) -> None:
    """Take in a time, and put the task last."""
    old = tasks.pop(task, None)
    if old is not None and old.tool == tool:
        tasks[task] = MeasuredTask.model_validate({**old.moved(took_ms), "tool": tool})
    else:
        tasks[task] = MeasuredTask(mean_ms=round(took_ms, 3), runs=1, tool=tool)


def _learn_tool(tools: dict[str, Measured], tool: str, took_ms: float) -> None:
    old = tools.pop(tool, None)
    if old is not None:
        tools[tool] = Measured.model_validate(old.moved(took_ms))
    else:
        tools[tool] = Measured(mean_ms=round(took_ms, 3), runs=1)


def _read(path: Path) -> _Document:
    if not path.is_file():
        raise _broken(path, "unreadable_file", "is no regular file")
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as failure:
        message = f"cannot be read: {failure.strerror or failure}"
        raise _broken(path, "unreadable_file", message) from None
    except (UnicodeDecodeError, DocumentError) as failure:
        why = str(failure) if isinstance(failure, DocumentError) else "is not UTF-8"
        raise _broken(path, "malformed_document", f"holds no statistics: {why}") from None
    try:
        return _Document.model_validate(data)
    except ValidationError as error:
        first = problems_of(error, data, {"": tuple(_Document.model_fields)})[0]
        message = f"holds no statistics that this version knows: {first}"
        raise _broken(path, "malformed_document", message) from None


def _broken(path: Path, code: Code, message: str) -> WorkflowError:
    hint = "" if code == "unwritable_file" else _MEND
    return WorkflowError(str(path), [Problem(code, message, hint=hint)])
