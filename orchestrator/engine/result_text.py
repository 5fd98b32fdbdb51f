"""A result as a person reads it: what `print(result)` shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import counted, cut, duration, listed, name_of, quoted, visible

if TYPE_CHECKING:
    from orchestrator.engine.result import RunResult, TaskResult

MAX_TASKS = 20
MAX_REASON = 200
MAX_NAMED = 10


def unknown_task(task: str, known: Iterable[str]) -> str:
    """The message of a task that a result does not have."""
    names = list(known)
    near = did_you_mean(task, names)
    return f"unknown task {quoted(task)}{near or f' (tasks: {listed(names, MAX_NAMED)})'}"


def result_text(result: RunResult) -> str:
    """The status of a run and of each task; of many, those that did not succeed come first."""
    total, succeeded = len(result.tasks), result.summary["succeeded"]
    took = "in a dry run" if result.dry_run else f"in {duration(result.duration_ms)}"
    lines = [
        f"{name_of(result.workflow)}: {result.status}, {succeeded:,} of {counted(total, 'task')} "
        f"{'that came ' * result.lacks_tasks}succeeded {took} ({result.schedule})"
    ]
    if result.error is not None:
        lines.append(_one_line(f"{result.error.kind}: {result.error.message}"))
    tasks = list(result.tasks.values())
    if total > MAX_TASKS:
        tasks = sorted(tasks, key=lambda task: task.status == "success")[:MAX_TASKS]
    width = max((len(name_of(task.id)) for task in tasks), default=0)
    lines += [f"  {name_of(task.id):{width}}  {_ended(task)}" for task in tasks]
    if total > MAX_TASKS:
        lines.append(f"  and {total - MAX_TASKS:,} more")
    return "\n".join(lines)


def _ended(task: TaskResult) -> str:
    status = "recovered" if task.recovered else task.status
    took = f"  {duration(task.duration_ms)}" if task.attempts else "  cached" if task.cached else ""
    why = f"{task.error.kind}: {task.error.message}" if task.error else task.reason or ""
    return f"{status:9}{took}{f'  {_one_line(why)}' if why else ''}".rstrip()


def _one_line(text: str) -> str:
    return cut(visible(text), MAX_REASON)
