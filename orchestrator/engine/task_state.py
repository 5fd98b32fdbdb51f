"""A task under way: its calls, its items, and what was measured of them.

The rule of this file: it keeps figures and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.decide import Start, StartEach
from orchestrator.engine.outcome import Cancelled, Failure, Outcome
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.workflow.plan import CallTemplate, TaskPlan

Decision = Start | StartEach | Failure | Call
"""What is to be carried out: of a failure, the fallback."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A call that is under way, or waits to be.

    Attributes:
        task: The task, and `item` the position of its item under `for_each`, or None.
        target: `server:tool`.
        attempt: The number of the attempt, from 1; 0 before the first.
        since_ms: When its first attempt began, milliseconds since the run did; None before that.
        waiting_for: The lock, slot, rate or server that it waits for; empty if it is being made.
    """

    task: str
    item: int | None
    target: str
    attempt: int
    since_ms: float | None
    waiting_for: str


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run does now.

    Attributes:
        settled: How many tasks have settled, of `tasks`.
        running: The calls that are under way or wait to be.
    """

    settled: int
    tasks: int
    running: tuple[Activity, ...]


@dataclass(slots=True, eq=False)
class TaskState:
    """A task that has been started and has not settled.

    Attributes:
        task: The task.
        decision: What is to be done; None once that is under way.
        priority: Of its calls, where they wait for slots.
        reason: Why it was cancelled by itself; None if it was not.
        attempt: The state of its call, and `fallback` that of its fallback's.
        items: How each item of a `for_each` ended, None where it has not.
        in_flight: The state of the calls of items that have not ended, by their position.
        scope: Cancels all items, or the wait for a gate.
        held: What it is going to call when the gate lets it; None if it does not wait for one.
        note: What the gate waits for.
        waited_s: How long it waited for gates, seconds; the first call after that takes it over.
    """

    task: TaskPlan
    decision: Decision | None = None
    priority: Priority = FIRST
    reason: str | None = None
    attempt: Attempt | None = None
    fallback: Attempt | None = None
    items: list[ItemResult | None] | None = None
    in_flight: Mapping[int, Attempt] | None = None
    scope: anyio.CancelScope | None = None
    held: CallTemplate | None = None
    note: str = ""
    waited_s: float = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether any attempt has begun."""
        attempts = (self.attempt, self.fallback, *(self.in_flight or {}).values())
        begun = any(each is not None and each.number for each in attempts)
        return begun or any(item is not None and item.attempts for item in self.items or ())

    def cancel(self, reason: str) -> None:
        """End it: what it calls is cancelled, and what it waits for is not waited for."""
        self.reason = reason
        if self.scope is not None:
            self.scope.cancel()
        for attempt in (self.attempt, self.fallback):
            if attempt is not None:
                attempt.cancel()

    def activities(self, zero: float) -> Iterator[Activity]:
        """Its calls under way. `zero` is when the run began, on anyio's clock."""
        if self.held is not None:
            yield Activity(self.task.id, None, self.held.target, 0, None, self.note)
            return
        fallback = self.task.policies.fallback
        if self.fallback is not None and isinstance(fallback, CallTemplate):
            yield self._activity(None, fallback.target, self.fallback, zero)
        elif self.attempt is not None:
            yield self._activity(None, self.task.target, self.attempt, zero)
        for item, attempt in (self.in_flight or {}).items():
            yield self._activity(item, self.task.target, attempt, zero)

    def _activity(self, item: int | None, target: str, attempt: Attempt, zero: float) -> Activity:
        began = attempt.started_at
        since_ms = None if began is None else (began - zero) * 1000
        return Activity(self.task.id, item, target, attempt.number, since_ms, attempt.waiting_for)

    def end_items(self, zero: float) -> None:
        """End the items that have not ended: they were cancelled."""
        items = self.items or []
        cancelled = Cancelled("its task was ended")
        for position, attempt in (self.in_flight or {}).items():
            items[position] = ended(position, attempt, cancelled, zero)
        for index, item in enumerate(items):
            items[index] = item or ItemResult(index, cancelled)
        self.in_flight = None

    def result(self, outcome: Outcome, zero: float) -> TaskResult:
        """What it came to, if it settles now with this outcome."""
        task, attempt = self.task, self.attempt
        if self.items is not None or self.fallback is not None:
            return self._merged(outcome, zero)
        if attempt is None or attempt.started_at is None:
            return TaskResult(task.id, outcome, task.generation)
        started_ms, duration_ms = times(attempt, zero)
        return TaskResult(
            task.id,
            outcome,
            task.generation,
            attempt.number,
            started_ms,
            duration_ms,
            attempt.waited_s * 1000,
        )

    def _merged(self, outcome: Outcome, zero: float) -> TaskResult:
        """The same for a task of several calls."""
        items = None if self.items is None else tuple(filter(None, self.items))
        attempts = (self.attempt, self.fallback, *(self.in_flight or {}).values())
        own = [ended(0, each, outcome, zero) for each in attempts if each and each.number]
        parts = [*own, *(item for item in items or () if item.started_ms is not None)]
        if not parts:
            return TaskResult(self.task.id, outcome, self.task.generation, items=items)
        first = min(parts, key=lambda part: part.started_ms or 0.0)
        started_ms = first.started_ms or 0.0
        return TaskResult(
            self.task.id,
            outcome,
            self.task.generation,
            sum(part.attempts for part in parts) - (self.fallback.number if self.fallback else 0),
            started_ms,
            (anyio.current_time() - zero) * 1000 - started_ms,
            sum(part.waited_ms for part in own) if own else first.waited_ms,
            items,
        )


def times(attempt: Attempt, zero: float) -> tuple[float, float]:
    """When a call that has begun did so, and how long ago that is, milliseconds."""
    began = attempt.started_at or zero
    return (began - zero) * 1000, (anyio.current_time() - began) * 1000


def ended(index: int, attempt: Attempt, outcome: Outcome, zero: float) -> ItemResult:
    """What a call came to, if it ends now with this outcome."""
    if attempt.started_at is None:
        return ItemResult(index, outcome)
    started_ms, duration_ms = times(attempt, zero)
    waited_ms = attempt.waited_s * 1000
    return ItemResult(index, outcome, attempt.number, started_ms, duration_ms, waited_ms)
