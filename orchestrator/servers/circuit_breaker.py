"""Decides when a failed server may be restarted: a circuit breaker.

It reads no clock: callers pass the time, in seconds.

    closed ──── 5 failures in a row, or the first start fails ───▶ open ── 10 s ──▶ half-open
    half-open ─ the next start succeeds ─▶ closed;  it fails ─▶ open

The pattern is M. Nygard's ("Release It!", 2007, chapter 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]

# A session that lived this long was healthy: its end counts as the first failure.
SOUND_S = 10.0
# The first restart is immediate, the second waits this long, each further one twice as long.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
MAX_FAILURES = 5
COOLING_S = 10.0


@dataclass(slots=True)
class CircuitBreaker:
    """The recent failures of one server."""

    failures: int = 0  # in a row: failed starts, and sessions that ended within `SOUND_S`
    _starts: int = 0
    _failed_at: float = -math.inf
    _open_until: float | None = None

    def state(self, now: float) -> State:
        """`closed`: it may start; `open`: it may not; `half-open`: one start may be tried."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def wait_s(self, now: float) -> float | None:
        """How long the next start has to wait; None while the circuit is open."""
        state = self.state(now)
        if state != "closed":
            return None if state == "open" else 0.0
        wait_s = FIRST_WAIT_S * 2 ** (self._starts - 1) if self._starts else 0.0
        return max(0.0, self._failed_at + min(wait_s, LONGEST_WAIT_S) - now)

    def cools_s(self, now: float) -> float:
        """How long the circuit stays open."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def note_start(self) -> None:
        """A start begins."""
        self._starts += 1

    def note_success(self) -> None:
        """A start succeeded."""
        self._open_until = None  # the failures are reset when the session has lived for `SOUND_S`

    def note_failure(self, now: float, *, first: bool = False) -> None:
        """A start failed; if the `first` one ever fails, the circuit opens at once."""
        self.failures += 1
        self._failed_at = now
        if first or self._open_until is not None or self.failures >= MAX_FAILURES:
            self._open_until = now + COOLING_S

    def note_end(self, began_at: float, now: float) -> None:
        """A session ended unexpectedly."""
        if now - began_at >= SOUND_S:
            self.failures = self._starts = 0
            self._failed_at = now
        elif began_at >= self._failed_at:  # many sessions killed together are one failure
            self.note_failure(now)
