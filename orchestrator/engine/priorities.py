"""Which task goes first where calls wait for a slot, of the run or of their server.

The rule of this file: pure functions of the graph and of what its tasks are expected to take, O(n)
but for a median. Nothing here changes what becomes of a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.workflow import graph as graphs
from orchestrator.workflow.plan import Plan


def priorities(plan: Plan, schedule: str, estimates: Mapping[str, float]) -> dict[str, float]:
    """What the calls of each task are sorted by, the smaller first; {} for the order of the file.

    Under `dataflow`, the task with the longest path below it goes first (critical-path list
    scheduling: Graham, 1969; by depth alone: Hu, 1961). Under `generations` nothing is below a task
    before the generation ends, so that the longest task goes first (LPT: Graham, 1969).

    Args:
        plan: The tasks.
        schedule: `dataflow` or `generations`.
        estimates: What one call of a task is expected to take, seconds, by task. A task that is
            missing takes the median of the others; if none is known, each takes 1.
    """
    each = weights(plan.tasks, estimates)
    if schedule == "dataflow":
        below = graphs.lengths_below(plan.graph, plan.generations, each)
        return {task: -length for task, length in below.items()}
    return {task: -seconds for task, seconds in (each or {}).items()}


def weights(tasks: Iterable[str], estimates: Mapping[str, float]) -> dict[str, float] | None:
    """What one call of each task takes, seconds; the median of the others where that is not known.

    None if it is known of no task.
    """
    known = {task: float(estimates[task]) for task in tasks if task in estimates}
    if not known:
        return None
    middle = _median(known.values())
    return {task: known.get(task, middle) for task in tasks}


def _median(values: Iterable[float]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
