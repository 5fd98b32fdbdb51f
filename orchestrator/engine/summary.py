"""What a run has come to: the results so far, and at its end the status, the times, the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from orchestrator.documents.text import counted, listed, quoted
from orchestrator.engine.items import calls_ms
from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success, Waiting
from orchestrator.engine.result import (
    EndReason,
    RunResult,
    RunStatus,
    TaskResult,
)
from orchestrator.engine.settings import RunSettings
from orchestrator.engine.settled import Settled
from orchestrator.errors import CallError, TaskError
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.inner import WORKFLOW
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan

Whose = Literal["workflow", "operator"]
"""Who has set a budget."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends early, and the outcome of tasks that have not begun."""

    reason: EndReason | None
    status: RunStatus
    error: TaskError | None
    not_begun: Skipped | Cancelled | Waiting

    @classmethod
    def paused(cls) -> Self:
        """The stop of a run that waits for answers, and that another process goes on with."""
        return cls(None, "paused", None, Waiting())

    @property
    def is_pause(self) -> bool:
        """Whether the run goes on later, so that nothing has ended."""
        return self.status == "paused"

    @classmethod
    def cancelled(cls, reason: str) -> Self:
        """The stop of a run that is cancelled."""
        error = TaskError("cancelled", reason, retryable=False)
        return cls("cancelled", "cancelled", error, Cancelled(reason))

    @classmethod
    def late(cls, limit_s: float, what: str) -> Self:
        """The stop of what has reached its time limit."""
        reason = f"{what} of {limit_s:g} s"
        error = TaskError("timeout", reason, retryable=True, details={"timeout_s": limit_s})
        return cls("timeout", "cancelled", error, Cancelled(reason))

    @classmethod
    def spent(cls, name: str, limit: float, whose: Whose, inner: str | None = None) -> Self:
        """The stop of a run, or of a workflow inside, that needs more than its budget has."""
        needed = {
            "calls": f"needs more than {counted(int(limit), 'call')}",
            "minutes": f"takes more than {limit:g} min",
            "result_mb": f"has answers of more than {limit:g} MB in memory",
        }
        of = "its budget" if inner is None else f"the budget of workflow {quoted(inner)}"
        reason = f"the run {needed[name]}, which is {of}"
        of_workflow = whose == "workflow"
        fix = f"budget.{name}" if of_workflow else f"{name} of [budget] in servers.toml"
        if inner is not None:
            fix += " of that workflow"
        details = {name: limit, "budget": whose}
        error = TaskError("budget", f"{reason}: raise {fix}", False, details)
        return cls("budget", "failed", error, Skipped(reason))

    @classmethod
    def spent_by_finally(cls, name: str, limit: float) -> Self:
        """The stop of a run whose `finally` needs more than its operator grants for that."""
        needed = {
            "calls": f"need more than {counted(int(limit), 'call')}",
            "minutes": f"take more than {limit:g} min",
            "result_mb": f"have answers of more than {limit:g} MB in memory",
        }
        reason = f"the tasks of finally {needed[name]}, which is the operator's budget for them"
        message = f"{reason}: raise {name} of [budget] in servers.toml"
        error = TaskError("budget", message, False, {name: limit, "budget": "operator"})
        # Here too, since the error of the run may be that which has ended its tasks before.
        return cls("budget", "failed", error, Skipped(message))

    @classmethod
    def lost(cls, processes: Sequence[str]) -> Self:
        """The stop of a run whose processes failed one after the other, and nothing settled."""
        reason = f"{counted(len(processes), 'worker')} failed while they carried it"
        fix = "see what it does to them, such as answers that take all memory of a machine"
        message = f"{reason}, and nothing of it settled: {listed(processes, 10)}; {fix}"
        error = TaskError("internal", message, False, {"lost": list(processes)})
        return cls(None, "failed", error, Skipped(f"the run has failed: {reason}"))

    @classmethod
    def full(cls, max_run_mb: int) -> Self:
        """The stop of a run whose answers take more memory than that."""
        reason = f"the answers of the run take more than {max_run_mb:,} MB of memory"
        fix = "raise max_run_mb (--max-run-mb), or ask the tools for less"
        error = TaskError("budget", f"{reason}: {fix}", False, {"max_run_mb": max_run_mb})
        return cls("budget", "failed", error, Skipped(reason))


def stop_after(workflow: Workflow, result: TaskResult) -> Stop | None:
    """Why the run ends with a task that has settled; None if it goes on."""
    policies = workflow.plan.tasks[result.id].policies
    outcome, end_run = result.outcome, policies.end_run
    if isinstance(outcome, Failure) and (policies.critical or workflow.on_error == "fail_fast"):
        why = "it is critical" if policies.critical else "on_error is fail_fast"
        reason = f"task {quoted(result.id)} failed, and {why}"
        word: EndReason = "critical" if policies.critical else "fail_fast"
        return Stop(word, "failed", outcome.error, Skipped(reason))
    if isinstance(outcome, Success) and end_run is not None:
        reason = f"task {quoted(result.id)} ended the run (end_run is {end_run})"
        error = None if end_run == "success" else TaskError("cancelled", reason, retryable=False)
        return Stop("end_run", end_run, error, Skipped(reason))
    return None


def summarize(
    workflow: Workflow,
    settled: Settled,
    settings: RunSettings,
    *,
    startup_ms: Mapping[str, float],
    slots: int,
    duration_ms: float,
    stop: Stop | None,
    made_up: Mapping[str, MadeUp] | None,
) -> RunResult:
    """The result of a run in which every task has settled; `slots` is 0 if it had no limit."""
    plan, schedule = workflow.plan, settings.schedule or workflow.schedule
    results = {task: settled.results[task] for task in plan.tasks}
    durations = {task: result.duration_ms for task, result in results.items()}
    sequential_ms = sum(map(calls_ms, results.values()))
    critical_path_ms = sum(_longest_path(stage, durations) for stage in plan.stages)
    stop = _cut_short(stop, results)
    status, output, error = _ending(plan, settled, results, stop)
    speedup = sequential_ms / duration_ms if duration_ms else 1.0
    return RunResult(
        run_id=settings.run_id,
        workflow=workflow.name,
        status=status,
        started_at=settings.started_at,
        duration_ms=duration_ms,
        schedule=schedule,
        generations=plan.sorted_generations,
        edges=plan.edges,
        sequential_ms=sequential_ms,
        critical_path_ms=critical_path_ms,
        # What was not called took no time: such a run would seem to be a slow one.
        speedup=None if status in ("cancelled", "paused") else speedup,
        other_schedule=_other_schedule(plan, schedule, durations, slots, critical_path_ms),
        output=output,
        reason=None if stop is None else stop.reason,
        error=error,
        tasks=results,
        made_up=made_up,
        startup_ms=dict(startup_ms),
    )


def _longest_path(stage: Plan, durations: Mapping[str, float]) -> float:
    return max(
        graphs.lengths_below(stage.graph, stage.generations, durations).values(), default=0.0
    )


def _ending(
    plan: Plan, settled: Settled, results: Mapping[str, TaskResult], stop: Stop | None
) -> tuple[RunStatus, Any, TaskError | None]:
    """The status, the output, and why the run ended early or has no output."""
    output, fault = settled.output
    if stop is not None and stop.is_pause:
        return stop.status, output, None
    error = fault if stop is None or stop.error is None else stop.error
    return _status(plan, results, stop), output, error


def output_of(workflow: Workflow, settled: Settled, stop: Stop | None) -> Any:
    """The output of a workflow that a task ran.

    Raises:
        CallError: It failed: with the error that ended it, or the first one in the file.
    """
    results = {task: settled.results[task] for task in workflow.plan.tasks}
    stop = _cut_short(stop, results)
    status, output, error = _ending(workflow.plan, settled, results, stop)
    failed = [each for each in results.values() if isinstance(each.outcome, Failure)]
    if failed and (error is None or stop is None):  # it tells why there is no output
        error = failed[0].error
    if error is None:
        return output
    where, details = "", {**error.details, "status": status}
    for task in failed:
        if task.error is error:  # the first, or the one that has ended the run
            where, details["task"] = f" in task {quoted(task.id)}", task.id
    failure = CallError(error.kind, f"{WORKFLOW}:{workflow.name} failed{where}: {error.message}")
    failure.error = replace(failure.error, retryable=error.retryable, details=details)
    raise failure


def _cut_short(stop: Stop | None, results: Mapping[str, TaskResult]) -> Stop | None:
    """Why a run ended early; one that was cancelled or paused after its last task did not."""
    if stop is None or stop.status not in ("cancelled", "paused") or not results:
        return stop
    cut_short = (Cancelled, Waiting)
    return stop if any(isinstance(each.outcome, cut_short) for each in results.values()) else None


def _other_schedule(
    plan: Plan,
    schedule: Schedule,
    durations: Mapping[str, float],
    slots: int,
    critical_path_ms: float,
) -> dict[str, Any]:
    other = "dataflow" if schedule == "generations" else "generations"
    # Without a limit dataflow takes as long as the critical path: nothing to simulate.
    if other == "dataflow" and not slots:
        took_ms = critical_path_ms
    else:
        barrier = other == "generations"
        took_ms = sum(
            graphs.makespan(part.graph, part.generations, durations, barrier=barrier, slots=slots)
            for part in plan.stages
        )
    return {"schedule": other, "duration_ms": round(took_ms, 3)}


def _status(plan: Plan, results: Mapping[str, TaskResult], stop: Stop | None) -> RunStatus:
    status = _status_of([results[task].outcome for task in plan.graph], stop)
    if plan.finally_ is None or status != "success":
        return status
    last = (results[task].outcome for task in plan.finally_.graph)
    return status if all(map(_is_well, last)) else "partial"


def _status_of(outcomes: Sequence[Outcome], stop: Stop | None) -> RunStatus:
    if stop is None and all(map(_is_well, outcomes)):
        return "success"
    statuses = {outcome.status for outcome in outcomes}
    # What a task that ends the run as a success cuts short is as it should be.
    if stop is not None and (stop.status != "success" or "error" not in statuses):
        return stop.status
    if all(map(_is_well, outcomes)):
        return "success"
    # A run in which nothing failed has not failed: it stopped short behind a condition.
    return "failed" if "error" in statuses and "success" not in statuses else "partial"


def _is_well(outcome: Outcome) -> bool:
    match outcome:
        case Success():
            return True
        case Skipped():
            return outcome.by_condition
    return False
