"""An event loop of asyncio that does not wait: where all tasks wait, its time jumps.

It is for runs without servers: nothing but timers and threads can end a wait.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from anyio import to_thread


class _Impatient(selectors.DefaultSelector):
    """A selector that waits for threads and for nothing else, and notes how long it would have."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None or to_thread.current_default_thread_limiter().borrowed_tokens:
            return super().select(None)  # what ends in a thread wakes the loop, as a signal does
        self.skipped_s += timeout
        return []


class InstantLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0 and is that of its timers."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        """The time, seconds: what was waited for so far, as if it had been."""
        return self._impatient.skipped_s


INSTANT: dict[str, Any] = {"backend": "asyncio", "backend_options": {"loop_factory": InstantLoop}}
"""The options of `anyio.run` for such a loop."""
