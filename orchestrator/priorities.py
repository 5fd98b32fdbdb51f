"""Which task goes first where calls wait for a slot, of the run or of their server.

The rule of this file: pure functions of the graph and of what its tasks are expected to take, O(n)
but for a median. Nothing here changes what becomes of a task.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

from orchestrator import graph as graphs
from orchestrator.errors import Problem, nearest, pointer
from orchestrator.planning import Plan


def problems_of_estimates(tasks: Iterable[str], estimates: Mapping[str, float]) -> list[Problem]:
    """What is wrong with a caller's estimates: tasks that are not there, times that are none."""
    return list(_problems(list(tasks), estimates)) if estimates else []


def _problems(tasks: list[str], estimates: Mapping[str, float]) -> Iterator[Problem]:
    known = set(tasks)
    for task, seconds in estimates.items():
        path = pointer("estimates", task)
        if task not in known:
            near = nearest(str(task), tasks)
            yield Problem("unknown_task", f"there is no task {task!r}", path, None, near)
        elif not _is_a_time(seconds):
            message = f"an estimate has to be a number of seconds from 0 on, not {seconds!r}"
            yield Problem("wrong_value", message, path, task)


def _is_a_time(seconds: object) -> bool:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return is_number and 0 <= seconds <= sys.float_info.max  # type: ignore[operator]


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
