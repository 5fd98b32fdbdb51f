"""Slots whose number adapts to how quickly calls are answered."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

import anyio

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import SLOT, Slots


@dataclass(slots=True, eq=False)
class Timed:
    """A call that began while the limit was `limit`; once it has succeeded, it took `took_s`."""

    tool: str
    limit: int
    began_at: float
    window: list[Timed]
    took_s: float | None = None


@dataclass(slots=True)
class _Usual:
    """How long calls of a tool take at the lowest limit at which it was called."""

    limit: int
    times: deque[float] = field(default_factory=lambda: deque(maxlen=64))


class AdaptiveSlots(Slots):
    """Slots whose number adapts: more while calls stay quick, fewer when they slow down.

    The latency decides, as in TCP Vegas (Brakmo and Peterson, 1994) and in the gradient limit of
    Netflix's concurrency-limits: where calls take longer than at a low limit, they wait in the
    server. The limit doubles while calls stay quick, and grows in steps of half its root once they
    were slow. Slow calls return it to the last limit that was good, where it stays twice as long
    each time, or shrink it in proportion if no limit is known to be good.

    A limit is judged by a window: the first calls that begin at it, not the first that end, since
    those are the quick ones. Calls that take very long are not waited for: all times are cut to
    what is known of them (a restricted mean). A window grows while the spread of the times leaves
    open whether calls are slow.
    """

    INITIAL = 4
    MOST = 256
    WINDOW = 16
    SLOW = 1.2
    REFUSED = 0.7
    # A window is judged once the calls under way in it have taken so many times the mean.
    TAIL = 2.0
    # So many standard errors above `SLOW` are slow without doubt.
    DOUBT = 1.4
    # How many times its size a window grows to, and for how many windows a limit stays, at most.
    LONGEST = 8
    PATIENCE = 16

    def __init__(self, cause: Cause = SLOT) -> None:
        super().__init__(self.INITIAL, cause)
        self._usual: dict[str, _Usual] = {}
        self._window: list[Timed] = []
        self._size = self.INITIAL
        self._longest = self.LONGEST * self._size
        self._peak = 0
        self._is_warm = False
        self._is_doubling = True
        self._good = 1
        self._stay = 0
        self._patience = 1

    def begin(self, tool: str) -> Timed:
        """Note a call that begins now. Pass the result to `succeed` or `fail`."""
        call = Timed(tool, self.limit, anyio.current_time(), self._window)
        self._peak = max(self._peak, self._held)
        # Calls that begin before the first one ends may wait for the server to warm up.
        if self._is_warm and len(self._window) < self._size:
            self._window.append(call)
        return call

    def succeed(self, call: Timed) -> None:
        """Learn from a call that ends now."""
        self._is_warm = True
        call.took_s = anyio.current_time() - call.began_at
        usual = self._usual.get(call.tool)
        if usual is None or call.limit < usual.limit:
            usual = self._usual[call.tool] = _Usual(call.limit)
        if call.limit == usual.limit:
            usual.times.append(call.took_s)
        if len(self._window) >= self._size:
            self._judge()

    def fail(self, call: Timed, *, overloaded: bool) -> None:
        """Forget a call that failed or was cancelled; `overloaded`: it was refused or timed out."""
        self._is_warm = True
        if overloaded and call.window is self._window:
            self._shrink(self.limit * self.REFUSED)
        elif call in self._window:
            self._window.remove(call)

    def _judge(self) -> None:
        now = anyio.current_time()
        done = [call.took_s for call in self._window if call.took_s is not None]
        known_s = min(
            (now - c.began_at for c in self._window if c.took_s is None), default=math.inf
        )
        if not done or known_s < self.TAIL * fmean(done):
            return
        if 2 * self._peak <= self.limit:  # The limit does not limit anything.
            self._set(self.limit)
            return
        slow, error = _slowdown(self._window, self._usual, min(known_s, max(done)))
        if slow <= self.SLOW:
            self._grow()
        elif slow * (1 - self.DOUBT * error) <= self.SLOW and self._size < self._longest:
            self._size *= 2
        else:
            self._shrink(self.limit * max(0.3, 1 / slow))

    def _grow(self) -> None:
        for call in self._window:
            usual = self._usual.get(call.tool)
            if usual is not None and usual.limit < call.limit:
                self._good = max(self._good, self.limit)
                if call.took_s is not None and len(usual.times) < self.WINDOW:
                    usual.times.append(call.took_s)
        if self._is_doubling:
            self._set(2 * self.limit)
        elif self._stay:
            self._stay -= 1
            self._set(self.limit)
        else:
            self._set(self.limit + max(1.0, math.sqrt(self.limit) / 2))

    def _shrink(self, limit: float) -> None:
        if self._good < self.limit:
            limit = max(limit, self._good)
            self._patience = min(2 * self._patience, self.PATIENCE)
        else:
            self._good = self._patience = 1
        self._is_doubling = False
        self._stay = self._patience
        self._set(limit)

    def _set(self, limit: float) -> None:
        self.limit = min(self.MOST, max(1, round(limit)))
        self._window = []
        self._size = self.limit if self._is_doubling else max(self.limit, self.WINDOW)
        self._longest = self.LONGEST * self._size
        self._peak = 0
        self._appoint_giver()


def _slowdown(window: list[Timed], usual: dict[str, _Usual], known_s: float) -> tuple[float, float]:
    """How many times as long as usual the calls of a window take, and the relative error of it."""
    cut = {tool: [min(t, known_s) for t in of_tool.times] for tool, of_tool in usual.items()}
    means = {tool: fmean(times) or math.inf for tool, times in cut.items()}
    now = [(c.tool, min(known_s, known_s if c.took_s is None else c.took_s)) for c in window]
    ratios = [took_s / means[tool] for tool, took_s in now if tool in means]
    if not ratios:
        return 1.0, 0.0
    before = [t / means[tool] for tool, times in cut.items() for t in times]
    spread = max(_spread(ratios), _spread(before))
    return fmean(ratios), spread * math.sqrt(1 / len(ratios) + 1 / len(before))


def _spread(times: list[float]) -> float:
    """The standard deviation over the mean."""
    mean = fmean(times)
    return math.sqrt(fmean((t - mean) ** 2 for t in times)) / mean if mean else 0.0
