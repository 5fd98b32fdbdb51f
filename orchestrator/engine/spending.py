"""What a run spends: calls, time, and the memory that answers take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Protocol, Self

from orchestrator.engine.phase import Limit
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.summary import Stop, Whose
from orchestrator.workflow.budget import Budget

MB = 1_000_000


class Spender(Protocol):
    """Runs the tasks of a workflow."""

    def end(self, stop: Stop) -> None:
        """End them."""

    @property
    def is_in_finally(self) -> bool:
        """Whether the others have ended, and those of `finally` run, which no budget bounds."""


class Spending:
    """Counts what a workflow spends, and ends it when that is more than a budget.

    When no calls are left, those that are under way are awaited. The answers that are in flight
    when there are too many, and the values that references make, come on top.

    Args:
        budget: The budget.
        over: Why the workflow ends; takes the name of a limit, and the limit.
        spender: What runs it.
        outer: Counts the same for what is around it; None if nothing is.
    """

    def __init__(
        self,
        budget: Budget,
        over: Callable[[str, float], Stop],
        spender: Callable[[], Spender],
        outer: Spending | None = None,
    ) -> None:
        self.budget, self._over, self._spender, self._outer = budget, over, spender, outer
        self._calls, self._bytes = 0, 0
        self._under_way, self._needs_more = 0, False
        self._recorder: Recorder | None = None
        self._key = ""

    @classmethod
    def of_memory(cls, max_run_mb: int, spender: Callable[[], Spender]) -> Self:
        """That of a run, whose answers may take so much in memory, megabytes; 0 for any."""
        budget = Budget.model_construct(result_mb=max_run_mb or None)
        return cls(budget, lambda _, limit: Stop.full(int(limit)), spender)

    def within(
        self,
        budget: Budget | None,
        whose: Whose,
        spender: Callable[[], Spender],
        recorder: Recorder | None,
        inside: tuple[str, str] | None = None,
    ) -> Spending:
        """The same with one more budget, if there is one; what earlier processes spent counts.

        `inside` are the path and the name of a workflow that runs in place of a call.
        """
        if budget is None:
            return self
        path, name = inside or ("", None)
        inner = Spending(budget, lambda of, most: Stop.spent(of, most, whose, name), spender, self)
        if recorder is not None and (budget.calls or budget.result_mb):
            inner._recorder, inner._key = recorder, f"{path}{whose}"
            inner._calls, inner._bytes = recorder.spent(inner._key)
        return inner

    def _levels(self, outer: Spending | None = None) -> Iterator[Spending]:
        """This and those around it, up to one of them."""
        level: Spending | None = self
        while level is not None and level is not outer:
            yield level
            level = level._outer

    def limits(self, outer: Spending | None) -> Iterator[Limit]:
        """Those of time, up to what is around it."""
        for level in self._levels(outer):
            if (minutes := level.budget.minutes) is not None:
                yield minutes * 60, level._over("minutes", minutes)

    @property
    def outermost(self) -> Spending:
        """That of the run as a whole."""
        return list(self._levels())[-1]

    @property
    def is_bounded(self) -> bool:
        """Whether there is any budget; what a run may hold in memory is none."""
        return self._outer is not None

    def left(self, elapsed_s: float) -> dict[str, float]:
        """What is left of each limit, by its name; the least of this and what is around it."""
        found: dict[str, float] = {}
        for level in self._levels(self.outermost):  # which is no budget
            calls, size = level._calls, level._bytes / MB
            for name, spent in ("calls", calls), ("minutes", elapsed_s / 60), ("result_mb", size):
                if (limit := getattr(level.budget, name)) is not None:
                    found[name] = min(max(0, limit - spent), found.get(name, limit))
        return found

    def begin_call(self) -> bool:
        """Count a call that is about to leave. False: it must not, and what it is part of ends."""
        # Nothing bounds what `finally` needs, nor does it bound what runs inside of its tasks.
        counting = list(takewhile(lambda each: not each._spender().is_in_finally, self._levels()))
        for level in counting:
            if level._calls == level.budget.calls:
                level._needs_more = True
                level._end_if_idle()
                return False
        for level in self._levels():
            level._under_way += 1
        for level in counting:
            level._calls += 1
            level._keep()
        return True

    def end_call(self) -> None:
        """A call that was counted has ended."""
        for level in self._levels():
            level._under_way -= 1
            level._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._needs_more and not self._under_way and self.budget.calls is not None:
            self._spender().end(self._over("calls", self.budget.calls))

    def answer(self, size: int) -> None:
        """Count an answer of about this many bytes; that of a failure can be as large as any."""
        for level in self._levels():
            if (most := level.budget.result_mb) is not None:
                level._bytes += size
                level._keep()
                if level._bytes > most * MB:
                    level._spender().end(level._over("result_mb", most))

    def _keep(self) -> None:
        if self._recorder is not None:
            self._recorder.note_spent(self._key, self._calls, self._bytes)
