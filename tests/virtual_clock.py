"""Backends on a virtual clock; for asyncio an event loop whose time jumps to the next timer.

What `trio.testing.MockClock(autojump_threshold=0)` is to trio. The loop still polls its files, so
what arrives from another thread or a socket is seen, but never waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Impatient(selectors.DefaultSelector):
    """A selector that does not wait: it notes how long it would have."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            self.slept_s += timeout or 0.0
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that begins at 0 and knows no time but that of its timers."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.slept_s


Backend = tuple[str, dict[str, Any]]


def virtual_clock(name: str) -> Backend:
    """A backend for anyio with a clock that jumps to the next deadline whenever all tasks wait."""
    if name == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    import trio.testing  # the environments of agent frameworks have none

    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
