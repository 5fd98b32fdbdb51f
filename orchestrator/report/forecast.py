"""What a plan will do: its calls, its critical path, what its tools do to the world, its time.

The rule of this file: pure functions of the plan, of what is known about its tools and servers, and
of earlier times, O(n + e); what is not known is said to be unknown, and never guessed.
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.priorities import weights
from orchestrator.expressions.templates import written
from orchestrator.report.call_counts import FAILING, Count, count_calls, total
from orchestrator.report.effects import RISKS, Effects, Risk, effects_of
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan, waves

if TYPE_CHECKING:
    from orchestrator.servers.config import Server

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class LockForecast:
    """A lock as it is written in the file, and whether others may share it."""

    name: str
    shared: bool


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """What one task will do.

    Attributes:
        task: The task.
        calls: How many calls of its tool it makes, those that are repeated counted once.
        attempts: How often each of them is tried at most by its `retry`; 1 without.
        effects: What its tool declares.
        fallback: The tool of its fallback, `server:tool`; None if it has none.
        fallback_effects: What that declares; None if there is none.
        locks: What each call holds.
        timeout_s: The limit of one attempt, seconds; None if its server is not known.
        seconds: What the task is expected to take, with all its calls; None if nothing is known.
        slack: How much longer it could take without the longest path getting longer, in the unit of
            `Forecast.length`.
        critical: Whether it is on the critical path that `Forecast` names.
    """

    task: TaskPlan
    calls: Count
    attempts: int
    effects: Effects
    fallback: str | None
    fallback_effects: Effects | None
    locks: tuple[LockForecast, ...]
    timeout_s: float | None
    seconds: float | None
    slack: float
    critical: bool

    @property
    def calls_something(self) -> bool:
        """Whether it may make any call, or that of its fallback."""
        return _calls_something(self.calls)

    @property
    def tools(self) -> Iterator[tuple[str, Effects]]:
        """The tools that it may call, with what they declare, each once."""
        yield self.task.target, self.effects
        if self.fallback_effects is not None and self.fallback not in (None, self.task.target):
            yield self.fallback, self.fallback_effects

    @property
    def risk(self) -> Risk:
        """The worst that it may do, by its own tool or by its fallback's."""
        return max((effects.risk for _, effects in self.tools), key=RISKS.index)

    @property
    def is_open(self) -> bool:
        """Whether it may call a tool that reaches outside of its server."""
        return any(effects.open_world for _, effects in self.tools)

    @property
    def times(self) -> str:
        """How many calls it makes, where that is not one: ` x 3`."""
        return "" if self.calls.least == self.calls.most == 1 else f" x {self.calls}"


@dataclass(frozen=True, slots=True)
class ServerForecast:
    """A server that will be started.

    Attributes:
        name: Its name.
        first: Whether it is started at once; else when the first ones are ready.
        generation: The generation that needs it first, from 0.
        settings: What the configuration says of it; None if that is not known.
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
        servers: The servers that will be started, in the order in which they are.
        critical_path: The tasks of the longest path; of several, the first in the file.
        length: Its length: in seconds if times are known, else in tasks.
        measured: Of how many tasks a time is known.
        calls: The calls of all tasks, those that are repeated counted once.
        ceiling: The most calls there can be, with every `retry` and fallback; None = no bound. A
            call that is lost with its connection may be repeated once more.
        seconds: What the run is expected to take by each schedule, without starting servers; None
            if no time is known.
    """

    workflow: Workflow
    tasks: Mapping[str, TaskForecast]
    servers: tuple[ServerForecast, ...]
    critical_path: tuple[str, ...]
    length: float
    measured: int
    calls: Count
    ceiling: int | None
    seconds: Mapping[Schedule, float] | None


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
        tools: Each tool that is known, by `server:tool`.
        servers: The settings of the servers that are known, by name.
        inputs: The inputs that were given; the defaults stand in for the others.
        estimates: What one call of a task is expected to take, seconds, by task. A task that is
            missing takes the median of the others.
    """
    return _Forecaster(workflow, tools or {}, servers or {}, inputs or {}, estimates or {}).made()


class _Forecaster:
    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        servers: Mapping[str, Server],
        inputs: Mapping[str, Any],
        estimates: Mapping[str, float],
    ) -> None:
        self.workflow = workflow
        self.plan = workflow.plan
        self.tools = tools
        self.servers = servers
        self.estimates = estimates
        self.calls = count_calls(workflow, tools, inputs)
        self.capacity = Capacity(workflow.max_concurrency, servers)
        self.call_s = weights(self.plan.tasks, estimates)
        self.seconds = self._seconds()

    def made(self) -> Forecast:
        lengths = self.seconds or {
            name: float(_calls_something(calls)) for name, calls in self.calls.items()
        }
        below = graphs.lengths_below(self.plan.graph, self.plan.generations, lengths)
        above = graphs.lengths_above(self.plan.graph, self.plan.generations, lengths)
        longest = max(below.values())
        path = self._path(below)
        on_path = frozenset(path)
        tasks = {
            task.id: self._task(
                task, _slack(longest, above[task.id] + below[task.id]), task.id in on_path
            )
            for task in self.plan.tasks.values()
        }
        return Forecast(
            self.workflow,
            tasks,
            tuple(self._servers()),
            path,
            longest,
            sum(task in self.estimates for task in self.plan.tasks),
            total(list(self.calls.values())),
            _ceiling(tasks.values()),
            self._durations(),
        )

    def _path(self, below: Mapping[str, float]) -> tuple[str, ...]:
        """The longest path; where two are as long, the task that stands first in the file.

        Tasks that call nothing are left out of it.
        """
        index = {task: number for number, task in enumerate(self.plan.tasks)}
        ready = [task for names in self.plan.generations[:1] for task in names]
        path: list[str] = []
        while ready:
            path.append(min(ready, key=lambda task: (-below[task], index[task])))
            ready = list(self.plan.graph.successors(path[-1]))
        return tuple(task for task in path if _calls_something(self.calls[task]))

    def _task(self, task: TaskPlan, slack: float, critical: bool) -> TaskForecast:
        policies = task.policies
        fallback = policies.fallback.target if isinstance(policies.fallback, CallTemplate) else None
        settings = self.servers.get(task.server)
        default_s = None if settings is None else settings.timeout_s
        return TaskForecast(
            task,
            self.calls[task.id],
            1 if policies.retry is None else policies.retry.max_attempts,
            effects_of(self.tools.get(task.target)),
            fallback,
            None if fallback is None else effects_of(self.tools.get(fallback)),
            tuple(LockForecast(written(lock.name), lock.shared) for lock in policies.locks),
            default_s if task.timeout_s is None else task.timeout_s,
            None if self.seconds is None else self.seconds[task.id],
            slack,
            critical,
        )

    def _servers(self) -> Iterator[ServerForecast]:
        first, later = waves(self.plan)
        for name, generation in [*((name, 0) for name in first), *later.items()]:
            if not self.servers or name in self.servers:  # one that is not there does not start
                yield ServerForecast(name, name in first, generation, self.servers.get(name))

    def _seconds(self) -> dict[str, float] | None:
        """What each task takes: its calls, as many at a time as its limits let."""
        if self.call_s is None:
            return None
        return {name: self._task_s(task) for name, task in self.plan.tasks.items()}

    def _task_s(self, task: TaskPlan) -> float:
        assert self.call_s is not None
        number = _likely(self.calls[task.id])
        width = self.capacity.width(task, self.tools.get(task.target))
        rounds = min(number, 1) if width is None else math.ceil(number / width)
        return self.call_s[task.id] * rounds

    def _durations(self) -> dict[Schedule, float] | None:
        if self.seconds is None or self.call_s is None:
            return None
        slots = self.workflow.max_concurrency
        work = [
            (task, self.tools.get(task.target), _likely(self.calls[name]), self.call_s[name])
            for name, task in self.plan.tasks.items()
        ]
        least = self.capacity.least_s(work)
        spans: dict[Schedule, float] = {}
        for schedule in ("generations", "dataflow"):
            spans[schedule] = graphs.makespan(
                self.plan.graph,
                self.plan.generations,
                self.seconds,
                barrier=schedule == "generations",
                slots=slots if slots < len(self.plan.tasks) else 0,
            )
        return {schedule: max(span, least) for schedule, span in spans.items()}


def _slack(longest: float, through: float) -> float:
    slack = longest - through
    return 0.0 if slack <= longest * _ROUNDING else slack


def _calls_something(calls: Count) -> bool:
    return calls.most != 0 or calls.why in FAILING


def _likely(calls: Count) -> int:
    """How many calls a time is told for: the most, or the fewest where there is no bound."""
    return max(calls.least, 1) if calls.most is None else calls.most


def _ceiling(tasks: Iterable[TaskForecast]) -> int | None:
    most = 0
    for task in tasks:
        if task.calls.most is None:
            return None
        may_fail = task.calls.most or task.calls.why in FAILING
        most += task.calls.most * task.attempts + bool(task.fallback is not None and may_fail)
    return most


Work = tuple[TaskPlan, Tool | None, int, float]
"""A task, its tool, how many calls it makes, and what each takes, seconds."""


class Capacity:
    """What the limits let happen at the same time.

    Args:
        max_concurrency: The calls of the run in flight; 0 = no limit.
        servers: The settings of the servers that are known, by name.
    """

    def __init__(self, max_concurrency: int, servers: Mapping[str, Server]) -> None:
        self._slots = max_concurrency
        self._servers = servers

    def width(self, task: TaskPlan, tool: Tool | None) -> int | None:
        """How many calls of one task go on at a time; None = no limit."""
        policies = task.policies
        own = [policies.max_parallel, self._slots or None]
        if any(not lock.shared and not lock.of_item for lock in policies.locks):
            own.append(1)
        limits = [limit for _, limit in self._of_server(task, tool)]
        return min((limit for limit in (*own, *limits) if limit is not None), default=None)

    def least_s(self, work: Iterable[Work]) -> float:
        """What all calls take at least under the limits that they share, seconds."""
        seconds: dict[tuple[str, int], float] = defaultdict(float)
        starts: dict[str, int] = defaultdict(int)
        for task, tool, number, call_s in work:
            starts[task.server] += number
            for shared, limit in self._of_server(task, tool):
                seconds[shared, limit] += number * call_s
            if self._slots:
                seconds["", self._slots] += number * call_s
        busy = (total / limit for (_, limit), total in seconds.items())
        rated = (self._rated_s(server, number) for server, number in starts.items())
        return max((*busy, *rated), default=0.0)

    def _of_server(self, task: TaskPlan, tool: Tool | None) -> Iterable[tuple[str, int]]:
        """The limits of its server that the calls of a task share with others, by a name."""
        settings = self._servers.get(task.server)
        if settings is None:
            return
        if isinstance(settings.max_concurrency, int):
            yield task.server, settings.max_concurrency
        if settings.writes == "serial" and tool is not None and tool.read_only is False:
            yield f"{task.server} writes", 1
        for pattern, limited in settings.tools.items():
            if fnmatch.fnmatchcase(task.tool, pattern):
                yield f"{task.server}:{pattern}", limited.max_concurrency
                return

    def _rated_s(self, server: str, number: int) -> float:
        """How long a server's rate spreads the starts of so many calls, seconds."""
        settings = self._servers.get(server)
        if settings is None or settings.starts is None or not number:
            return 0.0
        count, seconds = settings.starts
        return (math.ceil(number / count) - 1) * seconds
