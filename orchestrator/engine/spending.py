"""What a run spends: calls, time, and the memory that answers take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from orchestrator.engine.phase import Limit
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.summary import Stop, Whose
from orchestrator.workflow.budget import Budget

MB = 1_000_000


class Spending:
    """Counts what a workflow spends, and ends it when that is more than a budget.

    The answers that are in flight then, and the values that references make, come on top. What
    `finally` spends ends nothing, since the end of a workflow does not end its `finally`.

    Args:
        budget: The budget.
        over: Why the workflow ends; takes the name of a limit, and the limit.
        end: Ends it.
        outer: Counts the same for what is around it; None if nothing is.
    """

    def __init__(
        self,
        budget: Budget,
        over: Callable[[str, float], Stop],
        end: Callable[[Stop], object],
        outer: Spending | None = None,
    ) -> None:
        self.budget, self._over, self._end, self._outer = budget, over, end, outer
        self._calls, self._bytes = 0, 0
        self._recorder: Recorder | None = None
        self._key = ""

    @classmethod
    def of_memory(cls, max_run_mb: int, end: Callable[[Stop], object]) -> Self:
        """That of a run, whose answers may take so much in memory, megabytes; 0 for any."""
        budget = Budget.model_construct(result_mb=max_run_mb or None)
        return cls(budget, lambda _, limit: Stop.full(int(limit)), end)

    def within(
        self,
        budget: Budget | None,
        whose: Whose,
        end: Callable[[Stop], object],
        recorder: Recorder | None,
        path: str = "",
    ) -> Spending:
        """The same with one more budget, if there is one; what earlier processes spent counts."""
        if budget is None:
            return self
        inner = Spending(budget, lambda name, limit: Stop.spent(name, limit, whose), end, self)
        if recorder is not None and (budget.calls or budget.result_mb):
            inner._recorder, inner._key = recorder, f"{path}{whose}"
            inner._calls, inner._bytes = recorder.spent(inner._key)
        return inner

    def limits(self, outer: Spending | None = None) -> Iterator[Limit]:
        """Those of time, up to what is around it."""
        if self is outer:
            return
        if (minutes := self.budget.minutes) is not None:
            yield minutes * 60, self._over("minutes", minutes)
        if self._outer is not None:
            yield from self._outer.limits(outer)

    @property
    def outermost(self) -> Spending:
        """That of the run as a whole."""
        return self if self._outer is None else self._outer.outermost

    @property
    def counts_calls(self) -> bool:
        """Whether any budget limits them."""
        here = self.budget.calls is not None
        return here or (self._outer is not None and self._outer.counts_calls)

    def left(self, elapsed_s: float) -> dict[str, float]:
        """What is left of each limit, by its name; the least of this and what is around it."""
        found = {} if self._outer is None else self._outer.left(elapsed_s)
        spent = {"calls": self._calls, "minutes": elapsed_s / 60, "result_mb": self._bytes / MB}
        for name, amount in spent.items():
            if (limit := getattr(self.budget, name)) is not None:
                found[name] = min(max(0, limit - amount), found.get(name, limit))
        return found

    def call(self) -> None:
        """Count a call that is about to leave; ends the workflow if none is left."""
        if self._outer is not None:
            self._outer.call()
        if (most := self.budget.calls) is not None:
            if self._calls == most:
                self._end(self._over("calls", most))
                return
            self._calls += 1
            self._keep()

    def answer(self, size: int) -> None:
        """Count an answer of about this many bytes; that of a failure can be as large as any."""
        if self._outer is not None:
            self._outer.answer(size)
        if (most := self.budget.result_mb) is not None:
            self._bytes += size
            self._keep()
            if self._bytes > most * MB:
                self._end(self._over("result_mb", most))

    def _keep(self) -> None:
        if self._recorder is not None:
            self._recorder.note_spent(self._key, self._calls, self._bytes)
