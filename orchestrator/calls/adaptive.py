"""A limit that finds itself.

The rule of this file: it learns from calls that have ended, and knows nothing else of them.
"""

from __future__ import annotations

import anyio

from orchestrator.calls.limits import Slots


class AdaptiveSlots(Slots):
    """Slots whose number finds itself: one more while calls stay quick, half on overload.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989), as TCP does it. A call is
    quick if it takes at most `SLOW` times what the same tool took at its best; the limit grows by
    one for as many quick calls as it has slots, and only while they are in use. What was under way
    when the limit was halved does not halve it again.

    Args:
        name: What one waits for, for people.
    """

    INITIAL = 4
    MOST = 256
    SLOW = 2.0
    # The best time is forgotten slowly, so that a tool that has become slower is not slow for ever.
    FORGET = 1.02

    def __init__(self, name: str = "a slot") -> None:
        super().__init__(self.INITIAL, name)
        self._best: dict[str, float] = {}
        self._quick = 0
        self._halved_at = -1.0

    def learn(self, what: str, began_at: float, *, overloaded: bool, failed: bool) -> None:
        """Take a call into account.

        Args:
            what: The tool.
            began_at: When the call began, on anyio's clock; it ends now.
            overloaded: Whether the server had too much to do.
            failed: Whether it failed for another reason, so that its time tells nothing.
        """
        now = anyio.current_time()
        if overloaded and began_at > self._halved_at:
            self._halved_at = now
            self._quick = 0
            self.limit = max(1, self.limit // 2)
        elif not overloaded and not failed:
            self._note_time(what, now - began_at)

    def _note_time(self, what: str, took_s: float) -> None:
        best = self._best[what] = min(took_s, self._best.get(what, took_s) * self.FORGET)
        in_use = 2 * self._held > self.limit
        if took_s <= self.SLOW * best and in_use and self.limit < self.MOST:
            self._quick += 1
            if self._quick >= self.limit:
                self._quick = 0
                self.limit += 1
                self._appoint_giver()
