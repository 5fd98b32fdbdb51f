"""Policies that contradict each other, and tasks that can never run.

The rule of this file: pure functions over a plan, without its tools; everything here is a warning,
since a run of such a plan does exactly what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.codes import Code
from orchestrator.errors import Problem, pointer
from orchestrator.planning import Target, TaskPlan
from orchestrator.templates import Literal
from orchestrator.workflow import Workflow


def tasks_that_never_run(workflow: Workflow) -> Iterator[Problem]:
    """Each task that is skipped whatever happens, with the reason."""
    plan = workflow.plan
    reasons: dict[str, str] = {}
    for generation in plan.generations:
        for name in generation:
            task = plan.tasks[name]
            if (reason := _why_never(task, workflow, reasons)) is not None:
                field, reasons[name] = reason
                message = f"the task never runs: {reasons[name]}"
                at = pointer("tasks", task.index, *([field] if field else []))
                yield Problem("never_runs", message, at, name, severity="warning")


def _why_never(
    task: TaskPlan, workflow: Workflow, never: Mapping[str, str]
) -> tuple[str, str] | None:
    """The field that keeps a task from running, and why; None if it may run."""
    policies, needs = task.policies, task.dependencies
    idle = [name for name in needs if name in never]
    match policies.run_if:
        case "all_success" if idle:
            return "", f"its dependency {idle[0]!r} never does"
        case "any_success" | "any_failed" if not needs:
            return "run_if", f"run_if is {policies.run_if}, and it depends on nothing"
        case "any_success" | "any_failed" if len(idle) == len(needs):
            return "run_if", f"run_if is {policies.run_if}, and none of its dependencies ever runs"
        case "any_failed" if workflow.on_error == "fail_fast":
            return "run_if", "run_if is any_failed, and under fail_fast a failure ends the run"
        case "any_failed" if all(_ends_the_run(workflow, name) for name in needs):
            return "run_if", "run_if is any_failed, and the failure of a critical task ends the run"
    if policies.when == Literal(False):
        return "when", "its condition is false"
    return None


def _ends_the_run(workflow: Workflow, task: str) -> bool:
    return workflow.plan.tasks[task].policies.critical


def contradictions(workflow: Workflow) -> Iterator[Problem]:
    """Each policy that another one makes meaningless, or that cannot be met."""
    for task in workflow.plan.tasks.values():
        for code, field, message in (
            *_of_retry(task),
            *_of_limits(task, workflow),
            *_of_locks(task),
        ):
            at = pointer("tasks", task.index, field)
            yield Problem(code, message, at, task.id, severity="warning")


_Contradiction = tuple[Code, str, str]


def _of_retry(task: TaskPlan) -> Iterator[_Contradiction]:
    retry = task.policies.retry
    if retry is None:
        return
    given = retry.model_fields_set
    if retry.max_attempts == 1 and len(given) > 1:
        yield "means_nothing", "retry", "one attempt in all means that nothing is retried"
    elif retry.initial_s > retry.max_s and {"initial_s", "max_s"} & given:
        message = f"the first wait, {retry.initial_s:g} s, is longer than the longest, "
        yield "contradiction", "retry", f"{message}{retry.max_s:g} s"


def _of_limits(task: TaskPlan, workflow: Workflow) -> Iterator[_Contradiction]:
    policies, limit = task.policies, workflow.max_concurrency
    if task.timeout_s is not None and (workflow.timeout_s or task.timeout_s) < task.timeout_s:
        message = f"an attempt may take {task.timeout_s:g} s, and the whole run "
        yield "contradiction", "timeout_s", f"{message}{workflow.timeout_s:g} s"
    if policies.max_parallel is not None:
        if policies.for_each is None:
            yield "means_nothing", "max_parallel", "max_parallel means nothing without for_each"
        elif 0 < limit < policies.max_parallel:
            message = f"the run has no more than {limit} calls in flight (max_concurrency)"
            yield "means_nothing", "max_parallel", message
    stands_in = policies.fallback is not None and not isinstance(policies.fallback, Target)
    if policies.critical and stands_in:
        message = "the task never fails, since its fallback is a value: critical means nothing"
        yield "means_nothing", "critical", message


def _of_locks(task: TaskPlan) -> Iterator[_Contradiction]:
    policies = task.policies
    modes: dict[str, bool] = {}
    for lock in policies.locks:
        if not isinstance(lock.name, Literal):
            continue
        name = str(lock.name.value)
        if modes.setdefault(name, lock.shared) is not lock.shared:
            message = f"the lock {name!r} is both shared and exclusive: it is held exclusively"
            yield "contradiction", "locks", message
    alone = policies.for_each is not None and not all(modes.values())
    if alone and policies.max_parallel is not None and policies.max_parallel > 1:
        name = next(name for name, shared in modes.items() if not shared)
        message = f"each item holds the lock {name!r} alone, so one runs at a time"
        yield "contradiction", "max_parallel", message
