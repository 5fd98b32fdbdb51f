"""When a server that has failed may be started again: a circuit breaker.

The rule of this file: it reads no clock and starts nothing; the time is handed to it.

    closed ──── 5 failures in a row, or the first start fails ───▶ open ── 10 s ──▶ half-open
    half-open ─ the next start succeeds ─▶ closed;  it fails ─▶ open

The pattern is M. Nygard's ("Release It!", 2007, chapter 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]

# A session that lived for so long was a sound one: what ends it is news.
SOUND_S = 10.0
# The first start after a failure comes at once, the second after so long, then twice as long.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
MAX_FAILURES = 5
COOLING_S = 10.0


@dataclass(slots=True)
class CircuitBreaker:
    """The memory of one server's failures.

    Attributes:
        failures: The failures in a row: starts that failed, and sessions that ended young.
    """

    failures: int = 0
    _starts: int = 0
    _failed_at: float = -math.inf
    _open_until: float | None = None

    def state(self, now: float) -> State:
        """Whether it may be started (closed), may not (open), or may be tried (half-open)."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def wait_s(self, now: float) -> float | None:
        """How long the next start has to wait; None if there is to be none for now."""
        match self.state(now):
            case "open":
                return None
            case "half-open":
                return 0.0
        wait_s = FIRST_WAIT_S * 2 ** (self._starts - 1) if self._starts else 0.0
        return max(0.0, self._failed_at + min(wait_s, LONGEST_WAIT_S) - now)

    def cools_s(self, now: float) -> float:
        """How long it stays open."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def note_start(self) -> None:
        """A start begins."""
        self._starts += 1

    def note_success(self) -> None:
        """A start has succeeded. How good it is, its end will tell."""
        self._open_until = None

    def note_failure(self, now: float, *, first: bool = False) -> None:
        """A start has failed; the very `first` of a run opens the circuit at once."""
        self.failures += 1
        self._failed_at = now
        if first or self._open_until is not None or self.failures >= MAX_FAILURES:
            self._open_until = now + COOLING_S

    def note_end(self, began_at: float, now: float) -> None:
        """A session has ended unasked.

        Sessions that were up when another one failed say nothing new by ending: many that are
        killed together are one failure.
        """
        if now - began_at >= SOUND_S:
            self.failures = self._starts = 0
            self._failed_at = now
        elif began_at >= self._failed_at:
            self.note_failure(now)
