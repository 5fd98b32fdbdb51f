"""What happened in a run: who called whom when, what decided how long it took, what failed first.

Pure: made of a result and its workflow, for pages, reports and traces. Times are milliseconds since
the run began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.report.run_failure import FirstFailure, first_failure
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

SAME_MS = 1.0  # times that are closer than that count as one moment

Cause = Literal["start", "dependency", "generation", "limit", "server"]


@dataclass(frozen=True, slots=True)
class Span:
    """A task, an item of a `for_each` or a task inside of one, from its first call to its end.

    Attributes:
        path: The task, such as `a`, `a[3]` or `outer[3]/inner`.
        task: The task of the workflow that it is or belongs to.
        server: The server that it called; empty if it called none.
        target: The tool, `server:tool`.
        waited_ms: How long it waited for its server, locks, slots and rates before and between
            its calls.
    """

    path: str
    task: str
    server: str
    target: str
    status: str
    attempts: int
    started_ms: float
    duration_ms: float
    waited_ms: float

    @property
    def ended_ms(self) -> float:
        """When it settled."""
        return self.started_ms + self.duration_ms


@dataclass(frozen=True, slots=True)
class Step:
    """A task on the path that decided how long the run took.

    Attributes:
        since_ms: Since when nothing on the path ran, until the task began.
        cause: What the task waited for last: a `dependency`, the last task of the `generation`
            before, what gave back a slot or a lock (`limit`), the start of its `server`.
        holder: The task that it waited for; None if it waited for no task.
    """

    span: Span
    since_ms: float
    cause: Cause
    holder: str | None

    @property
    def waited_ms(self) -> float:
        """How long nothing on the path ran before it."""
        return max(0.0, self.span.started_ms - self.since_ms)


class RunHistory:
    """A run that has ended or is paused.

    Args:
        result: Its result, without secrets.
        workflow: Its workflow.
        inputs: Its inputs, without secrets.
    """

    def __init__(
        self, result: RunResult, workflow: Workflow, inputs: Mapping[str, Any] | None = None
    ) -> None:
        self.result, self.workflow, self.inputs = result, workflow, dict(inputs or {})
        self.plan = workflow.plan

    @cached_property
    def tasks(self) -> dict[str, Span]:
        """The tasks of the workflow that began, in the order in which they did."""
        found = (
            _span(self.plan.tasks[name], name, name, task)
            for name, task in self.result.tasks.items()
            if name in self.plan.tasks and task.started_ms is not None
        )
        return {span.path: span for span in sorted(found, key=lambda each: each.started_ms)}

    @cached_property
    def calls(self) -> list[Span]:
        """The calls: tasks, items and what is inside of them, in the order in which they began."""
        found = _calls(self.plan, self.result.tasks, "", "")
        return sorted(found, key=lambda call: call.started_ms)

    @property
    def ends_ms(self) -> float:
        """When the last task settled."""
        return max((span.ended_ms for span in self.tasks.values()), default=0.0)

    @cached_property
    def path(self) -> list[Step]:
        """The path that decided how long the run took, the first task first.

        From the task that ended last it goes to what ended last before that could begin.
        """
        if not self.tasks:
            return []
        ends = sorted(self.tasks.values(), key=_end)
        span, path = ends[-1], list[Step]()
        while True:
            step, before = self._before(span, ends)
            path.append(step)
            if before is None:
                return path[::-1]
            span = before

    def ready(self, span: Span) -> Span | None:
        """What ended last of what had to end before a task could begin; None if nothing had."""
        plan = self.plan.tasks[span.task]
        needed = [self.tasks[name] for name in plan.dependencies if name in self.tasks]
        is_held = self.result.schedule == "generations" or plan.generation is None
        if is_held and plan.generation in self._last_before:
            needed.append(self._last_before[plan.generation])
        ended = (each for each in needed if each.ended_ms <= span.started_ms + SAME_MS)
        return max(ended, key=_end, default=None)

    @cached_property
    def _last_before(self) -> dict[int | None, Span]:
        """By the number of a generation, what ended last before it; of `finally`, of all tasks."""
        found: dict[int | None, Span] = {}
        last: Span | None = None
        for number, names in enumerate([*self.plan.generations, []]):
            if last is not None:
                found[number] = found[None] = last
            began = [self.tasks[name] for name in names if name in self.tasks]
            last = max([*began, *([last] if last else [])], key=_end, default=None)
        return found

    def _before(self, span: Span, ends: list[Span]) -> tuple[Step, Span | None]:
        """The step to a task, and the task on the path before it."""
        last = self.ready(span)
        ready_ms: float = 0.0
        cause: Cause = "start"
        if last is not None:
            is_needed = last.task in self.plan.tasks[span.task].dependencies
            ready_ms, cause = last.ended_ms, "dependency" if is_needed else "generation"
        if span.started_ms - ready_ms > SAME_MS:
            if self._has_waited_for_server(span, ready_ms):
                cause = "server"
            elif span.waited_ms > SAME_MS and (holder := self._holder(span, ready_ms, ends)):
                return Step(span, holder.ended_ms, "limit", holder.path), holder
        is_held = last is not None and cause != "server"
        return Step(span, ready_ms, cause, last.path if last and is_held else None), last

    def _has_waited_for_server(self, span: Span, ready_ms: float) -> bool:
        """Whether a task has waited longer than the clock of the run went on.

        That stands still while all tasks wait for servers to start.
        """
        stood = span.waited_ms > span.started_ms - ready_ms + SAME_MS
        return stood and span.server in self.result.startup_ms

    def _holder(self, span: Span, ready_ms: float, ends: list[Span]) -> Span | None:
        """What ended just before a task began that could have sooner; the same server's first."""
        held = [
            each
            for each in ends
            if ready_ms < each.ended_ms <= span.started_ms + SAME_MS
            and each.started_ms < span.started_ms
            and each.task != span.task
        ]
        latest = max((each.ended_ms for each in held), default=0.0)
        last = [each for each in held if latest - each.ended_ms <= SAME_MS]
        return next(
            (each for each in last if each.server == span.server), last[-1] if last else None
        )

    def by_server(self) -> dict[str, tuple[int, float, float]]:
        """Of each server, its calls and how long they ran and waited; the longest first."""
        return self._sums(lambda span: span.server)

    def by_tool(self) -> dict[str, tuple[int, float, float]]:
        """The same of each tool."""
        return self._sums(lambda span: span.target)

    def _sums(self, name: Any) -> dict[str, tuple[int, float, float]]:
        sums: dict[str, list[Span]] = defaultdict(list)
        for call in self.calls:
            if call.server:
                sums[name(call)].append(call)
        found = {
            each: (
                sum(call.attempts for call in calls),
                sum(call.duration_ms for call in calls),
                sum(call.waited_ms for call in calls),
            )
            for each, calls in sums.items()
        }
        return dict(sorted(found.items(), key=lambda pair: -pair[1][1]))

    def by_reason(self) -> dict[str, float]:
        """Where the time of the run went, along its path: milliseconds by reason."""
        sums: dict[str, float] = defaultdict(float)
        for step in self.path:
            sums["calls"] += step.span.duration_ms
            if step.waited_ms:
                sums[step.cause] += step.waited_ms
        return dict(sorted(sums.items(), key=lambda pair: -pair[1]))

    @cached_property
    def first_failure(self) -> FirstFailure | None:
        """What failed first; None if nothing did."""
        return first_failure(self.result, self.workflow, self.inputs)


def _end(span: Span) -> float:
    return span.ended_ms


def _span(plan: TaskPlan, path: str, task: str, part: TaskResult | ItemResult) -> Span:
    assert part.started_ms is not None
    server = plan.server if plan.kind in ("tool", "read", "prompt") else ""
    times = part.started_ms, part.duration_ms, part.waited_ms
    return Span(path, task, server, plan.target, part.status, part.attempts, *times)


def _calls(plan: Plan, tasks: Mapping[str, TaskResult], within: str, outer: str) -> Iterator[Span]:
    for name, result in tasks.items():
        if (task := plan.tasks.get(name)) is None:
            continue
        path = f"{within}{name}"
        parts: list[tuple[str, TaskResult | ItemResult]] = [(path, result)]
        if result.items is not None:
            parts = [(f"{path}[{item.index}]", item) for item in result.items]
        for place, part in parts:
            if part.tasks is not None and task.inner is not None:
                yield from _calls(task.inner.plan, part.tasks, f"{place}/", outer or name)
            elif part.started_ms is not None:
                yield _span(task, place, outer or name, part)
