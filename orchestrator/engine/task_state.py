"""The state of a task that is under way: its calls, its items and their times.

Longer than other files: items are calls of their task, and their states refer to each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from orchestrator.calls.call import Attempt, Call, Inside
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, Priority, Slots
from orchestrator.calls.tracing import Trace
from orchestrator.documents.text import cut, quoted
from orchestrator.engine.decide import Start, StartEach
from orchestrator.engine.items import HandedOut, Joined
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success, Waiting
from orchestrator.engine.result import ItemResult, TaskResult, Waits
from orchestrator.errors import TaskError
from orchestrator.workflow.plan import CallTemplate, TaskPlan

logger = logging.getLogger("orchestrator")

MAX_MESSAGE = 300  # of the error of an attempt in the reason why another was not made
_Measures = tuple[int, float, float, float]
Decision = Start | StartEach | Failure | Call
"""What is to be carried out; of a failure, the fallback."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A call that is under way or waits.

    Attributes:
        task: The task, with those that it is inside of, as in `outer[3]/inner`.
        item: The position of its item under `for_each`, or None.
        target: `server:tool`.
        attempt: The number of the attempt, from 1; 0 before the first.
        since_ms: When its first attempt began, milliseconds since the run did; None before that.
        waiting_for: The lock, slot, rate or server that it waits for; empty if it is being made.
        progress: What its tool has said last: how much, of how much, and a message; None: nothing.
    """

    task: str
    item: int | None
    target: str
    attempt: int
    since_ms: float | None
    waiting_for: str
    progress: tuple[float, float | None, str] | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run does now.

    Attributes:
        settled: How many tasks have settled, of `tasks`.
        running: The calls that are under way or wait.
        left: What is left of its budget: `calls`, `minutes`, `result_mb`, as far as limited.
        at_ms: When that is, milliseconds since the run began.
        items: Of each `for_each` under way, by its path, how many items have settled, of how many.
    """

    settled: int
    tasks: int
    running: tuple[Activity, ...]
    left: Mapping[str, float] = field(default_factory=dict)
    at_ms: float = 0.0
    items: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TaskState:
    """A task that has started and has not settled.

    Attributes:
        reason: Why it was cancelled by itself; None if it was not.
        attempt: The state of its call, and `fallback` that of its fallback's call.
        items: How each item of a `for_each` ended; None for one that has not.
        first: The number of the first of them.
        elsewhere: The items that others carry, or None.
        in_flight: The state of the calls of items that have not ended, by position.
        scope: Cancels all items, or the wait before the first call.
        not_begun: The outcome of items that have not begun, if no further one begins.
        within: The tasks that it is inside of, as a path that ends with "/", or empty.
        workers: How many items are under way.
        more: Lets one more item begin, as one of them waits for an answer; None if none is left.
        traces: What its calls are traced inside of, by the position of the item, or None.
    """

    task: TaskPlan
    priority: Priority = FIRST
    decision: Decision | None = None
    reason: str | None = None
    attempt: Attempt | None = None
    fallback: Attempt | None = None
    items: list[ItemResult | None] | None = None
    first: int = 0
    elsewhere: HandedOut | None = None
    in_flight: dict[int, Attempt] | None = None
    scope: anyio.CancelScope | None = None
    not_begun: Skipped | None = None
    within: str = ""
    workers: int = 0
    more: Callable[[], object] | None = None
    traces: dict[int | None, Trace] | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether nothing of it goes on by itself: it waits for answers, or for what does."""
        if self.elsewhere is not None and self.fallback is None:
            return self.elsewhere.is_idle
        if self.items is None or self.fallback is not None:
            attempt = self.fallback or self.attempt
            return attempt is not None and _is_blocked(attempt)
        attempts = (self.in_flight or {}).values()
        return 0 < len(attempts) == self.workers and all(map(_is_blocked, attempts))

    def waiting(self, zero: float) -> Waiting:
        """The outcome of the task if the run pauses now; so do its items that have not ended."""
        for position, attempt in (self.in_flight or {}).items():
            if self.items is not None:
                self.items[position - self.first] = ended(position, attempt, Waiting(), zero)
        if self.items is not None:
            numbered = enumerate(self.items, self.first)
            self.items = [item or ItemResult(n, Waiting()) for n, item in numbered]
        if self.joined is not None:
            self.joined.rest = Waiting()
        self.in_flight = None
        return Waiting()

    def _begun(self) -> list[Attempt]:
        """The calls of which an attempt has begun, without items that have ended."""
        attempts = (self.attempt, self.fallback, *(self.in_flight or {}).values())
        # An attempt with number 0 still waits: nothing was sent for it.
        return [each for each in attempts if each is not None and each.number]

    @property
    def joined(self) -> Joined | None:
        """The items that others have carried."""
        return None if self.elsewhere is None else self.elsewhere.joined

    @property
    def inside(self) -> list[Inside]:
        """The workflows that run in place of its calls."""
        attempts = (self.attempt, *(self.in_flight or {}).values())
        return [each.inside for each in attempts if each is not None and each.inside is not None]

    @property
    def has_begun(self) -> bool:
        """Whether any attempt has begun."""
        items = self.items or ()
        if self.joined is not None and self.joined.totals.attempts:
            return True
        return bool(self._begun()) or any(item is not None and item.attempts for item in items)

    def cancel(self, reason: str) -> None:
        """Cancel its calls."""
        self.reason = reason
        if self.scope is not None:
            self.scope.cancel()
        for attempt in (self.attempt, self.fallback):
            if attempt is not None:
                attempt.cancel()

    def stop_items(self, reason: str) -> None:
        """Let no further item begin; those that have begun go on."""
        self.not_begun = Skipped(reason)
        for attempt in (self.in_flight or {}).values():
            if not attempt.number:  # it waits for a server, a lock or a slot
                attempt.cancel()

    def activities(self, zero: float) -> Iterator[Activity]:
        """Its calls under way. `zero` is when the run began, on anyio's clock."""
        fallback = self.task.policies.fallback
        if self.fallback is not None and isinstance(fallback, CallTemplate):
            yield self._activity(None, fallback.target, self.fallback, zero)
        elif self.attempt is not None:
            yield from self._own(None, self.attempt, zero)
        for item, attempt in (self.in_flight or {}).items():
            yield from self._own(item, attempt, zero)

    def items_under_way(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """How many items have settled, of how many; likewise what is inside of it."""
        if (what := self.elsewhere) is not None:
            yield self.within + self.task.id, (what.settled, len(what.items))
        if (items := self.items) is not None:
            yield self.within + self.task.id, (len(items) - items.count(None), len(items))
        for inside in self.inside:
            yield from inside.items_under_way()

    def _own(self, item: int | None, attempt: Attempt, zero: float) -> Iterator[Activity]:
        inside = () if attempt.inside is None else tuple(attempt.inside.activities())
        yield from inside or (self._activity(item, self.task.target, attempt, zero),)

    def _activity(self, item: int | None, target: str, attempt: Attempt, zero: float) -> Activity:
        began = attempt.started_at
        since_ms = None if began is None else (began - zero) * 1000
        path = self.within + self.task.id
        what = attempt.waiting_for
        waiting_for = "" if what is None else str(what)
        return Activity(path, item, target, attempt.number, since_ms, waiting_for)

    def ended_by(self, not_begun: Skipped | Cancelled | Waiting, zero: float) -> Outcome:
        """Its outcome if the run ends now, and this is that of tasks that have not begun."""
        if isinstance(not_begun, Waiting):
            return self.waiting(zero)
        return self.cancelled(not_begun.reason + self._failed_before(), zero)

    def _failed_before(self) -> str:
        """How the attempt failed that another was to follow, to be added to why none does."""
        calls: dict[int | None, Attempt | None] = {None: self.fallback or self.attempt}
        calls.update((self.in_flight or {}).items())
        for item, attempt in calls.items():
            if attempt is not None and (error := attempt.failed_before) is not None:
                of = "" if item is None else f" of item {item}"
                message = cut(error.message, MAX_MESSAGE)
                return f"; the attempt before{of} failed: {error.kind}: {message}"
        return ""

    def cancelled(self, reason: str, zero: float) -> Cancelled:
        """The outcome of the task if it is cancelled now; its items end, and their outputs stay."""
        if self.elsewhere is not None and self.joined is not None:
            outputs = self.elsewhere.outputs
            return Cancelled(reason, self.joined.outputs({}) if outputs is None else outputs)
        if self.items is None:
            return Cancelled(reason)
        cancelled = Cancelled("its task was ended")
        for position, attempt in (self.in_flight or {}).items():
            self.items[position - self.first] = ended(position, attempt, cancelled, zero)
        numbered = enumerate(self.items, self.first)
        items = [item or ItemResult(n, cancelled) for n, item in numbered]
        self.items, self.in_flight = list(items), None
        return Cancelled(reason, [item.output for item in items])

    def result(self, outcome: Outcome, zero: float) -> TaskResult:
        """The result of the task if it settles now with this outcome."""
        task, attempt = self.task, self.attempt
        is_one_call = self.items is None and self.elsewhere is None and self.fallback is None
        if not is_one_call:
            return self._merged(outcome, zero)
        if attempt is None or attempt.started_at is None:
            cached = attempt is not None and attempt.cached
            waits = () if attempt is None else _moved(attempt.waits, zero)
            return TaskResult(task.id, outcome, task.generation, cached=cached, waits=waits)
        measures, waits = _measures(attempt, zero)
        tasks = None if attempt.inside is None else attempt.inside.results
        values = (task.id, outcome, task.generation, *measures)
        return TaskResult(*values, tasks=tasks, waits=waits)

    def _merged(self, outcome: Outcome, zero: float) -> TaskResult:
        """The same for a task of several calls."""
        items: Sequence[ItemResult] | None = self.joined
        if self.items is not None:
            items = tuple(filter(None, self.items))
        own = [ended(0, attempt, outcome, zero) for attempt in self._begun()]
        parts = [*own, *_begun_of(items or ())]
        if not parts:
            cached = isinstance(outcome, Success) and _is_cached(items or ())
            about = self.task.id, outcome, self.task.generation
            return TaskResult(*about, items=items, cached=cached)
        first = min(parts, key=lambda part: part.started_ms or 0.0)
        started_ms = first.started_ms or 0.0
        return TaskResult(
            self.task.id,
            outcome,
            self.task.generation,
            # `attempts` counts calls of the task, and its fallback is another call.
            sum(part.attempts for part in parts) - (self.fallback.number if self.fallback else 0),
            started_ms,
            (anyio.current_time() - zero) * 1000 - started_ms,
            sum(part.waited_ms for part in own) if own else first.waited_ms,
            items,
            own[0].tasks if own else None,
            waits=tuple(wait for part in own for wait in part.waits),
        )


def _begun_of(items: Sequence[ItemResult]) -> Iterable[ItemResult]:
    """The items that have begun; of those that others carried one, with the attempts of all."""
    if not isinstance(items, Joined):
        return (item for item in items if item.started_ms is not None)
    totals = items.totals
    return () if totals.began is None else (replace(totals.began, attempts=totals.attempts),)


def _is_cached(items: Sequence[ItemResult]) -> bool:
    if isinstance(items, Joined):
        return items.totals.is_cached
    return any(item.cached for item in items)


def _is_blocked(attempt: Attempt) -> bool:
    """Whether a call waits for an answer, or for what another call holds."""
    if attempt.inside is not None:
        return attempt.inside.is_idle
    is_queued = attempt.queued_at is not None or isinstance(attempt.end_by, Slots)
    return attempt.asks or is_queued or (attempt.note is not None and attempt.note.kind == "lock")


def ended(index: int, attempt: Attempt, outcome: Outcome, zero: float) -> ItemResult:
    """The result of an item whose call ends now with this outcome."""
    if attempt.started_at is None:
        return ItemResult(index, outcome, cached=attempt.cached)
    tasks = None if attempt.inside is None else attempt.inside.results
    measures, waits = _measures(attempt, zero)
    return ItemResult(index, outcome, *measures, tasks, waits=waits)


def _measures(attempt: Attempt, zero: float) -> tuple[_Measures, Waits]:
    """The attempts, start, duration, wait and waits of a call that ends now; milliseconds."""
    began = attempt.started_at or zero
    took_ms = (anyio.current_time() - began) * 1000
    attempts = attempt.number if attempt.own is None else attempt.own
    waits = attempt.waits
    if waits:  # nearly always one: it costs no function call
        (what, since, waited_s), *more = waits
        first = what, (since - zero) * 1000, waited_s * 1000
        waits = (first, *_moved(more, zero)) if more else (first,)
    return (attempts, (began - zero) * 1000, took_ms, attempt.waited_s * 1000), waits


def _moved(waits: Iterable[tuple[Cause, float, float]], zero: float) -> Waits:
    return tuple((what, (since - zero) * 1000, s * 1000) for what, since, s in waits)


def internal(bug: Exception, task: str) -> TaskError:
    """The error of a bug, which is logged."""
    logger.exception("task %s: a bug in the engine or in the caller", quoted(task), exc_info=bug)
    return error_of(bug)


def error_of(bug: Exception) -> TaskError:
    """The error of a bug."""
    message = f"a bug in the engine or in the caller: {type(bug).__name__}: {bug}"
    return TaskError("internal", message, retryable=False, details={"type": type(bug).__name__})
