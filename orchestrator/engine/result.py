"""The result document: what a run returns, in Python and as JSON, and the way back.

Times in a document have three decimals, so a result read from one is exact to a microsecond. A few
lines longer than other files: each field is beside its way into the document and back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from orchestrator.calls.causes import Cause
from orchestrator.documents.encode import to_json
from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.outcome import (
    Cancelled,
    Failure,
    Outcome,
    Skipped,
    Status,
    Success,
    Waiting,
    outcome_from_dict,
)
from orchestrator.engine.question import Question
from orchestrator.engine.result_text import result_text, unknown_task
from orchestrator.errors import TaskError, UnknownTaskError

RunStatus = Literal["success", "partial", "failed", "cancelled", "paused"]
EndReason = Literal["timeout", "budget", "critical", "fail_fast", "end_run", "cancelled"]
_MEASURED = ("attempts", "started_ms", "duration_ms", "waited_ms")


Waits = tuple[tuple[Cause, float, float], ...]
"""What a call waited for: since when, milliseconds since the run began, and how long."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How one item of a `for_each` ended; its fields are those of a `TaskResult`."""

    index: int
    outcome: Outcome
    attempts: int = 0
    started_ms: float | None = None
    duration_ms: float = 0.0
    waited_ms: float = 0.0
    tasks: Mapping[str, TaskResult] | None = None
    cached: bool = False
    waits: Waits = field(default=(), compare=False)

    @property
    def status(self) -> Status:
        """`success`, `error`, `cancelled`, `waiting`, or `skipped` if one before it failed."""
        return self.outcome.status

    @property
    def output(self) -> Any:
        """The output, or None if there is none."""
        return self.outcome.output if isinstance(self.outcome, Success) else None

    @property
    def error(self) -> TaskError | None:
        """Why it failed, or the error before its fallback; else None."""
        match self.outcome:
            case Success(_, recovered):
                return recovered
            case Failure(error):
                return error
        return None

    def to_dict(self) -> dict[str, Any]:
        """The item as the result document has it; its output is in the list of the task."""
        document = {"index": self.index, **self.outcome.to_dict(), **_measures(self)}
        del document["output"]
        return document | _inside(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], output: Any = None) -> Self:
        """The item of a document, with its output from the list of the task."""
        outcome = outcome_from_dict({"output": output, **document})
        return cls(document["index"], outcome, **_measured(document), tasks=_tasks_of(document))


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task ended.

    Attributes:
        id: The task.
        outcome: How it ended.
        generation: The number of its topological generation, from 0; None for one of `finally`.
        attempts: The number of calls, over all items of a `for_each`.
        started_ms: When its first attempt began, milliseconds since the run did; None without one.
        duration_ms: From then until it settled, milliseconds, with the time between attempts; 0
            without an attempt.
        waited_ms: How long its calls waited for locks, slots and rates, milliseconds; of a
            `for_each`, how long until the first item began.
        items: How each item of a `for_each` ended, in order; None without.
        tasks: How each task of the workflow ended that it ran, by id; None if it ran none.
        cached: Whether the memo gave its output, and nothing was called.
        waits: What its call waited for, a millisecond at least, in order; those of the items of a
            `for_each` are theirs. The document leaves them out, the journal keeps them.
    """

    id: str
    outcome: Outcome
    generation: int | None
    attempts: int = 0
    started_ms: float | None = None
    duration_ms: float = 0.0
    waited_ms: float = 0.0
    items: Sequence[ItemResult] | None = None
    tasks: Mapping[str, TaskResult] | None = None
    cached: bool = False
    waits: Waits = field(default=(), compare=False)

    @property
    def status(self) -> Status:
        """`success`, `error`, `skipped`, `cancelled`, or `waiting` in a paused run."""
        return self.outcome.status

    @property
    def output(self) -> Any:
        """The output, or None if there is none. A `for_each` that failed has its list."""
        return None if isinstance(self.outcome, Skipped | Waiting) else self.outcome.output

    @property
    def recovered(self) -> bool:
        """Whether its output is that of a fallback; `error` is then the error before it."""
        return isinstance(self.outcome, Success) and self.outcome.recovered is not None

    @property
    def error(self) -> TaskError | None:
        """Why it failed or was cancelled, or the error before a fallback; else None."""
        match self.outcome:
            case Success(_, recovered):
                return recovered
            case Failure(error):
                return error
            case Cancelled(reason, _):
                return TaskError("cancelled", reason, retryable=False)
        return None

    @property
    def reason(self) -> str | None:
        """Why it was skipped or cancelled, or None."""
        return self.outcome.reason if isinstance(self.outcome, Skipped | Cancelled) else None

    def to_dict(self) -> dict[str, Any]:
        """The task as the result document has it, under its id."""
        error = self.error
        document = self.outcome.to_dict() | {"error": error.to_dict() if error else None}
        document |= {"generation": self.generation, **_measures(self)}
        if self.items is not None:
            document["items"] = [item.to_dict() for item in self.items]
        if self.items is not None and self.recovered:
            # The task's output is that of the fallback, so only here are those of the items.
            for shown, item in zip(document["items"], self.items, strict=True):
                shown["output"] = item.output
        return document | _inside(self)

    @classmethod
    def from_dict(cls, task: str, document: Mapping[str, Any]) -> Self:
        """The result of the task with this id, from its part of a result document."""
        items, output = document.get("items"), document["output"]
        if items is not None:
            # After a fallback the output belongs to the task alone: each item carries its own.
            outputs = dict(enumerate(output)) if isinstance(output, list) else {}
            items = tuple(ItemResult.from_dict(item, outputs.get(item["index"])) for item in items)
        outcome, generation = outcome_from_dict(document), document["generation"]
        tasks = _tasks_of(document)
        return cls(task, outcome, generation, items=items, tasks=tasks, **_measured(document))


def _measures(part: ItemResult | TaskResult) -> dict[str, Any]:
    values = {name: getattr(part, name) for name in _MEASURED}
    measures = {n: None if value is None else round(value, 3) for n, value in values.items()}
    return measures | {"cached": True} if part.cached else measures


def _inside(part: ItemResult | TaskResult) -> dict[str, Any]:
    tasks = part.tasks
    return {} if tasks is None else {"tasks": {task: r.to_dict() for task, r in tasks.items()}}


def _tasks_of(document: Mapping[str, Any]) -> dict[str, TaskResult] | None:
    tasks = document.get("tasks")
    return tasks and {task: TaskResult.from_dict(task, part) for task, part in tasks.items()}


def _measured(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in _MEASURED} | {"cached": document.get("cached", False)}


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `result["task"]` is the `TaskResult` of a task.

    Attributes:
        run_id: A unique name of this run.
        workflow: The name of the workflow.
        status: `success` if every task succeeded or was skipped by its own condition; `failed` if
            none succeeded or a failure ended the run; `cancelled` if the user or the run's limit
            ended it; `paused` if it waits for answers; else `partial`.
        started_at: When it began, in UTC, ISO 8601.
        duration_ms: From the first task's start to the last one's end, milliseconds, without time
            in which all tasks wait for servers to start.
        schedule: `generations` or `dataflow`.
        generations: The topological generations, each in alphabetical order.
        edges: The dependencies, sorted: each a task, and one that waits for it.
        sequential_ms: The sum of the times of all calls, items included, milliseconds.
        critical_path_ms: The longest path through the graph by task times, milliseconds.
        speedup: `sequential_ms` over `duration_ms`; None for a run that was cancelled or is
            paused.
        other_schedule: What the other would take: `{"schedule": ..., "duration_ms": ...}`.
        output: The value of the workflow's `output`, or the outputs of the last tasks by id.
        reason: What ended the run early, as one word; else None.
        error: Why the run ended early, or why `output` failed; else None.
        tasks: Every task, by id.
        made_up: The origin of each task's output in a dry run, by id; None if tools were called.
        wall_ms: From the start of the command to its result, milliseconds; None in Python.
        startup_ms: What starting each server took that was started for this run, milliseconds.
        resumed: How often another process took the run up again.
        questions: What a paused run waits for.
    """

    run_id: str
    workflow: str
    status: RunStatus
    started_at: str
    duration_ms: float
    schedule: str
    generations: list[list[str]]
    edges: list[list[str]]
    sequential_ms: float
    critical_path_ms: float
    speedup: float | None
    other_schedule: Mapping[str, Any]
    output: Any
    reason: EndReason | None
    error: TaskError | None
    tasks: Mapping[str, TaskResult]
    made_up: Mapping[str, MadeUp] | None = None
    wall_ms: float | None = None
    startup_ms: Mapping[str, float] = field(default_factory=dict)
    resumed: int = 0
    questions: Sequence[Question] = ()

    @property
    def dry_run(self) -> bool:
        """Whether no tool was called and the outputs are made up."""
        return self.made_up is not None

    @property
    def lacks_tasks(self) -> bool:
        """Whether it was cancelled and no task was: the rest of its plan never came."""
        ended = {task.status for task in self.tasks.values()}
        return self.status == "cancelled" and ended <= {"success", "error"}

    @property
    def summary(self) -> dict[str, int]:
        """How many tasks there are, and how many of them ended how."""
        ended = Counter(result.status for result in self.tasks.values())
        counts = {"total": len(self.tasks), "succeeded": ended["success"], "failed": ended["error"]}
        return counts | {status: ended[status] for status in ("skipped", "cancelled", "waiting")}

    def __getitem__(self, task: str) -> TaskResult:
        if task not in self.tasks:
            raise UnknownTaskError(unknown_task(task, self.tasks))
        return self.tasks[task]

    def __str__(self) -> str:
        return result_text(self)

    def to_dict(self, *, tasks: bool = True) -> dict[str, Any]:
        """The result document, also without its `tasks`."""
        names = ("run_id", "workflow", "status", "started_at")
        document = {name: getattr(self, name) for name in names} | {
            "duration_ms": round(self.duration_ms, 3),
            "schedule": self.schedule,
            "generations": self.generations,
            "edges": self.edges,
            "summary": self.summary,
            "sequential_ms": round(self.sequential_ms, 3),
            "critical_path_ms": round(self.critical_path_ms, 3),
            "speedup": None if self.speedup is None else round(self.speedup, 3),
            "wall_ms": None if self.wall_ms is None else round(self.wall_ms, 3),
            "startup_ms": {name: round(ms, 3) for name, ms in self.startup_ms.items()},
            "resumed": self.resumed,
            "questions": [question.to_dict() for question in self.questions],
            "other_schedule": dict(self.other_schedule),
            "output": self.output,
            "reason": self.reason,
            "error": self.error.to_dict() if self.error else None,
        }
        if tasks:
            document["tasks"] = {task: result.to_dict() for task, result in self.tasks.items()}
        if self.made_up is not None:
            made_up = {task: origin.to_dict() for task, origin in self.made_up.items()}
            document |= {"dry_run": True, "made_up": made_up}
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The result that `to_dict` wrote.

        Raises:
            KeyError: A part of the document is missing.
            ValueError: A task has an unknown status.
        """
        error, made_up = document["error"], document.get("made_up")
        parts = {"error": error and TaskError.from_dict(error), "tasks": _tasks_of(document)}
        parts["questions"] = tuple(map(Question.from_dict, document["questions"]))
        if made_up is not None:
            parts["made_up"] = {task: MadeUp.from_dict(origin) for task, origin in made_up.items()}
        names = (part.name for part in fields(cls) if part.name != "made_up")
        return cls(**{name: document[name] for name in names} | parts)

    def to_json(self, indent: int | None = 2) -> str:
        """The result document as JSON text."""
        return to_json(self.to_dict(), indent)
