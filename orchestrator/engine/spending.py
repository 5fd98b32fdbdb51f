"""What a run spends: calls, time, and the memory that answers take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def end_all(self, stop: Stop) -> None:
        """End them, and those of `finally`, too."""

    @property
    def is_in_finally(self) -> bool:
        """Whether the others have ended, and those of `finally` run."""


class Spending:
    """Counts what a workflow spends, and ends it when that is more than a budget.

    When no calls are left, those that are under way are awaited. The answers that are in flight
    when there are too many, and the values that references make, come on top.

    The tasks of `finally` run when a budget is spent. What they spend is counted apart: nothing of
    their workflow bounds it, but an operator's budget grants them the same once more.

    Args:
        budget: The budget.
        over: Why the workflow ends; takes the name of a limit, and the limit.
        spender: What runs it.
        outer: Counts the same for what is around it; None if nothing is.
        cleanup: Counts what `finally` spends, of the workflow and all that run inside it; None if
            nothing bounds that here.
    """

    def __init__(
        self,
        budget: Budget,
        over: Callable[[str, float], Stop],
        spender: Callable[[], Spender],
        outer: Spending | None = None,
        cleanup: Cleanup | None = None,
    ) -> None:
        self.budget, self._over, self._spender, self._outer = budget, over, spender, outer
        self._cleanup = cleanup
        self._calls, self._bytes = 0, 0
        self._under_way, self._needs_more = 0, False
        self._recorder: Recorder | None = None
        self._key = ""

    @classmethod
    def of_memory(cls, max_run_mb: int, spender: Callable[[], Spender]) -> Self:
        """That of a run, whose answers may take so much in memory, megabytes; 0 for any."""
        budget = Budget.model_construct(result_mb=max_run_mb or None)
        over = lambda _, limit: Stop.full(int(limit))  # noqa: E731  # it is used twice
        return cls(budget, over, spender, cleanup=Cleanup(budget, over, spender))

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
        inner._take_over(recorder, f"{path}{whose}")
        if whose == "operator":
            inner._cleanup = Cleanup(budget, Stop.spent_by_finally, spender)
            # No path of a task: what is kept below a path is forgotten with an attempt of its task.
            inner._cleanup._take_over(recorder, "operator finally")
        return inner

    def _take_over(self, recorder: Recorder | None, key: str) -> None:
        """Go on from what earlier processes spent, and keep what is."""
        if recorder is not None and (self.budget.calls or self.budget.result_mb):
            self._recorder, self._key = recorder, key
            self._calls, self._bytes = recorder.spent(key)

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

    def limits_of_finally(self, now_s: float, began_s: float) -> Iterator[Limit]:
        """How long `finally` may take: as long as all the other tasks, and with them twice that.

        `now_s` is the time of the run, and `began_s` how long ago that `finally` began.
        """
        for level in self._levels():
            if level._cleanup is not None and (minutes := level.budget.minutes) is not None:
                most_s = minutes * 60
                left_s = min(most_s, 2 * most_s - (now_s - began_s))
                yield left_s, level._cleanup._over("minutes", minutes)

    def end_run_after(self, stop: Stop | None) -> None:
        """End the run as a whole, all `finally` included, if a budget has ended one of these."""
        if stop is not None and stop.reason == "budget":
            self.outermost._spender().end_all(stop)

    @property
    def outermost(self) -> Spending:
        """That of the run as a whole."""
        return list(self._levels())[-1]

    @property
    def is_bounded(self) -> bool:
        """Whether there is any budget; what a run may hold in memory is none."""
        limits = (level.budget for level in self._levels(self.outermost))
        return any(each.calls or each.minutes or each.result_mb for each in limits)

    def left(self, elapsed_s: float) -> dict[str, float]:
        """What is left of each limit, by its name; the least of this and what is around it.

        While `finally` runs, it is what is left of the calls and the megabytes for that.
        """
        found: dict[str, float] = {}
        for level in self._levels(self.outermost):  # which is no budget
            spent = {"minutes": elapsed_s / 60}
            counted: Spending | None = level
            if level._spender().is_in_finally:
                spent, counted = {}, level._cleanup
            if counted is not None:
                spent |= {"calls": counted._calls, "result_mb": counted._bytes / MB}
            for name, amount in spent.items():
                if (limit := getattr(level.budget, name)) is not None:
                    found[name] = min(max(0, limit - amount), found.get(name, limit))
        return found

    def _counting(self) -> list[Spending]:
        """Those that count what is spent now.

        Nothing around a `finally` counts what that needs, nor what runs inside of its tasks, but
        what an operator grants for it.
        """
        counting: list[Spending] = []
        is_last = False
        for level in self._levels():
            is_last = is_last or level._spender().is_in_finally
            if not is_last:
                counting.append(level)
            elif level._cleanup is not None:
                counting.append(level._cleanup)
        return counting

    def begin_call(self) -> list[Spending] | None:
        """Count a call that is about to leave: what counts it, which has to know when it has ended.

        None: it must not leave, and what it is part of ends.
        """
        counting = self._counting()
        for level in counting:
            if level._calls == level.budget.calls:
                level._needs_more = True
                level._end_if_idle()
                return None
        for level in counting:
            level._calls += 1
            level._keep()
        for level in counting:
            level._under_way += 1
        return counting

    def end_call(self) -> None:
        """A call that was counted here has ended."""
        self._under_way -= 1
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._needs_more and not self._under_way and self.budget.calls is not None:
            self._end("calls", self.budget.calls)

    def _end(self, name: str, limit: float) -> None:
        """End what spends too much."""
        self._spender().end(self._over(name, limit))

    def answer(self, size: int) -> None:
        """Count an answer of about this many bytes; that of a failure can be as large as any."""
        for level in self._counting():
            if (most := level.budget.result_mb) is not None:
                level._bytes += size
                level._keep()
                if level._bytes > most * MB:
                    level._end("result_mb", most)

    def _keep(self) -> None:
        if self._recorder is not None:
            self._recorder.note_spent(self._key, self._calls, self._bytes)


class Cleanup(Spending):
    """Counts what all `finally` of a run spend, and ends them and the run when that is too much."""

    def _end(self, name: str, limit: float) -> None:
        """End all, as no task of `finally` could do its part any more."""
        self._spender().end_all(self._over(name, limit))
