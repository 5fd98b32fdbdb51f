"""Rates: how many calls may start in a span of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, AbandonedError, Priority, Slots

RATE = Cause("other", "the rate")


class Rate:
    """At most `count` starts in any span of `per_s` seconds: an exact sliding window.

    A token bucket lets twice as many through in the first span. Published limiters (aiolimiter,
    pyrate-limiter, limits) read asyncio's clock or the time of day, so they run neither on trio nor
    on a virtual clock.

    Args:
        count: How many starts.
        per_s: In how many seconds.
        cause: What a waiting call waits for.

    Attributes:
        losses: As for `Slots`.
    """

    losses: int | None = None

    def __init__(self, count: int, per_s: float, cause: Cause = RATE) -> None:
        self.count = count
        self.per_s = per_s
        self.cause = cause
        # One starter at a time looks at the window, so that two never count the same free start.
        self._turn = Slots(1)
        self._first: object = None
        self._sleep: anyio.CancelScope | None = None
        self._starts: deque[float] = deque(maxlen=count)

    def __repr__(self) -> str:
        return f"Rate({self.count} in {self.per_s:g} s)"

    def is_busy(self) -> bool:
        """Whether `acquire` would wait."""
        return self._turn.is_busy() or self._wait_s() > 0

    def tell(self, on_wait: Callable[[], None]) -> None:
        """Call `on_wait` if the next `acquire` would wait."""
        if self.is_busy():
            on_wait()

    async def acquire(
        self, priority: Priority = FIRST, *, who: object = None, group: object = None
    ) -> bool:
        """Wait until a start is allowed, and block all other starts until `release`.

        Whether others started before, so that it had to wait.

        Raises:
            AbandonedError: `abandon` was called for `who`.
        """
        is_late = await self._turn.acquire(priority, who=who, group=group)
        self._first = who
        try:
            with anyio.CancelScope() as self._sleep:
                while (wait_s := self._wait_s()) > 0:
                    is_late = True
                    await anyio.sleep(wait_s)
                return is_late
            raise AbandonedError
        except BaseException:
            self._turn.release()
            raise
        finally:
            self._first = None

    def abandon(self, who: object) -> None:
        """Have the waiter `who` raise `AbandonedError`."""
        self._turn.abandon(who)
        if self._first is who and self._sleep is not None:
            self._sleep.cancel()

    def release(self) -> None:
        """Let the next waiter start."""
        self._turn.release()

    def note_start(self) -> None:
        """Count a start that happens now."""
        self._starts.append(anyio.current_time())

    def _wait_s(self) -> float:
        if len(self._starts) < self.count:
            return 0.0
        return self._starts[0] + self.per_s - anyio.current_time()


def note_starts(held: list[Slots | Rate]) -> None:
    """Note that a call starts, which holds all its limits now: its rates block nobody longer."""
    for limit in held[:]:
        if isinstance(limit, Rate):
            limit.note_start()
            limit.release()
            held.remove(limit)
