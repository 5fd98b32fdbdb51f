"""What happened in a run: who called whom when, what decided how long it took, what failed first.

Pure: made of a result and its workflow, for pages, reports and traces. Times are milliseconds since
the run began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from orchestrator.engine.decide import start
from orchestrator.engine.outcome import Failure
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.engine.settled import Settled
from orchestrator.errors import CallError
from orchestrator.workflow.graph import below
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

SAME_MS = 1.0  # times that are closer than that count as one moment

Cause = Literal["start", "dependency", "generation", "limit", "server", "other"]


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
        cause: What the task waited for: a `dependency`, the last task of an earlier `generation`,
            the holder of a slot or a lock (`limit`), the start of its `server`.
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


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """The task that failed first.

    Attributes:
        path: The task, or the first item of it that failed.
        arguments: What it was called with, resolved; None if that cannot be told.
        skipped: The tasks that did not run because of it.
    """

    path: str
    result: TaskResult
    arguments: Mapping[str, Any] | None
    skipped: tuple[str, ...]


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
        ends = sorted(self.tasks.values(), key=lambda span: span.ended_ms)
        span, path = ends[-1], list[Step]()
        while True:
            step, before = self._before(span, ends)
            path.append(step)
            if before is None:
                return path[::-1]
            span = before

    def _before(self, span: Span, ends: list[Span]) -> tuple[Step, Span | None]:
        """The step to a task, and the task on the path before it."""
        plan = self.plan.tasks[span.task]
        needed = [self.tasks[name] for name in plan.dependencies if name in self.tasks]
        last = max(needed, key=lambda each: each.ended_ms, default=None)
        ready_ms = 0.0 if last is None else last.ended_ms
        if span.started_ms - ready_ms <= SAME_MS:
            cause: Cause = "start" if last is None else "dependency"
            return Step(span, ready_ms, cause, None if last is None else last.path), last
        if self._has_waited_for_server(span, ready_ms):
            return Step(span, ready_ms, "server", None), last
        # Only what ended later than the dependencies, and before it began, can have held it.
        held = [
            each
            for each in ends
            if ready_ms < each.ended_ms <= span.started_ms + SAME_MS
            and each.started_ms < span.started_ms
            and each.task not in (span.task, *plan.dependencies)
        ]
        holder = self._holder(span, held)
        if holder is None:
            return Step(span, ready_ms, "other", None), last
        is_limit = span.waited_ms > SAME_MS or self._is_peer(span, holder)
        cause = "limit" if is_limit else "generation"
        return Step(span, holder.ended_ms, cause, holder.path), holder

    def _has_waited_for_server(self, span: Span, ready_ms: float) -> bool:
        """Whether a task has waited longer than the clock of the run went on.

        That stands still while all tasks wait for servers to start.
        """
        stood = span.waited_ms > span.started_ms - ready_ms + SAME_MS
        return stood and span.server in self.result.startup_ms

    def _is_peer(self, span: Span, holder: Span) -> bool:
        """Whether no generation comes between two tasks."""
        return self.plan.tasks[span.task].generation == self.plan.tasks[holder.task].generation

    def _holder(self, span: Span, held: list[Span]) -> Span | None:
        """Of what ended before a task began, what it has waited for: the same server's first."""
        if not held:
            return None
        latest = held[-1].ended_ms
        last = [each for each in held if latest - each.ended_ms <= SAME_MS]
        if span.started_ms - latest > max(SAME_MS, 0.1 * (span.started_ms - held[0].ended_ms)):
            return None  # nothing ended when it began
        return next((each for each in last if each.server == span.server), last[-1])

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
        failed = [task for task in self.result.tasks.values() if isinstance(task.outcome, Failure)]
        if not failed:
            return None
        first = min(failed, key=lambda task: _ended_ms(task) or 0.0)
        item = next((i for i in first.items or () if isinstance(i.outcome, Failure)), None)
        graph = self.plan.graph
        after = below(graph, first.id) if first.id in graph else set()
        ended = self.result.tasks
        skipped = tuple(name for name in ended if name in after and ended[name].status == "skipped")
        path = first.id if item is None else f"{first.id}[{item.index}]"
        return FirstFailure(path, first, self._arguments(first, item), skipped)

    def _arguments(self, task: TaskResult, item: ItemResult | None) -> dict[str, Any] | None:
        """What a task was called with, resolved once more; None if that cannot be done."""
        plan, policies = self.plan.tasks[task.id], self.plan.tasks[task.id].policies
        about = {"id": self.result.run_id, "started_at": self.result.started_at}
        settled = Settled(self.inputs, about | {"workflow": self.workflow.name})
        for each in self.result.tasks.values():
            settled.add(each)
        scope = replace(settled.scope, quick=False)
        try:
            if item is not None and policies.for_each is not None:
                items = _items(plan, scope)
                scope = replace(scope, item=items[item.index], index=item.index)
            return start(plan, scope).arguments
        except (CallError, LookupError, TypeError):
            return None


def _items(plan: TaskPlan, scope: Any) -> Any:
    from orchestrator.engine.decide import StartEach, decide

    found = decide(plan, scope)
    return found.items if isinstance(found, StartEach) else ()


def _ended_ms(task: TaskResult) -> float | None:
    return None if task.started_ms is None else task.started_ms + task.duration_ms


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
