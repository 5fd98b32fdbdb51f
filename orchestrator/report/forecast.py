"""What a plan will do: its calls, critical path, effects, servers and expected time.

Every function is pure and O(n + e). What is not known is None or has no bound; nothing is guessed.
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.priorities import weights
from orchestrator.report.call_counts import Count, count_calls, total
from orchestrator.report.effects import RISKS, Effects, Risk, effects_of
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan, waves

if TYPE_CHECKING:
    from orchestrator.servers.config import Server


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """What one task will do.

    Attributes:
        task: The task.
        calls: How many calls of its tool it makes, without retries.
        effects: What each tool that it may call declares, by `server:tool`: its own, then that of
            its fallback.
        timeout_s: The limit of one attempt, seconds; None if it is not known.
        seconds: The expected time of all its calls; None if no times are known.
        slack: How much longer it could take without making the longest path longer, in the unit of
            `Forecast.length`.
        critical: Whether it is on the critical path.
    """

    task: TaskPlan
    calls: Count
    effects: Mapping[str, Effects]
    timeout_s: float | None
    seconds: float | None
    slack: float
    critical: bool

    @property
    def attempts(self) -> int:
        """How often each call is tried at most."""
        retry = self.task.policies.retry
        return 1 if retry is None else retry.max_attempts

    @property
    def fallback(self) -> str | None:
        """The tool of its fallback, `server:tool`."""
        fallback = self.task.policies.fallback
        return fallback.target if isinstance(fallback, CallTemplate) else None

    @property
    def risk(self) -> Risk:
        """The greatest risk of the tools that it may call."""
        return max((effects.risk for effects in self.effects.values()), key=RISKS.index)

    @property
    def is_open(self) -> bool:
        """Whether it may call an open-world tool."""
        return any(effects.open_world for effects in self.effects.values())

    @property
    def times(self) -> str:
        """The number of its calls where that is not 1, as ` x 3`."""
        return "" if self.calls.least == self.calls.most == 1 else f" x {self.calls}"


@dataclass(frozen=True, slots=True)
class ServerForecast:
    """A server that will be started.

    Attributes:
        name: Its name.
        first: Whether it starts at once; the others start when the first ones are ready.
        generation: The first generation that needs it, from 0.
        settings: Its configuration; None if that is not known.
    """

    name: str
    first: bool
    generation: int
    settings: Server | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a workflow will do.

    Attributes:
        workflow: The workflow.
        tasks: What each task will do, by id, in the order of the file.
        servers: The servers that will be started, in that order.
        critical_path: The tasks with calls on the longest path; of several, the first in the file.
        length: The length of that path: in seconds if times are known, else in tasks.
        measured: For how many tasks a time is known.
        seconds: The expected time of the run by each schedule, without the start of servers; None
            if no times are known.
    """

    workflow: Workflow
    tasks: Mapping[str, TaskForecast]
    servers: tuple[ServerForecast, ...]
    critical_path: tuple[str, ...]
    length: float
    measured: int
    seconds: Mapping[Schedule, float] | None

    @property
    def calls(self) -> Count:
        """The calls of all tasks, without retries."""
        return total([task.calls for task in self.tasks.values()])

    @property
    def ceiling(self) -> int | None:
        """The most calls with every retry and fallback; None if there is no bound.

        A call that is lost with its connection may be repeated once more.
        """
        most = 0
        for task in self.tasks.values():
            if task.calls.most is None:
                return None
            if task.calls.most:
                most += task.calls.most * task.attempts + (task.fallback is not None)
        return most


def forecast(
    workflow: Workflow,
    tools: Mapping[str, Tool] | None = None,
    servers: Mapping[str, Server] | None = None,
    inputs: Mapping[str, Any] | None = None,
    estimates: Mapping[str, float] | None = None,
) -> Forecast:
    """What a workflow will do.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`.
        servers: The settings of the known servers, by name.
        inputs: The inputs that were given; defaults are used for the others.
        estimates: The expected time of one call of a task, seconds, by task. A task that is missing
            takes the median of the others.
    """
    plan, tools, servers, estimates = workflow.plan, tools or {}, servers or {}, estimates or {}
    calls = count_calls(workflow, tools, inputs or {})
    call_s = weights(plan.tasks, estimates)
    load = None if call_s is None else _Load(workflow, tools, servers, calls, call_s)
    task_s = load.task_s if load else {}
    steps = {name: float(count.most != 0) for name, count in calls.items()}
    longest_path, length, slack = _longest_path(plan, task_s or steps)
    path = dict.fromkeys(name for name in longest_path if steps[name])
    tasks = {}
    for name, task in plan.tasks.items():
        effects = {each.target: effects_of(tools.get(each.target)) for each in task.targets}
        timeout_s = _timeout_s(task, servers.get(task.server))
        times = timeout_s, task_s.get(name), slack[name]
        tasks[name] = TaskForecast(task, calls[name], effects, *times, name in path)
    return Forecast(
        workflow,
        tasks,
        _servers(plan, servers),
        tuple(path),
        length,
        len(estimates.keys() & plan.tasks.keys()),
        load.run_s() if load else None,
    )


def _longest_path(
    plan: Plan, lengths: Mapping[str, float]
) -> tuple[list[str], float, dict[str, float]]:
    """The longest path by the length of each task, its length, and the slack of each task."""
    below = graphs.lengths_below(plan.graph, plan.generations, lengths)
    above = graphs.lengths_above(plan.graph, plan.generations, lengths)
    longest = max(below.values())
    slack = {name: max(round(longest - above[name] - below[name], 9), 0.0) for name in below}
    path: list[str] = []
    ready = plan.generations[0]
    while ready:
        path.append(min(ready, key=lambda name: (-below[name], plan.tasks[name].index)))
        ready = list(plan.graph.successors(path[-1]))
    return path, longest, slack


def _timeout_s(task: TaskPlan, server: Server | None) -> float | None:
    return server.timeout_s if task.timeout_s is None and server is not None else task.timeout_s


def _servers(plan: Plan, servers: Mapping[str, Server]) -> tuple[ServerForecast, ...]:
    first, later = waves(plan)
    generations = dict.fromkeys(first, 0) | later
    return tuple(
        ServerForecast(name, name in first, generation, servers.get(name))
        for name, generation in generations.items()
        if not servers or name in servers  # an unknown server is an error of its own
    )


class _Load:
    """How long the calls take under the limits of the run and of its servers.

    Attributes:
        task_s: The time of each task, seconds.
    """

    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        servers: Mapping[str, Server],
        calls: Mapping[str, Count],
        call_s: Mapping[str, float],
    ) -> None:
        self.task_s: dict[str, float] = {}
        self._workflow = workflow
        self._least_s = 0.0
        busy_s: dict[tuple[str, ...], float] = defaultdict(float)
        starts: dict[str, int] = defaultdict(int)
        for name, task in workflow.plan.tasks.items():
            least, most = calls[name].least, calls[name].most
            # Without an upper bound the time is a lower bound, which the text says.
            number = max(least, 1) if most is None else most
            limits = dict(_limits(task, tools.get(task.target), servers.get(task.server)))
            if workflow.max_concurrency:
                limits["run",] = workflow.max_concurrency
            for limit, slots in limits.items():
                busy_s[limit] += call_s[name] * number / slots
            width = min([*limits.values(), *_own_limits(task)], default=number)
            self.task_s[name] = call_s[name] * math.ceil(number / max(width, 1))
            starts[task.server] += number
        rates = (_rate_s(servers.get(name), number) for name, number in starts.items())
        self._least_s = max(*busy_s.values(), *rates, 0.0)

    def run_s(self) -> dict[Schedule, float]:
        """The time of the run by each schedule, seconds: at least what each limit requires."""
        plan, slots = self._workflow.plan, self._workflow.max_concurrency
        slots = slots if slots < len(plan.tasks) else 0  # no limit is simulated much faster
        graph, order = plan.graph, plan.generations
        by_generations = graphs.makespan(graph, order, self.task_s, barrier=True, slots=slots)
        by_dataflow = graphs.makespan(graph, order, self.task_s, barrier=False, slots=slots)
        return {
            "generations": max(by_generations, self._least_s),
            "dataflow": max(by_dataflow, self._least_s),
        }


def _limits(
    task: TaskPlan, tool: Tool | None, server: Server | None
) -> Iterator[tuple[tuple[str, ...], int]]:
    """The limits on calls in flight that a task shares with others: what they limit, how many."""
    if server is None:
        return
    if isinstance(server.max_concurrency, int):
        yield ("server", task.server), server.max_concurrency
    if server.writes == "serial" and tool is not None and tool.read_only is False:
        yield ("writes", task.server), 1
    for pattern, limited in server.tools.items():
        if fnmatch.fnmatchcase(task.tool, pattern):
            yield ("tool", task.server, pattern), limited.max_concurrency
            return


def _own_limits(task: TaskPlan) -> Iterator[int]:
    if task.policies.max_parallel is not None:
        yield task.policies.max_parallel
    # A lock whose name reads the item is most likely another lock for each item.
    if any(not lock.shared and not lock.of_item for lock in task.policies.locks):
        yield 1


def _rate_s(server: Server | None, number: int) -> float:
    """How long the rate of a server spreads the starts of so many calls, seconds."""
    if server is None or server.starts is None or not number:
        return 0.0
    count, seconds = server.starts  # the first `count` calls start at once
    return (math.ceil(number / count) - 1) * seconds
