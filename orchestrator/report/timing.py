"""What the calls of a workflow are expected to take, and so the run, under all limits. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any

from orchestrator.engine.priorities import weights
from orchestrator.report.call_counts import Count, count_calls
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server, locking_of
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

NOTHING: Mapping[str, float] = MappingProxyType({})
Times = Mapping[str, float]  # by task, seconds
Starts = tuple[int, float]  # how many may start in how many seconds


class Timing:
    """What the calls of a workflow are expected to take, and so the run, under all limits.

    Attributes:
        call_s: What one call of each task takes, seconds.
        calls: How many calls each task makes; of a number without a bound the least.
        unbounded: The tasks that may make more calls than that.
    """

    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        servers: Mapping[str, Server],
        calls: Mapping[str, Count],
        call_s: Mapping[str, float],
    ) -> None:
        self.call_s = call_s
        self.calls = {
            name: max(count.least, 1) if count.most is None else count.most
            for name, count in calls.items()
        }
        self.unbounded = {name for name, count in calls.items() if count.most is None}
        self._workflow, self._run_slots = workflow, workflow.max_concurrency
        self._pace_s: Times = NOTHING
        self._limits: dict[str, dict[tuple[str, ...], int]] = {}
        resources = locking_of(servers).resources
        self._rates: dict[str, list[tuple[str, Starts]]] = {}
        for name, task in workflow.plan.tasks.items():
            server = servers.get(task.server)
            self._limits[name] = dict(_limits(task, tools.get(task.target), server, resources))
            self._rates[name] = list(_rates(task, server))
            if self._run_slots:
                self._limits[name]["run",] = self._run_slots

    def measured(self, call_s: Times, pace_s: Times) -> Timing:
        """The same with what was measured in the run itself.

        Args:
            call_s: What one call of a task took.
            pace_s: How long after one call of a task the next one ended, wherever they are made.
        """
        found = copy(self)
        found.call_s, found._pace_s = {**self.call_s, **call_s}, pace_s
        return found

    def task_s(self, left: Mapping[str, float] | None = None) -> dict[str, float]:
        """The time of each task, seconds; `left`: how many calls it still makes, if not all."""
        return {name: self._task_s(name, number) for name, number in self._numbers(left)}

    def _task_s(self, name: str, number: float) -> float:
        if (pace_s := self._pace_s.get(name)) is not None:
            return pace_s * number
        width = min(self._limits[name].values(), default=number)
        return self.call_s[name] * (math.ceil(number / max(width, 1)) if number > 1 else number)

    def _numbers(self, left: Mapping[str, float] | None) -> Iterator[tuple[str, float]]:
        return ((name, (left or {}).get(name, number)) for name, number in self.calls.items())

    def run_s(self, schedule: str, left: Mapping[str, float] | None = None) -> float:
        """The time of the run by a schedule, or of what is left of it, seconds."""
        plan, run_slots = self._workflow.plan, self._run_slots
        busy_s: dict[tuple[str, ...], float] = defaultdict(float)
        starts: dict[tuple[str, Starts], float] = defaultdict(float)
        for name, number in self._numbers(left):
            # A pace tells what came of all limits, those of other processes too.
            for limit, slots in () if name in self._pace_s else self._limits[name].items():
                busy_s[limit] += self.call_s[name] * number / slots
            for rate in self._rates[name]:
                starts[rate] += number
        rates = (_spread_s(rate, number) for (_, rate), number in starts.items())
        least_s = max([*busy_s.values(), *rates], default=0.0)
        slots = run_slots if run_slots < len(plan.tasks) else 0  # no limit is simulated much faster
        task_s, barrier = self.task_s(left), schedule == "generations"
        took_s = sum(
            graphs.makespan(part.graph, part.generations, task_s, barrier=barrier, slots=slots)
            for part in plan.stages
        )
        return max(took_s, least_s)


def timing(
    workflow: Workflow,
    servers: Mapping[str, Server],
    inputs: Mapping[str, Any],
    estimates: Mapping[str, float],
    typical: Mapping[str, float] = NOTHING,
) -> Timing | None:
    """What a run is expected to take; None if nothing is known. The arguments are as of `forecast`.

    `typical` has how many calls a task made in earlier runs; it counts where the file does not tell
    the number.

    Raises:
        WorkflowError: A given input is unknown or does not fit its schema.
    """
    call_s = weights(workflow.plan.tasks, estimates)
    if call_s is None:
        return None
    counts = count_calls(workflow, {}, inputs)
    for name, count in counts.items():
        is_repeat = workflow.plan.tasks[name].policies.repeat is not None
        if name in typical and (is_repeat or count.least != count.most):
            counts[name] = Count(number := round(typical[name]), number)
        elif is_repeat:  # up to so many times, and most often fewer
            counts[name] = Count(count.least, None)
    return Timing(workflow, {}, servers, counts, call_s)


def _limits(
    task: TaskPlan, tool: Tool | None, server: Server | None, resources: Mapping[str, int]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """The limits on calls in flight that hold for a task: what each limits, and to how many."""
    if task.policies.max_parallel is not None:
        yield ("task", task.id), task.policies.max_parallel
    for lock in task.policies.locks:
        hold = lock.literal
        if hold is not None and hold.number is not None:
            yield ("lock", hold.name), max(resources.get(hold.name, 1) // hold.number, 1)
        elif hold is not None and hold.is_exclusive:
            yield ("lock", hold.name), 1
        # One whose name reads the item is most likely another lock for each item.
        elif not lock.shared and not lock.of_item:
            yield ("lock", task.id, "name"), 1
    if server is None:
        return
    if isinstance(server.max_concurrency, int):
        yield ("server", task.server), server.max_concurrency
    if server.writes == "serial" and tool is not None and tool.read_only is False:
        yield ("writes", task.server), 1
    pattern, limited = server.settings_of(task.tool)
    if limited.max_concurrency is not None:
        yield ("tool", task.server, pattern), limited.max_concurrency


def _rates(task: TaskPlan, server: Server | None) -> Iterator[tuple[str, Starts]]:
    """The rates that hold for a task: what each limits, and to how many starts in how long."""
    if server is None:
        return
    if server.rate_limit is not None:
        yield task.server, server.rate_limit
    pattern, limited = server.settings_of(task.tool)
    if limited.rate_limit is not None:
        yield f"{task.server}:{pattern}", limited.rate_limit


def _spread_s(starts: Starts, number: float) -> float:
    """How long a rate spreads so many starts, seconds."""
    count, seconds = starts  # the first `count` calls start at once
    return max(math.ceil(number / count) - 1, 0) * seconds
