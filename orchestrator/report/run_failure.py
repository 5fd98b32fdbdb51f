"""What failed first in a run, with what it was called, and what was skipped because of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.engine.decide import StartEach, decide, start
from orchestrator.engine.outcome import Failure
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.engine.settled import Settled
from orchestrator.errors import CallError
from orchestrator.expressions.scope import Scope
from orchestrator.workflow.graph import below
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """The task that failed first.

    Attributes:
        path: The task, or the first item of it that failed.
        arguments: What it was called with, resolved; None if that cannot be told.
        skipped: The tasks that did not run because of it.
    """

    path: str
    result: TaskResult
    arguments: Mapping[str, Any] | None
    skipped: tuple[str, ...]


def first_failure(
    result: RunResult, workflow: Workflow, inputs: Mapping[str, Any]
) -> FirstFailure | None:
    """What failed first; None if nothing did."""
    tasks, graph = result.tasks, workflow.plan.graph
    failed = [task for task in tasks.values() if isinstance(task.outcome, Failure)]
    if not failed:
        return None
    first = min(failed, key=_ended_ms)
    item = next((i for i in first.items or () if isinstance(i.outcome, Failure)), None)
    after = below(graph, first.id) if first.id in graph else set()
    skipped = tuple(name for name in tasks if name in after and tasks[name].status == "skipped")
    path = first.id if item is None else f"{first.id}[{item.index}]"
    arguments = _arguments(first, item, result, workflow, inputs)
    return FirstFailure(path, first, arguments, skipped)


def _ended_ms(task: TaskResult) -> float:
    return (task.started_ms or 0.0) + task.duration_ms


def _arguments(
    task: TaskResult,
    item: ItemResult | None,
    result: RunResult,
    workflow: Workflow,
    inputs: Mapping[str, Any],
) -> dict[str, Any] | None:
    """What a task was called with, resolved once more; None if that cannot be done."""
    about = {"id": result.run_id, "started_at": result.started_at, "workflow": workflow.name}
    settled = Settled(inputs, about)
    for each in result.tasks.values():
        settled.add(each)
    index = None if item is None else item.index
    return arguments_of(workflow.plan.tasks[task.id], index, settled.scope)


def arguments_of(task: TaskPlan, item: int | None, scope: Scope) -> dict[str, Any] | None:
    """What a task, or an item of it, is called with; None if that cannot be told."""
    try:
        if item is not None:
            found = decide(task, scope)
            items = found.items if isinstance(found, StartEach) else []
            scope = replace(scope, item=items[item], index=item)
        return start(task, scope).arguments
    except (CallError, LookupError):
        return None
