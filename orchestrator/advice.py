"""What is allowed in a workflow, and most likely not meant.

The rule of this file: pure functions; each warning says what to write instead. What is wrong is in
`checking`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from orchestrator import graph as graphs
from orchestrator.calls import Tool
from orchestrator.contradictions import contradictions, tasks_that_never_run
from orchestrator.errors import RETRYABLE_KINDS, Problem, pointer
from orchestrator.lookalikes import lookalikes
from orchestrator.planning import TaskPlan
from orchestrator.templates import Literal
from orchestrator.workflow import Workflow

# Whether two tasks can run at the same time is looked up in the graph for no more than so many
# tasks of a server; of more it is assumed.
MAX_LOOKUPS = 200
_OUTCOME_UNKNOWN = frozenset({"timeout", "server_unavailable"})


def warnings_of(
    workflow: Workflow, tools: Mapping[str, Tool], serial: Collection[str] = ()
) -> list[Problem]:
    """Everything that is worth a second look.

    Args:
        workflow: What is to be run.
        tools: Each tool that is known, by `server:tool`; may be empty.
        serial: The servers that take one call at a time.
    """
    found = [
        *tasks_that_never_run(workflow),
        *contradictions(workflow),
        *lookalikes(workflow),
        *(problem for task in workflow.plan.tasks.values() for problem in _of_retry(task, tools)),
        *_unannotated(workflow, tools, serial),
    ]
    return [replace(problem, severity="warning") for problem in found]


def _of_retry(task: TaskPlan, tools: Mapping[str, Tool]) -> Iterator[Problem]:
    retry, tool = task.policies.retry, tools.get(task.target)
    if retry is None:
        return
    for kind in retry.on or ():
        if kind not in RETRYABLE_KINDS:
            message = f"an error of kind {kind} is never retried: it would come again"
            near = tuple(sorted(RETRYABLE_KINDS))
            yield Problem("never_retried", message, _at(task, "retry", "on"), task.id, near)
    unknown = retry.on is None or not _OUTCOME_UNKNOWN.isdisjoint(retry.on)
    writes = tool is not None and tool.read_only is False and not tool.idempotent
    if writes and unknown and retry.max_attempts > 1:
        message = (
            f"{task.target} declares that it writes and is not idempotent: an attempt whose "
            "outcome is unknown (a timeout, a lost connection) may be carried out twice"
        )
        hint = 'leave retry out, or narrow it: "on": ["tool_error"]'
        yield Problem("retry_of_a_writer", message, _at(task, "retry"), task.id, (), hint)


def _unannotated(
    workflow: Workflow, tools: Mapping[str, Tool], serial: Collection[str]
) -> Iterator[Problem]:
    """Tools that do not say whether they write, where calls of one server may overlap."""
    by_server: dict[str, list[TaskPlan]] = defaultdict(list)
    names: dict[str, set[str]] = defaultdict(set)
    for task, target, _ in workflow.plan.calls:
        tool = tools.get(target.target)
        if tool is not None and tool.read_only is None and target.server not in serial:
            by_server[target.server].append(task)
            names[target.server].add(target.target)
    if workflow.max_concurrency == 1:
        return
    for server, tasks in by_server.items():
        if not _share_a_lock(tasks) and _overlap(workflow, tasks):
            silent = ", ".join(sorted(names[server]))
            message = (
                f"on server {server!r} calls of {silent} may run at the same time, and these tools "
                "do not say whether they write"
            )
            hint = f"if they do: max_concurrency = 1 for [servers.{server}], or a lock on the tasks"
            yield Problem("unannotated_tools", message, "", None, (), hint)


def _share_a_lock(tasks: list[TaskPlan]) -> bool:
    """Whether all of them hold one name, so that they take turns."""
    held = [
        {
            lock.name.value
            for lock in task.policies.locks
            if isinstance(lock.name, Literal) and not lock.shared
        }
        for task in tasks
    ]
    return bool(set.intersection(*held))


def _overlap(workflow: Workflow, tasks: list[TaskPlan]) -> bool:
    """Whether any two of these tasks, or two items of one, may run at the same time."""
    if any(task.policies.for_each is not None for task in tasks):
        return True
    generations = [task.generation for task in tasks]
    if len(set(generations)) < len(generations):
        return True
    if workflow.schedule == "generations":
        return False
    ordered = [task.id for task in sorted(tasks, key=lambda task: task.generation)]
    return len(tasks) > MAX_LOOKUPS or not graphs.is_chain(workflow.plan.graph, ordered)


def _at(task: TaskPlan, *steps: str) -> str:
    return pointer("tasks", task.index, *steps)
