"""What a plan will do: its calls, critical path, effects, servers and expected time.

Pure, and O(n + e). What is not known is None or has no bound; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.priorities import weights
from orchestrator.report.call_counts import Count, count_calls
from orchestrator.report.effects import RISKS, Effects, Risk, effects_of
from orchestrator.report.timing import Timing
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan, waves

if TYPE_CHECKING:
    from orchestrator.servers.config import Server

_SCHEDULES: tuple[Schedule, ...] = ("generations", "dataflow")


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
    runs: int | None = None  # in which the times were measured; None if that is not known

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
    runs: int | None = None,
) -> Forecast:
    """What a workflow will do, as far as its tools, servers and inputs are known.

    Tools are by `server:tool`. Estimates are the expected time of one call, seconds, by task; a
    task that is missing takes the median of the others. `runs`: in how many they were measured.
    """
    plan, tools, servers, estimates = workflow.plan, tools or {}, servers or {}, estimates or {}
    calls = count_calls(workflow, tools, inputs or {})
    call_s = weights(plan.tasks, estimates)
    expected = Timing(workflow, tools, servers, calls, call_s) if call_s else None
    task_s = {} if expected is None else expected.task_s()
    run_s = None if expected is None else {each: expected.run_s(each) for each in _SCHEDULES}
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
    of_path = tuple(path), length
    return Forecast(workflow, tasks, first, later, servers, *of_path, measured, run_s, runs)


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
