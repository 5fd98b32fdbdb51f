"""The time of a run.

The rule of this file: it is anyio's clock, but for the time in which a run had nothing to do.
"""

from __future__ import annotations

import anyio


class Clock:
    """Counts from the start of a run, and stands still while nothing is to be counted.

    Attributes:
        zero: When the run began, on anyio's clock; later by as much as it has stood still.
    """

    def __init__(self) -> None:
        self.zero = 0.0
        self._stopped_at: float | None = None

    def start(self) -> None:
        """The run begins now."""
        self.zero = anyio.current_time()

    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        now = anyio.current_time() if self._stopped_at is None else self._stopped_at
        return (now - self.zero) * 1000

    def stand_still(self) -> None:
        """Count nothing until it goes on."""
        if self._stopped_at is None:
            self._stopped_at = anyio.current_time()

    def go_on(self) -> None:
        """Count again."""
        if self._stopped_at is not None:
            self.zero += anyio.current_time() - self._stopped_at
            self._stopped_at = None
