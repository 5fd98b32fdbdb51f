"""Warns of policies of one task that have no effect, contradict each other or may do harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted
from orchestrator.errors import RETRYABLE_KINDS, Code, Problem
from orchestrator.expressions.templates import Literal
from orchestrator.schema.tool import Tool
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan

IsForAll = Callable[[str, bool], bool]
"""Whether all workers together hold a lock: its name or the beginning of that, and which it is."""

# After these the server may have done what the call asks for.
_OUTCOME_UNKNOWN = frozenset({"timeout", "server_unavailable"})


def policy_warnings(
    task: TaskPlan, workflow: Workflow, tool: Tool | None, is_for_all: IsForAll
) -> Iterator[Problem]:
    """Warnings about the policies of a task, whose `tool` may be unknown."""
    yield from _retry(task, tool)
    yield from _limits(task, workflow)
    yield from _items(task, workflow)
    yield from _spread(task, workflow, is_for_all)
    yield from _times(task)
    yield from _locks(task)
    yield from _cache(task, tool)


def task_warning(
    code: Code, message: str, task: TaskPlan, *field: str | int, **more: Any
) -> Problem:
    """A warning about a field of a task, or about all of it."""
    at = pointer(*task.path, *field)
    return Problem(code, message, at, task.id, severity="warning", **more)


def _retry(task: TaskPlan, tool: Tool | None) -> Iterator[Problem]:
    retry = task.policies.retry
    if retry is None:
        return
    given = retry.model_fields_set  # a default contradicts nothing
    if retry.max_attempts == 1 and len(given) > 1:
        yield task_warning("means_nothing", "retry has no effect with one attempt", task, "retry")
    elif retry.initial_s > retry.max_s and {"initial_s", "max_s"} & given:
        message = f"initial_s ({retry.initial_s:g} s) is longer than max_s ({retry.max_s:g} s)"
        yield task_warning("contradiction", message, task, "retry")
    for kind in retry.on or ():
        if kind not in RETRYABLE_KINDS:
            message = f"an error of kind {kind} is never retried, as it would occur again"
            hint = f"only these kinds are retried: {', '.join(sorted(RETRYABLE_KINDS))}"
            yield task_warning("never_retried", message, task, "retry", "on", hint=hint)
    may_repeat = retry.on is None or not _OUTCOME_UNKNOWN.isdisjoint(retry.on)
    writes = tool is not None and tool.read_only is False and not tool.is_safe
    if writes and may_repeat and retry.max_attempts > 1:
        why = "an attempt with an unknown outcome (a timeout, a lost connection) may take effect"
        message = f"{task.target} writes and is not idempotent: {why} twice"
        hint = 'remove retry, or narrow it: "on": ["tool_error"]'
        yield task_warning("retry_of_a_writer", message, task, "retry", hint=hint)


def _limits(task: TaskPlan, workflow: Workflow) -> Iterator[Problem]:
    policies, most = task.policies, workflow.max_concurrency
    name, whole_s = "timeout_s of the whole run", workflow.timeout_s
    if task.generation is None:
        name, whole_s = "finally_timeout_s", workflow.finally_timeout_s
    if task.timeout_s is not None and whole_s is not None and whole_s < task.timeout_s:
        whole = f"{name} ({whole_s:g} s)"
        message = f"timeout_s ({task.timeout_s:g} s) is longer than {whole}"
        yield task_warning("contradiction", message, task, "timeout_s")
    if 0 < most < (policies.max_parallel or 0) and policies.for_each is not None:
        message = f"max_parallel has no effect above max_concurrency, which is {most}"
        yield task_warning("means_nothing", message, task, "max_parallel")
    if policies.critical and not isinstance(policies.fallback, CallTemplate | None):
        message = "critical has no effect: the task never fails, since its fallback is a value"
        yield task_warning("means_nothing", message, task, "critical")


def _items(task: TaskPlan, workflow: Workflow) -> Iterator[Problem]:
    policies, by_default = task.policies, workflow.defaults.on_item_error
    fields = {
        "max_parallel": policies.max_parallel,
        "spread": policies.spread or None,
        "item_when": policies.item_when,
        "item_fallback": policies.item_fallback,
        "on_item_error": None if policies.on_item_error == by_default else policies.on_item_error,
    }
    for field in (field for field, given in fields.items() if given is not None):
        if policies.for_each is None:
            message = f"{field} has no effect without for_each"
            yield task_warning("means_nothing", message, task, field)
        elif field == "item_when" and policies.item_when == Literal(False):
            message = "every item is skipped: item_when is false"
            yield task_warning("no_calls", message, task, field)


def _spread(task: TaskPlan, workflow: Workflow, is_for_all: IsForAll) -> Iterator[Problem]:
    """A task that one process carries whatever it says."""
    if not task.policies.spread or task.policies.for_each is None:
        return
    budget, why, hint = workflow.budget, "", ""
    known = (lock.known for lock in task.held_locks)
    own = next((each for each in known if not is_for_all(*each)), None)
    if task.generation is None:
        why = "finally runs where the run does"
    elif own is not None:
        name, is_whole = own
        which = quoted(name if is_whole else f"{name}...")
        why = f"one process holds lock {which} for its items"
        pattern = quoted(name if is_whole else f"{name}*")
        hint = f'have all workers hold it: [locks.{pattern}] with scope = "cluster" in servers.toml'
    elif budget is not None and (budget.calls is not None or budget.result_mb is not None):
        why = "one process counts what the budget bounds"
    if why:
        message = f"spread has no effect: {why}"
        yield task_warning("means_nothing", message, task, "spread", hint=hint)


def _times(task: TaskPlan) -> Iterator[Problem]:
    delay_s, deadline_s = task.policies.delay_s or 0.0, task.policies.deadline_s
    if deadline_s is not None and deadline_s <= delay_s and task.policies.for_each is None:
        limit = f"deadline_s ({deadline_s:g} s)"
        message = f"the task always fails: its {limit} is over before its delay_s ({delay_s:g} s)"
        yield task_warning("contradiction", message, task, "deadline_s")


def _locks(task: TaskPlan) -> Iterator[Problem]:
    policies = task.policies
    holds: dict[str, Hold] = {}
    for hold in filter(None, (lock.literal for lock in policies.locks)):
        first = holds.setdefault(hold.name, hold)
        if first != hold:
            both = {first.amount, hold.amount}
            is_mode = both == {"shared", "all"}
            wanted = "both shared and exclusive" if is_mode else f"{first.amount} and {hold.amount}"
            held = "held exclusively" if "all" in both else f"held: {hold.joined(first).amount}"
            message = f"lock {quoted(hold.name)} is {wanted}, and {held}"
            yield task_warning("contradiction", message, task, "locks")
    # Items with a shared lock, or with a lock of their own each, run in parallel.
    exclusive = next((name for name, hold in holds.items() if hold.is_exclusive), None)
    if exclusive is not None and policies.for_each is not None and (policies.max_parallel or 1) > 1:
        message = f"each item holds lock {quoted(exclusive)} exclusively, so one runs at a time"
        yield task_warning("contradiction", message, task, "max_parallel")


def _cache(task: TaskPlan, tool: Tool | None) -> Iterator[Problem]:
    cache = task.policies.cache
    is_silent = tool is not None and tool.read_only and tool.open_world is None
    if cache is not None and is_silent and not cache.open_world:
        why = "does not declare whether it reaches an open world, whose answers change"
        hint = 'if an old answer will do, write "open_world": true in cache'
        yield task_warning("not_cacheable", f"{task.target} {why}", task, "cache", hint=hint)
