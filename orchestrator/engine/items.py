"""What the items of a `for_each` come to together, also those that other processes carry."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

from orchestrator.engine.outcome import Cancelled, Failure, Outcome
from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.errors import TaskError
from orchestrator.workflow.plan import TaskPlan

PAGE = 1_000  # items that are read at a time
Read = Callable[[int, int, dict[int, Any]], Iterable[ItemResult]]
"""The items that have settled from one number up to another, in order; notes what was wrapped."""


def first_failure(items: Sequence[ItemResult]) -> TaskError | None:
    """The error of a `for_each`: that of the first item that failed; None if none did."""
    failed = {item.index: item.outcome.error for item in items if isinstance(item.outcome, Failure)}
    return _error(next(iter(failed.items())), len(failed), len(items)) if failed else None


def _error(first: tuple[int, TaskError], failed: int, of: int) -> TaskError:
    index, error = first
    message = f"{failed} of {of} items failed; item {index}: {error.message}"
    counts = {"first": index, "failed": failed, "of": of}
    return TaskError(error.kind, message, error.retryable, {**error.details, "items": counts})


def calls_ms(task: TaskResult) -> float:
    """The times of a task's calls, one after the other."""
    if task.tasks is not None:
        return sum(map(calls_ms, task.tasks.values()))
    if task.items is None:
        return task.duration_ms
    if isinstance(task.items, Joined):
        return task.items.totals.calls_ms
    return sum(
        item.duration_ms if item.tasks is None else sum(map(calls_ms, item.tasks.values()))
        for item in task.items
    )


@dataclass(slots=True)
class Totals:
    """The counts of all items of a `for_each`.

    Attributes:
        number: How many have settled.
        attempts: The number of calls.
        calls_ms: The times of all calls.
        began: The item that began first; None if none has.
        failed: How many failed.
        failure: The first one of these.
        is_cached: Whether the memo answered any.
        settled: For each item, up to the last one that has settled, whether it has.
    """

    number: int = 0
    attempts: int = 0
    calls_ms: float = 0.0
    began: ItemResult | None = None
    failed: int = 0
    failure: tuple[int, TaskError] | None = None
    is_cached: bool = False
    settled: bytearray = field(default_factory=bytearray, repr=False)

    def add(self, item: ItemResult) -> None:
        """Count an item."""
        self.number += 1
        self.settled.extend(bytes(max(0, item.index + 1 - len(self.settled))))
        self.settled[item.index] = True
        self.attempts += item.attempts
        inside = item.tasks
        self.calls_ms += item.duration_ms if inside is None else sum(map(calls_ms, inside.values()))
        self.is_cached = self.is_cached or item.cached
        if item.started_ms is not None:
            first = None if self.began is None else self.began.started_ms
            if first is None or item.started_ms < first:
                self.began = item
        if isinstance(item.outcome, Failure):
            self.failed += 1
            if self.failure is None or item.index < self.failure[0]:
                self.failure = item.index, item.outcome.error

    def error(self, of: int) -> TaskError | None:
        """The error of the task, which has so many items; None if none of them failed."""
        return None if self.failure is None else _error(self.failure, self.failed, of)


class Joined(Sequence[ItemResult]):
    """The items of a `for_each` that are kept elsewhere: they are read as often as needed.

    Args:
        number: How many there are.
        read: Reads those that have settled.
        totals: What they come to; None: they are read for it.

    Attributes:
        rest: The outcome of those that have not settled.
    """

    def __init__(self, number: int, read: Read, totals: Totals | None = None) -> None:
        self._number, self._read, self._totals = number, read, totals
        self.rest: Outcome = Cancelled("its task was ended")

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, index: int) -> ItemResult: ...

    @overload
    def __getitem__(self, index: slice) -> list[ItemResult]: ...

    def __getitem__(self, index: int | slice) -> ItemResult | list[ItemResult]:
        if isinstance(index, slice):
            return [self[each] for each in range(self._number)[index]]
        first = range(self._number)[index]
        return self._page(first, first + 1, {})[0]

    def __iter__(self) -> Iterator[ItemResult]:
        return self._all({})

    @property
    def totals(self) -> Totals:
        """What they come to."""
        if self._totals is None:
            self._totals = Totals()
            for item in self:
                if item.outcome is not self.rest:
                    self._totals.add(item)
        return self._totals

    def outputs(self, wrapped: dict[int, Any]) -> list[Any]:
        """The output of each; `wrapped` gets what was wrapped."""
        return [item.output for item in self._all(wrapped)]

    def missing(self) -> Iterator[ItemResult]:
        """Those that have not settled, with the outcome that they have instead."""
        settled = self.totals.settled
        for index in range(self._number):
            if index >= len(settled) or not settled[index]:
                yield ItemResult(index, self.rest)

    def _all(self, wrapped: dict[int, Any]) -> Iterator[ItemResult]:
        for first in range(0, self._number, PAGE):
            yield from self._page(first, min(first + PAGE, self._number), wrapped)

    def _page(self, first: int, end: int, wrapped: dict[int, Any]) -> list[ItemResult]:
        found = {item.index: item for item in self._read(first, end, wrapped)}
        return [found.get(index) or ItemResult(index, self.rest) for index in range(first, end)]


@dataclass(slots=True, eq=False)
class HandedOut:
    """The items of a task that others carry.

    Attributes:
        task: The task.
        items: The items.
        limit: How many calls of the run may be in flight at a time; 0 for any number.
        stops: Why one that fails keeps others from beginning; empty if it does not.
        note: Receives each item that has settled.
        ask: Asks what one of them waits for, and keeps the reply.
        settled: How many have.
        is_idle: Whether nothing is left but what waits for answers.
        joined: How they ended; set in the end, however that comes.
        outputs: Those of the items that had settled when the task was cancelled.
        error: Why they are not all done, apart from what became of each; None if they are.
    """

    task: TaskPlan
    items: list[Any]
    limit: int
    stops: str
    note: Callable[[ItemResult], None]
    ask: Callable[[Question], Coroutine[Any, Any, None]]
    settled: int = 0
    is_idle: bool = False
    joined: Joined | None = None
    outputs: list[Any] | None = None
    error: TaskError | None = None


class Spreader(Protocol):
    """Hands the items of a `for_each` to other processes."""

    async def carry(self, what: HandedOut, /) -> bool:
        """Have them carried; false if this process has to do it."""
