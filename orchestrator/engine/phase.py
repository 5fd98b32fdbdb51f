"""The two phases of a run: its tasks, and then those of `finally`. Each can end early."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio

from orchestrator.engine.summary import Stop


class Phase:
    """A part of a run, which ends early at its limit, or when `end` is called.

    Attributes:
        stop: Why it has ended early; None if it has not.
    """

    def __init__(self, limit_s: float | None, what: str, *, shield: bool = False) -> None:
        self.stop: Stop | None = None
        self._limit_s, self._what = limit_s, what
        # A shield keeps a cancellation from outside away.
        self._scope = anyio.CancelScope(shield=shield)

    async def run(self, work: Awaitable[None]) -> None:
        """Do its work. The limit counts from now."""
        with self._scope as scope:
            if self._limit_s is not None:
                scope.deadline = anyio.current_time() + self._limit_s
            await work
        if scope.cancelled_caught:
            self.note_end()

    def end(self, stop: Stop) -> Stop:
        """End it, unless it has ended; why it did."""
        if self.stop is None:
            self.stop = stop
            self._scope.cancel()
        return self.stop

    def note_end(self) -> Stop:
        """Why its tasks are cancelled: by us, or else by its limit or from outside."""
        # A deadline and a cancellation from outside look alike: only the clock tells them apart.
        is_over = anyio.current_time() >= self._scope.deadline
        if self.stop is None and self._limit_s is not None and is_over:
            self.stop = Stop.late(self._limit_s, self._what)
        return self.end(Stop.cancelled("the run was cancelled from outside"))


class Phases:
    """The phase of the tasks, and then that of `finally`, if there are such tasks.

    Attributes:
        main: That of the tasks.
        current: The one that runs.
    """

    def __init__(self, limit_s: float | None, finally_s: float | None) -> None:
        self.main = Phase(limit_s, "the run reached its limit")
        self.current = self.main
        self._finally_s = finally_s  # the limit of `finally`; None if it has no tasks
        self._is_cancelled = False
        self._end_of_all: Stop | None = None

    def end(self, stop: Stop) -> None:
        """End the tasks; nothing that becomes of those of `finally` ends these."""
        if self.current is self.main:
            self.main.end(stop)

    def cancel(self, stop: Stop, *, at_once: bool) -> bool:
        """End the tasks; at the second time or `at_once` those of `finally`, too.

        Returns:
            Whether there was anything left to end.
        """
        is_first, at_once = not self._is_cancelled, at_once or self._is_cancelled
        self._is_cancelled = True
        self.main.end(stop)
        if not at_once or self._end_of_all is not None:
            return is_first
        self._end_of_all = stop
        if self.current is not self.main:
            self.current.end(stop)
        return is_first or self._finally_s is not None

    def begin_finally(self) -> Phase:
        """The phase of `finally`, which is the current one from now on."""
        self.current = Phase(
            self._finally_s, "the tasks of finally reached their limit", shield=True
        )
        if self._end_of_all is not None:
            self.current.end(self._end_of_all)
        return self.current
