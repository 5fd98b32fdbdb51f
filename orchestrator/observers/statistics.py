"""Keeps what calls took in earlier runs in a small file: the estimates for later runs.

They only decide which task goes first, so one that is outdated costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.files import read_text, write_text
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import problems_of
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.errors import Code, Problem, WorkflowError
from orchestrator.workflow.model import Workflow

# The weight of the newest time: 0.2 to 0.3 is advised for moving means of this kind (Roberts, 1959;
# Hunter, 1986). The first times count alike, or the very first would count for most of them.
NEWEST_WEIGHT = 0.25
MAX_TASKS = 20_000
MAX_TOOLS = 2_000
_FIX = "delete it to start over, or name another file"


class Measured(BaseModel):
    """What a call takes: a moving mean over runs in which it succeeded, and their number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mean_ms: float = Field(ge=0, allow_inf_nan=False)
    runs: int = Field(ge=1)


class MeasuredTask(Measured):
    """What a task takes, and its tool: a task that calls another tool is another task."""

    tool: str


class _Document(BaseModel):
    """The file. The latest measurement comes last in each object."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1] = 1
    workflows: dict[str, dict[str, MeasuredTask]] = Field(default_factory=dict)
    tools: dict[str, Measured] = Field(default_factory=dict)


class Statistics:
    """What calls took in earlier runs, by workflow and task, and by tool.

    Only calls that succeeded at the first attempt count: the time of a call that failed, was
    cancelled or was retried tells nothing about the next one. A `for_each` counts as the mean over
    its items. The latest `MAX_TASKS` tasks and `MAX_TOOLS` tools are kept.
    """

    def __init__(self) -> None:
        self._document = _Document()

    def __repr__(self) -> str:
        tasks = sum(map(len, self._document.workflows.values()))
        return f"Statistics({tasks} tasks, {len(self._document.tools)} tools)"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file of statistics; without a file they are empty.

        Raises:
            WorkflowError: The file cannot be read or has another form, or its directory does not
                exist.
        """
        path, made = Path(path), cls()
        if not path.parent.is_dir():  # before the run, which would have to write there
            message = f"there is no directory {quoted(str(path.parent))}"
            raise _error(path, "unwritable_file", message, hint="")
        if not path.exists():
            return made
        if not path.is_file():  # reading a device or a pipe may never end
            raise _error(path, "unreadable_file", "is not a regular file")
        try:
            data = parse_json(read_text(path, hint=_FIX))
            made._document = _Document.model_validate(data)
        except DocumentError as failure:
            raise _error(path, "malformed_document", str(failure)) from None
        except ValidationError as error:
            first = problems_of(error, data, {"": tuple(_Document.model_fields)})[0]
            message = f"is not a statistics file of this version: {first}"
            raise _error(path, "malformed_document", message) from None
        return made

    def estimates(self, workflow: Workflow) -> dict[str, float]:
        """What each task of a workflow is expected to take, seconds; unknown ones are left out.

        A task without measurements takes what its tool took in other tasks.
        """
        mine, tools = self._document.workflows.get(workflow.name, {}), self._document.tools
        measured = {
            task.id: _of_tool(mine.get(task.id), task.target) or tools.get(task.target)
            for task in workflow.plan.tasks.values()
        }
        return {task: each.mean_ms / 1000 for task, each in measured.items() if each is not None}

    def update(self, workflow: Workflow, result: RunResult) -> int:
        """Take in the times of a run, and return the number of tasks with a time that counts.

        Those of a dry run do not count. The workflow says which tool each task called.
        """
        if result.dry_run:
            return 0
        by_tool: dict[str, list[float]] = {}
        workflows, tools = self._document.workflows, self._document.tools
        mine = workflows.pop(workflow.name, {})
        for task in workflow.plan.tasks.values():
            if times_ms := list(_times_ms(result[task.id])):
                took_ms = sum(times_ms) / len(times_ms)
                by_tool.setdefault(task.target, []).append(took_ms)
                old = _of_tool(mine.pop(task.id, None), task.target)
                mine[task.id] = MeasuredTask(tool=task.target, **_with_run(old, took_ms))
        if mine:
            workflows[workflow.name] = mine
        for target, took in by_tool.items():
            mean_ms = sum(took) / len(took)
            tools[target] = Measured(**_with_run(tools.pop(target, None), mean_ms))
        tasks = [(name, task_id) for name, measured in workflows.items() for task_id in measured]
        for name, oldest in tasks[:-MAX_TASKS]:
            del workflows[name][oldest]
            if not workflows[name]:
                del workflows[name]
        for target in list(tools)[:-MAX_TOOLS]:
            del tools[target]
        return sum(map(len, by_tool.values()))

    def save(self, path: str | Path) -> None:
        """Write the file, as a whole or not at all. Of two that save at once, the last one wins.

        Raises:
            OSError: It cannot be written.
        """
        write_text(Path(path), to_json(self._document.model_dump(), 1) + "\n")


def _of_tool(measured: MeasuredTask | None, tool: str) -> MeasuredTask | None:
    return measured if measured is not None and measured.tool == tool else None


def _times_ms(result: TaskResult) -> Iterator[float]:
    """The duration of each call of a task that succeeded at its first attempt."""
    if result.recovered:
        return
    for part in (result,) if result.items is None else result.items:
        if part.status == "success" and part.attempts == 1:
            yield part.duration_ms


def _with_run(old: Measured | None, took_ms: float) -> dict[str, Any]:
    """The mean and the number of runs after one more run."""
    runs, mean_ms = (0, 0.0) if old is None else (old.runs, old.mean_ms)
    mean_ms += max(NEWEST_WEIGHT, 1 / (runs + 1)) * (took_ms - mean_ms)
    return {"mean_ms": round(mean_ms, 3), "runs": runs + 1}


def _error(path: Path, code: Code, message: str, hint: str = _FIX) -> WorkflowError:
    return WorkflowError(str(path), [Problem(code, message, hint=hint)])
