"""A task under way: its calls, its items, and what was measured of them.

The rule of this file: it keeps figures and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio

from orchestrator.calls.call import Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.decide import Start, StartEach
from orchestrator.engine.outcome import Cancelled, Failure, Outcome
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.workflow.plan import CallTemplate, TaskPlan

Decision = Start | StartEach | Failure
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
        decision: What is to be done; None once its call is made up.
        priority: Of its calls, where they wait for slots.
        reason: Why it was cancelled by itself; None if it was not.
        call: Its call, and `fallback` that of its fallback.
        items: How each item of a `for_each` ended, None where it has not.
        in_flight: The calls of items that have not ended, by their position.
        scope: Cancels all items, or the wait for a gate.
        held: What it is going to call when the gate lets it; None if it does not wait for one.
        note: What the gate waits for.
        waited_s: How long it waited for gates, seconds; the first call after that takes it over.
    """

    task: TaskPlan
    decision: Decision | None = None
    priority: Priority = FIRST
    reason: str | None = None
    call: Call | None = None
    fallback: Call | None = None
    items: list[ItemResult | None] | None = None
    in_flight: Mapping[int, Call] | None = None
    scope: anyio.CancelScope | None = None
    held: CallTemplate | None = None
    note: str = ""
    waited_s: float = 0.0

    @property
    def calls(self) -> list[Call]:
        """Its calls, but those of items that have ended."""
        own = (self.call, self.fallback, *(self.in_flight or {}).values())
        return [call for call in own if call is not None]

    @property
    def has_begun(self) -> bool:
        """Whether any attempt has begun."""
        begun = any(call.started_at is not None for call in self.calls)
        return begun or any(item is not None and item.attempts for item in self.items or ())

    def cancel(self, reason: str) -> None:
        """End it: what it calls is cancelled, and what it waits for is not waited for."""
        self.reason = reason
        if self.scope is not None:
            self.scope.cancel()
        for call in (self.call, self.fallback):
            if call is not None:
                call.cancel()

    def activities(self, zero: float) -> Iterator[Activity]:
        """Its calls under way. `zero` is when the run began, on anyio's clock."""
        if self.held is not None:
            yield Activity(self.task.id, None, self.held.target, 0, None, self.note)
            return
        calls = self.calls if self.fallback is None else [self.fallback]
        for call in calls:
            began = call.started_at
            yield Activity(
                call.task,
                call.item,
                f"{call.server}:{call.tool}",
                call.attempts,
                None if began is None else (began - zero) * 1000,
                call.waiting_for,
            )

    def end_items(self, zero: float) -> None:
        """End the items that have not ended: they were cancelled."""
        items = self.items or []
        cancelled = Cancelled("its task was ended")
        for position, call in (self.in_flight or {}).items():
            items[position] = ended(call, cancelled, zero)
        for index, item in enumerate(items):
            items[index] = item or ItemResult(index, cancelled)
        self.in_flight = None

    def result(self, outcome: Outcome, zero: float) -> TaskResult:
        """What it came to, if it settles now with this outcome."""
        task, call = self.task, self.call
        if self.items is not None or self.fallback is not None:
            return self._merged(outcome, zero)
        if call is None or call.started_at is None:
            return TaskResult(task.id, outcome, task.generation)
        started_ms, duration_ms = times(call, zero)
        return TaskResult(
            task.id,
            outcome,
            task.generation,
            call.attempts,
            started_ms,
            duration_ms,
            call.waited_s * 1000,
        )

    def _merged(self, outcome: Outcome, zero: float) -> TaskResult:
        """The same for a task of several calls."""
        items = None if self.items is None else tuple(filter(None, self.items))
        own = [ended(call, outcome, zero) for call in self.calls if call.started_at is not None]
        parts = [*own, *(item for item in items or () if item.started_ms is not None)]
        if not parts:
            return TaskResult(self.task.id, outcome, self.task.generation, items=items)
        first = min(parts, key=lambda part: part.started_ms or 0.0)
        started_ms = first.started_ms or 0.0
        return TaskResult(
            self.task.id,
            outcome,
            self.task.generation,
            sum(part.attempts for part in parts) - (self.fallback.attempts if self.fallback else 0),
            started_ms,
            (anyio.current_time() - zero) * 1000 - started_ms,
            sum(part.waited_ms for part in own) if own else first.waited_ms,
            items,
        )


def times(call: Call, zero: float) -> tuple[float, float]:
    """When a call that has begun did so, and how long ago that is, milliseconds."""
    began = call.started_at or zero
    return (began - zero) * 1000, (anyio.current_time() - began) * 1000


def ended(call: Call, outcome: Outcome, zero: float) -> ItemResult:
    """What a call came to, if it ends now with this outcome."""
    index = call.item or 0
    if call.started_at is None:
        return ItemResult(index, outcome)
    started_ms, duration_ms = times(call, zero)
    return ItemResult(index, outcome, call.attempts, started_ms, duration_ms, call.waited_s * 1000)
