"""What a run came to: its status, its figures and its output.

The rule of this file: pure functions of what was settled and measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.engine.outcome import Cancelled, Outcome, Skipped, Success
from orchestrator.engine.result import MadeUp, RunResult, RunStatus, TaskResult
from orchestrator.errors import CallError, TaskError
from orchestrator.expressions.scope import Scope
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends before its time, and what that makes of tasks that had not begun."""

    status: RunStatus
    error: TaskError
    not_begun: Skipped | Cancelled


def summarize(
    workflow: Workflow,
    results: Mapping[str, TaskResult],
    scope: Scope,
    *,
    schedule: Schedule,
    slots: int,
    duration_ms: float,
    stop: Stop | None,
    run_id: str,
    started_at: str,
    made_up: Mapping[str, MadeUp] | None = None,
) -> RunResult:
    """The result of a run in which every task has settled.

    Args:
        workflow: What was run.
        results: How each task ended, in the order of the file.
        scope: What the workflow's `output` refers to.
        schedule: By which schedule it was run.
        slots: How many calls were in flight at most; 0 for no limit.
        duration_ms: How long it took, milliseconds.
        stop: Why it was ended early, if it was.
        run_id: Its name.
        started_at: When it began.
        made_up: Of a dry run, where the outputs came from.
    """
    plan = workflow.plan
    durations = {task: result.duration_ms for task, result in results.items()}
    below = graphs.lengths_below(plan.graph, plan.generations, durations)
    sequential_ms, critical_path_ms = sum(durations.values()), max(below.values())
    output, fault = _output(plan, scope)
    return RunResult(
        run_id=run_id,
        workflow=workflow.name,
        status=stop.status if stop else _status(results),
        started_at=started_at,
        duration_ms=duration_ms,
        schedule=schedule,
        generations=plan.sorted_generations,
        sequential_ms=sequential_ms,
        critical_path_ms=critical_path_ms,
        speedup=sequential_ms / duration_ms if duration_ms else 1.0,
        other_schedule=_other_schedule(plan, schedule, durations, slots, critical_path_ms),
        output=output,
        error=stop.error if stop else fault,
        tasks=results,
        made_up=made_up,
    )


def _other_schedule(
    plan: Plan,
    schedule: Schedule,
    durations: Mapping[str, float],
    slots: int,
    critical_path_ms: float,
) -> dict[str, Any]:
    other = "dataflow" if schedule == "generations" else "generations"
    if other == "dataflow" and not slots:
        took_ms = critical_path_ms
    else:
        took_ms = graphs.makespan(
            plan.graph, plan.generations, durations, barrier=other == "generations", slots=slots
        )
    return {"schedule": other, "duration_ms": round(took_ms, 3)}


def _status(results: Mapping[str, TaskResult]) -> RunStatus:
    if all(_is_well(result.outcome) for result in results.values()):
        return "success"
    return "partial" if any(r.status == "success" for r in results.values()) else "failed"


def _is_well(outcome: Outcome) -> bool:
    match outcome:
        case Success():
            return True
        case Skipped():
            return outcome.by_condition
    return False


def _output(plan: Plan, scope: Scope) -> tuple[Any, TaskError | None]:
    """What the workflow's `output` gives, or by default the outputs of the last tasks by id."""
    if plan.output is None:
        return {task: scope.outputs[task] for task in plan.sinks if task in scope.outputs}, None
    try:
        return plan.output.resolve(scope), None
    except CallError as failure:
        error = failure.error
        message = f"the workflow's output could not be made: {error.message}"
        return None, TaskError(error.kind, message, error.retryable, error.details)
