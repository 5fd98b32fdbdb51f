"""Which task goes first where calls wait for a slot. This never changes the outcome of a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.workflow import graph as graphs
from orchestrator.workflow.plan import Plan

OTHERS = ""  # the id of no task


def priorities(plan: Plan, schedule: str, estimates: Mapping[str, float]) -> dict[str, float]:
    """The key that calls are sorted by, by task, smallest first; {} for the order of the file.

    Under `dataflow`, the task with the longest path below it goes first (critical-path list
    scheduling: Graham, 1969; by depth alone: Hu, 1961). Under `generations` nothing is below a task
    before its generation ends, so the longest task goes first (LPT: Graham, 1969).

    Args:
        plan: The tasks.
        schedule: `dataflow` or `generations`.
        estimates: What one call of a task is expected to take, seconds, by task. A missing task
            takes the median of the others; without estimates each takes 1.
    """
    each = weights(plan.tasks, estimates)
    if schedule == "dataflow":
        below = graphs.lengths_below(plan.graph, plan.generations, each)
        return {task: -length for task, length in below.items()}
    return {task: -seconds for task, seconds in (each or {}).items()}


def priorities_of_growing(estimates: Mapping[str, float]) -> dict[str, float]:
    """The same for tasks that come later: what is below one is not known when it starts.

    Those without an estimate have the key `OTHERS`.
    """
    each = weights((*estimates, OTHERS), estimates) or {}
    return {task: -seconds for task, seconds in each.items()}


def weights(tasks: Iterable[str], estimates: Mapping[str, float]) -> dict[str, float] | None:
    """What one call of each task takes, seconds; the median where unknown, None if all are."""
    known = {task: float(estimates[task]) for task in tasks if task in estimates}
    if not known:
        return None
    ranked = sorted(known.values())  # importing `statistics` takes longer than a cold start has
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    return {task: known.get(task, middle) for task in tasks}
