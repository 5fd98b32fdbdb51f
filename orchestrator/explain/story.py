"""What happened in a run: each call with its time, its waits, and what it had to come after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.calls.causes import Cause, Kind
from orchestrator.engine.result import ItemResult, TaskResult, Waits
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

NOTABLE_MS = 1.0
IN_CALL: frozenset[Kind] = frozenset({"retry", "repeat"})  # between two calls of one task
SLACK_MS = 2.0  # between the end of one call and the start of what it held up


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A call of a task, or of an item of it, with all its attempts, or a whole task of the plan.

    Times are milliseconds since the run began.

    Attributes:
        task: The path of the task, such as `outer[3]/inner`.
        item: The position of the item, or None.
        target: `server:tool`; of what calls no server the kind of the task.
        status: How it ended.
        started_ms: When its first attempt began; of what asks a person, when the answer came.
        ended_ms: When it settled.
        ready_ms: When all had settled that it had to come after.
        after: The task that settled last of those, and whether that is the barrier of a generation
            and not a dependency; None if it was ready at once.
        waits: What it waited for, in order.
        locks: The names of its locks, as far as the file has them.
        attempts: The number of its calls.
        waited_ms: How long it waited before and between them, shorter waits too.
    """

    task: str
    item: int | None
    target: str
    status: str
    started_ms: float
    ended_ms: float
    ready_ms: float
    after: tuple[str, bool] | None
    waits: Waits = ()
    locks: tuple[str, ...] = ()
    attempts: int = 1
    waited_ms: float = 0.0

    @property
    def where(self) -> str:
        """The task, with its item."""
        return self.task if self.item is None else f"{self.task}[{self.item}]"

    @property
    def root(self) -> str:
        """The task of the workflow that it is or belongs to."""
        return re.split(r"[\[/]", self.task)[0]

    @property
    def duration_ms(self) -> float:
        """How long it took."""
        return self.ended_ms - self.started_ms

    @property
    def server(self) -> str:
        """The server; empty if it calls none."""
        server, colon, _ = self.target.partition(":")
        return server if colon else ""

    @property
    def before(self) -> Waits:
        """The waits before its first attempt."""
        return tuple(wait for wait in self.waits if wait[1] < self.started_ms - NOTABLE_MS)

    @property
    def inside(self) -> Waits:
        """The waits from then on."""
        return tuple(wait for wait in self.waits if wait[1] >= self.started_ms - NOTABLE_MS)

    @property
    def calls_ms(self) -> list[float]:
        """How long each of its calls took, without what it waited for in between."""
        calls, at, own = [], self.started_ms, 0.0
        for cause, since, waited in self.inside:
            own += max(0.0, since - at)
            if cause.kind in IN_CALL:
                calls.append(own)
                own = 0.0
            at = since + waited
        return [*calls, own + max(0.0, self.ended_ms - at)]


@dataclass(slots=True)
class Story:
    """What happened in a run.

    Attributes:
        workflow: What was run.
        schedule: How.
        results: The results of the tasks that have settled, by id.
        duration_ms: How long the run took.
        spans: Each call, in the order of their starts.
        tasks: Each task of the workflow that began, as a whole, by id, likewise.
        ended_ms: When each task settled, by its path.
        needed_ms: When all had settled that each task depends on, likewise.
        last: The call of each task that ended last, by the path of the task.
    """

    workflow: Workflow
    schedule: Schedule
    results: Mapping[str, TaskResult]
    duration_ms: float
    spans: list[Span] = field(default_factory=list)
    tasks: dict[str, Span] = field(default_factory=dict)
    ended_ms: dict[str, float] = field(default_factory=dict)
    needed_ms: dict[str, float] = field(default_factory=dict)
    last: dict[str, Span] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        workflow: Workflow,
        results: Mapping[str, TaskResult],
        duration_ms: float | None = None,
        schedule: Schedule | None = None,
    ) -> Story:
        """The story of a run; without a duration, until its last task settled."""
        story = cls(workflow, schedule or workflow.schedule, results, 0.0)
        begin = _Begin(0.0, None)
        for stage in workflow.plan.stages:
            begin = story._add(stage, results, "", begin, story.schedule)
        story.spans.sort(key=_order)
        story.tasks = {each.task: each for each in sorted(story.tasks.values(), key=_order)}
        end_ms = max((span.ended_ms for span in story.spans), default=0.0)
        story.duration_ms = end_ms if duration_ms is None else duration_ms
        return story

    def _add(
        self,
        plan: Plan,
        results: Mapping[str, TaskResult],
        within: str,
        begin: _Begin,
        schedule: Schedule,
    ) -> _Begin:
        """Add the tasks of a plan; where what follows it begins."""
        barrier = begin
        for number, generation in enumerate(plan.generations):
            end = barrier
            for name in generation:
                task = plan.tasks[name]
                ready = begin
                for needed in task.dependencies:
                    at_ms = self.ended_ms.get(within + needed, 0.0)
                    if within + needed in self.ended_ms and at_ms >= ready.at_ms:
                        ready = _Begin(at_ms, within + needed)
                self.needed_ms[within + name] = ready.at_ms
                if number and schedule == "generations":
                    is_later = barrier.at_ms > ready.at_ms + SLACK_MS
                    ready = _Begin(barrier.at_ms, barrier.task, is_later) if is_later else ready
                at_ms = self._add_task(task, results.get(name), within, ready)
                self.ended_ms[within + name] = at_ms
                if at_ms >= end.at_ms:
                    end = _Begin(at_ms, within + name)
            barrier = end
        return barrier

    def _add_task(
        self, task: TaskPlan, result: TaskResult | None, within: str, ready: _Begin
    ) -> float:
        """Add a task; when it settled."""
        path = within + task.id
        if result is not None and result.started_ms is None and result.waits:  # it asked a person
            _, since, waited = result.waits[-1]
            result = replace(result, started_ms=since + waited, waited_ms=waited)
        if result is None or result.started_ms is None:  # what follows it came after what it did
            if ready.task in self.last:
                self._note_last(path, self.last[ready.task])
            return ready.at_ms
        if not within:
            self.tasks[path] = _span(task, path, result, ready)
        parts: list[tuple[str, TaskResult | ItemResult]] = [
            (f"{path}[{item.index}]", item) for item in result.items or ()
        ]
        for where, part in parts or [(path, result)]:
            if part.started_ms is None:
                continue
            if part.tasks and task.inner is not None:
                inner, begin = task.inner, _Begin(part.started_ms, ready.task, ready.is_barrier)
                schedule = inner.own_schedule or self.schedule
                for stage in inner.plan.stages:
                    begin = self._add(stage, part.tasks, f"{where}/", begin, schedule)
                    if begin.task in self.last:
                        self._note_last(path, self.last[begin.task])
            else:
                span = _span(task, path, part, ready)
                self.spans.append(span)
                self._note_last(path, span)
        return max(ready.at_ms, _ended_ms(result))

    def _note_last(self, path: str, span: Span) -> None:
        known = self.last.get(path)
        if known is None or span.ended_ms >= known.ended_ms:
            self.last[path] = span


def _order(span: Span) -> tuple[float, str]:
    return span.started_ms, span.where


@dataclass(frozen=True, slots=True)
class _Begin:
    """When something can begin, and the task after which it does."""

    at_ms: float
    task: str | None
    is_barrier: bool = False


def _round(milliseconds: float) -> float:
    """As a document has it, so that a run and the journal of it tell the same."""
    return round(milliseconds, 3)


def _ended_ms(part: TaskResult | ItemResult) -> float:
    return _round(part.started_ms or 0.0) + _round(part.duration_ms)


def _span(task: TaskPlan, path: str, part: TaskResult | ItemResult, ready: _Begin) -> Span:
    started_ms = _round(part.started_ms or 0.0)
    holds = (lock.literal for lock in task.policies.locks)
    locks = tuple(hold.name for hold in holds if hold is not None)
    return Span(
        path,
        part.index if isinstance(part, ItemResult) else None,
        f"{task.server}:{task.tool}" if task.is_request else task.kind,
        part.status,
        started_ms,
        _ended_ms(part),
        ready.at_ms,
        None if ready.task is None else (ready.task, ready.is_barrier),
        _waits(task, part, ready.at_ms, started_ms),
        locks,
        part.attempts,
        _round(part.waited_ms),
    )


def _waits(
    task: TaskPlan, part: TaskResult | ItemResult, ready_ms: float, started_ms: float
) -> Waits:
    """What was noted, and what follows from the times: a delay, a place among the items."""
    noted = [(cause, _round(since), _round(waited)) for cause, since, waited in part.waits]
    waits = []
    begun = min([started_ms, *(since for _, since, _ in noted)])
    delay_s = task.policies.delay_s
    if delay_s is not None and begun - ready_ms >= NOTABLE_MS:
        waits.append((Cause("delay"), ready_ms, min(delay_s * 1000, begun - ready_ms)))
        ready_ms += waits[-1][2]
    is_held = task.policies.max_parallel is not None and isinstance(part, ItemResult)
    if is_held and begun - ready_ms >= SLACK_MS:
        waits.append((Cause("items"), ready_ms, begun - ready_ms))
    return (*waits, *noted)
