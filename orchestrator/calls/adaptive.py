"""Slots whose number adapts to how quickly calls are answered."""

from __future__ import annotations

import anyio

from orchestrator.calls.limits import Slots


class AdaptiveSlots(Slots):
    """Slots whose number adapts: one more while calls stay quick, half on overload.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in TCP. A call is quick if
    it takes at most `SLOW` times the best time of its tool. The limit grows by one after as many
    quick calls as it has slots, and only while they are in use. Calls that began before the limit
    was halved do not halve it again.
    """

    INITIAL = 4
    MOST = 256
    SLOW = 2.0
    # Each call raises the best time a little, so that a tool that has become slower is not taken
    # for slow forever.
    FORGET = 1.02

    def __init__(self, name: str = "a slot") -> None:
        super().__init__(self.INITIAL, name)
        self._best: dict[str, float] = {}
        self._quick = 0
        self._halved_at = -1.0

    def learn(self, tool: str, began_at: float, *, overloaded: bool, failed: bool) -> None:
        """Take a call that ends now into account; if it failed otherwise, its time says nothing."""
        now = anyio.current_time()
        if overloaded and began_at > self._halved_at:
            self._halved_at = now
            self._quick = 0
            self.limit = max(1, self.limit // 2)
        elif not overloaded and not failed:
            self._note_time(tool, now - began_at)

    def _note_time(self, tool: str, took_s: float) -> None:
        best = self._best[tool] = min(took_s, self._best.get(tool, took_s) * self.FORGET)
        in_use = 2 * self._held > self.limit
        if took_s <= self.SLOW * best and in_use and self.limit < self.MOST:
            self._quick += 1
            if self._quick >= self.limit:
                self._quick = 0
                self.limit += 1
                self._appoint_giver()
