"""What a plan will do: its calls, critical path, effects, servers and expected time.

Pure, and O(n + e). What is not known is None or has no bound; nothing is guessed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.priorities import weights
from orchestrator.report.call_counts import Count, count_calls
from orchestrator.report.effects import RISKS, Effects, Risk, effects_of
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan, waves

if TYPE_CHECKING:
    from orchestrator.servers.config import Server

Starts = tuple[int, float]  # how many may start in how many seconds


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """What one task will do."""

    task: TaskPlan
    calls: Count  # of its own tool
    effects: Mapping[str, Effects]  # of its own tool, then of that of its fallback
    seconds: float | None  # expected for all its calls; None if no times are known
    critical: bool
    inner: Forecast | None = None  # of the workflow that it runs
    description: str = ""  # for people, as in the file

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
        risks = (effects.risk for effects in self.effects.values())
        return max(risks, key=RISKS.index, default=RISKS[0])

    @property
    def does(self) -> str:
        """What its own tool does, in a word or two; what a task without a tool does."""
        own = self.effects.get(self.task.target)
        if self.inner is not None:  # the word of what is riskiest inside
            words = {each.risk: each.word for each in self.effects.values()}
            return words.get(self.risk, self.task.kind)
        return self.task.kind if own is None else own.word

    @property
    def is_open(self) -> bool:
        """Whether it may call an open-world tool."""
        return any(effects.open_world for effects in self.effects.values())

    @property
    def times(self) -> str:
        """The number of its calls where that is not 1, as ` x 3`."""
        return "" if self.calls.least == self.calls.most == 1 else f" x {self.calls}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a workflow will do."""

    workflow: Workflow
    tasks: Mapping[str, TaskForecast]  # in the order of the file
    first: Sequence[str]  # the servers that start at once
    # Those that start after them, and the first generation that needs it; that of `finally` comes
    # after the last.
    later: Mapping[str, int]
    servers: Mapping[str, Server]  # the settings of those that are known
    critical_path: tuple[str, ...]  # of several longest paths the first in the file
    length: float  # of the critical path: seconds if times are known, else tasks
    measured: int  # for how many tasks a time is known
    # Without the start of servers, by schedule; None if no times are known.
    seconds: Mapping[Schedule, float] | None

    @property
    def calls(self) -> Count:
        """The calls of all tasks, without retries."""
        counts = [task.calls for task in self.tasks.values()]
        most = [count.most for count in counts if count.most is not None]
        is_bounded = len(most) == len(counts)
        return Count(sum(count.least for count in counts), sum(most) if is_bounded else None)

    @property
    def ceiling(self) -> int | None:
        """The most calls with every retry and fallback; None if there is no bound."""
        most = 0
        for task in self.tasks.values():
            if task.calls.most is None:
                return None
            # Not counted: a call that is lost with its connection may be repeated once more.
            most += task.calls.most * task.attempts + (task.fallback is not None)
        return most


def forecast(
    workflow: Workflow,
    tools: Mapping[str, Tool] | None = None,
    servers: Mapping[str, Server] | None = None,
    inputs: Mapping[str, Any] | None = None,
    estimates: Mapping[str, float] | None = None,
) -> Forecast:
    """What a workflow will do, as far as its tools, servers and inputs are known.

    Tools are by `server:tool`. Estimates are the expected time of one call, seconds, by task; a
    task that is missing takes the median of the others.
    """
    plan, tools, servers, estimates = workflow.plan, tools or {}, servers or {}, estimates or {}
    calls = count_calls(workflow, tools, inputs or {})
    call_s = weights(plan.tasks, estimates)
    task_s, run_s = _times(workflow, tools, servers, calls, call_s) if call_s else ({}, None)
    path, length = _longest_path(plan, task_s or None)
    tasks = {}
    described = {task.id: task.description for task in (*workflow.tasks, *workflow.finally_)}
    for name, task in plan.tasks.items():
        effects = {each.target: effects_of(tools.get(each.target)) for each in task.targets}
        inner = None if task.inner is None else forecast(task.inner, tools, servers)
        of_it = calls[name], effects, task_s.get(name), name in path, inner, described[name]
        tasks[name] = TaskForecast(task, *of_it)
    first, later = waves(plan)
    if servers:  # any other server is an error of its own
        first = [name for name in first if name in servers]
        later = {name: number for name, number in later.items() if name in servers}
    measured = len(estimates.keys() & plan.tasks.keys())
    return Forecast(workflow, tasks, first, later, servers, tuple(path), length, measured, run_s)


def _longest_path(plan: Plan, lengths: Mapping[str, float] | None) -> tuple[dict[str, None], float]:
    """The longest path by the length of each task, 1 without lengths; and how long it is."""
    path: dict[str, None] = {}  # an ordered set, since each task asks whether it is on the path
    length = 0.0
    for stage in plan.stages:
        below = graphs.lengths_below(stage.graph, stage.generations, lengths)
        ready = stage.generations[0]
        while ready:
            longest = min(ready, key=lambda name: (-below[name], plan.tasks[name].index))
            path[longest] = None
            ready = list(stage.graph.successors(longest))
        length += max(below.values())
    return path, length


def _times(
    workflow: Workflow,
    tools: Mapping[str, Tool],
    servers: Mapping[str, Server],
    calls: Mapping[str, Count],
    call_s: Mapping[str, float],
) -> tuple[dict[str, float], dict[Schedule, float]]:
    """The time of each task and that of the run by each schedule, seconds, under all limits."""
    plan, run_slots = workflow.plan, workflow.max_concurrency
    task_s: dict[str, float] = {}
    busy_s: dict[tuple[str, ...], float] = defaultdict(float)
    starts: dict[tuple[str, Starts], int] = defaultdict(int)
    for name, task in plan.tasks.items():
        count = calls[name]
        # Without an upper bound the time is a lower bound, which the text says.
        number = max(count.least, 1) if count.most is None else count.most
        limits = dict(_limits(task, tools.get(task.target), servers.get(task.server)))
        if run_slots:
            limits["run",] = run_slots
        for limit, slots in limits.items():
            busy_s[limit] += call_s[name] * number / slots
        width = min(limits.values(), default=number)
        task_s[name] = call_s[name] * math.ceil(number / max(width, 1))
        for rate in _rates(task, servers.get(task.server)):
            starts[rate] += number
    rates = (_spread_s(rate, number) for (_, rate), number in starts.items())
    least_s = max([*busy_s.values(), *rates], default=0.0)
    slots = run_slots if run_slots < len(plan.tasks) else 0  # no limit is simulated much faster

    def took_s(*, barrier: bool) -> float:
        return sum(
            graphs.makespan(part.graph, part.generations, task_s, barrier=barrier, slots=slots)
            for part in plan.stages
        )

    return task_s, {
        "generations": max(took_s(barrier=True), least_s),
        "dataflow": max(took_s(barrier=False), least_s),
    }


def _limits(
    task: TaskPlan, tool: Tool | None, server: Server | None
) -> Iterator[tuple[tuple[str, ...], int]]:
    """The limits on calls in flight that hold for a task: what each limits, and to how many."""
    if task.policies.max_parallel is not None:
        yield ("task", task.id), task.policies.max_parallel
    # A lock whose name reads the item is most likely another lock for each item.
    if any(not lock.shared and not lock.of_item for lock in task.policies.locks):
        yield ("lock", task.id), 1
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


def _spread_s(starts: Starts, number: int) -> float:
    """How long a rate spreads so many starts, seconds."""
    count, seconds = starts  # the first `count` calls start at once
    return max(math.ceil(number / count) - 1, 0) * seconds
