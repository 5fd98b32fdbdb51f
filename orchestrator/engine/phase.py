"""A phase of a workflow: its tasks, or those of `finally`. It can end early."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import anyio

from orchestrator.engine.summary import Stop

Limit = tuple[float, Stop]
"""After how many seconds something ends, and why."""


class Phase:
    """A part of a run, which ends early at the first of its limits, or when `end` is called.

    Attributes:
        stop: Why it has ended early; None if it has not.
    """

    def __init__(
        self, limits: Iterable[Limit] = (), began_s: float = 0.0, *, shield: bool = False
    ) -> None:
        self.stop: Stop | None = None
        self._first = min(limits, key=lambda limit: limit[0], default=None)
        self._began_s = began_s
        # A shield keeps a cancellation from outside away.
        self._scope = anyio.CancelScope(shield=shield)

    @classmethod
    def of_finally(cls, limit_s: float, began_s: float, granted: Iterable[Limit]) -> Phase:
        """The tasks of `finally`, which nothing ends but their own limit, and what is granted."""
        late = Stop.late(limit_s, "the tasks of finally reached their limit")
        phase = cls([(limit_s, late), *granted], began_s, shield=True)
        if phase._first is not None and phase._first[0] <= began_s:  # no call may leave
            phase.end(phase._first[1])
        return phase

    async def run(self, work: Awaitable[None]) -> bool:
        """Do its work; the limit counts from `began_s` ago. Whether it was ended."""
        with self._scope as scope:
            if self._first is not None:
                scope.deadline = anyio.current_time() + self._first[0] - self._began_s
            await work
        return scope.cancelled_caught

    def end(self, stop: Stop) -> None:
        """End it."""
        self.stop = self.stop or stop
        self._scope.cancel()

    def why(self, otherwise: Stop) -> Stop:
        """Why its tasks are cancelled: by us, or else by its limit or from outside."""
        # A deadline and a cancellation from outside look alike: only the clock tells them apart.
        is_over = anyio.current_time() >= self._scope.deadline
        if self.stop is None and self._first is not None and is_over:
            return self._first[1]
        return self.stop or otherwise
