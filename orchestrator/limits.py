"""How many at a time: slots, locks, rates, and limits that find themselves.

The rule of this file: who waits is served by priority, then in the order of asking; nothing here
knows what is being called.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

Priority = tuple[float, ...]
FIRST: Priority = (0.0,)


class Slots:
    """So many calls at a time; who waits is served by priority, then in the order of asking.

    A slot is given away a moment after it is free: what could start at the same moment, such as the
    followers of the task that held it, has asked by then. So the order does not depend on the event
    loop's.

    Args:
        limit: How many slots there are.
        name: What one waits for, for people.
    """

    def __init__(self, limit: int, name: str = "a slot") -> None:
        self.limit = limit
        self.name = name
        self._held = 0
        self._waiting: list[tuple[Priority, int, _Waiter]] = []
        self._asked = 0
        self._giver: _Waiter | None = None

    def __repr__(self) -> str:
        free = self.limit - self._held
        return f"Slots({free} of {self.limit} free, {len(self._waiting)} waiting)"

    @property
    def busy(self) -> bool:
        """Whether who asks now has to wait."""
        return self._held + len(self._waiting) >= self.limit

    @property
    def idle(self) -> bool:
        """Whether nobody holds a slot or waits for one."""
        return not self._held and not self._waiting

    @asynccontextmanager
    async def slot(self, priority: Priority = FIRST) -> AsyncIterator[None]:
        """Hold a slot; wait for one if none is free."""
        await self.acquire(priority)
        try:
            yield
        finally:
            self.release()

    def release(self, weight: int = 1) -> None:
        """Give slots back."""
        self._held -= weight
        self._appoint_giver()

    async def acquire(self, priority: Priority = FIRST, weight: int = 1) -> None:
        """Take `weight` slots at once, which have to be released; wait until they are free.

        Who waits for many is not overtaken by those behind it who want few.
        """
        self._asked += 1
        waiter = _Waiter(weight)
        heapq.heappush(self._waiting, (priority, self._asked, waiter))
        self._appoint_giver()
        try:
            while not waiter.is_served:
                await waiter.woken.wait()
                if waiter is self._giver:
                    await anyio.lowlevel.checkpoint()
                    waiter.woken = anyio.Event()
                    self._give()
        except BaseException:
            waiter.is_gone = True
            self._held -= weight * waiter.is_served
            if waiter is self._giver:
                self._giver = None
            self._appoint_giver()
            raise

    def _appoint_giver(self) -> None:
        """Wake the first in the queue, if it can be served and nobody is about to do that."""
        while self._waiting and self._waiting[0][-1].is_gone:
            heapq.heappop(self._waiting)
        if self._giver is None and self._waiting and self._fits(self._waiting[0][-1]):
            self._giver = self._waiting[0][-1]
            self._giver.woken.set()

    def _give(self) -> None:
        self._giver = None
        while self._waiting:
            waiter = self._waiting[0][-1]
            if not waiter.is_gone and not self._fits(waiter):
                break
            heapq.heappop(self._waiting)
            if not waiter.is_gone:
                self._held += waiter.weight
                waiter.is_served = True
                waiter.woken.set()

    def _fits(self, waiter: _Waiter) -> bool:
        return self._held + waiter.weight <= self.limit


@dataclass(slots=True, eq=False)
class _Waiter:
    weight: int
    woken: anyio.Event = field(default_factory=anyio.Event)
    is_served: bool = False
    is_gone: bool = False


class Rate:
    """So many starts in any span of so many seconds: a sliding window, exact.

    A token bucket lets twice as many through in the first span, and the limiters that are published
    (aiolimiter, pyrate-limiter, limits) read asyncio's clock or the time of day, so that they run
    neither on trio nor on a virtual clock.

    Args:
        count: How many starts.
        per_s: In how many seconds.
        name: What one waits for, for people.
    """

    def __init__(self, count: int, per_s: float, name: str = "the rate") -> None:
        self.count = count
        self.per_s = per_s
        self.name = name
        self._turn = Slots(1)
        self._starts: deque[float] = deque(maxlen=count)

    def __repr__(self) -> str:
        return f"Rate({self.count} in {self.per_s:g} s)"

    @property
    def busy(self) -> bool:
        """Whether who asks now has to wait."""
        return self._turn.busy or self._wait_s() > 0

    async def acquire(self, priority: Priority = FIRST) -> None:
        """Wait until a start is allowed, and keep all others from starting until `release`."""
        await self._turn.acquire(priority)
        try:
            while (wait_s := self._wait_s()) > 0:
                await anyio.sleep(wait_s)
        except BaseException:
            self._turn.release()
            raise

    def release(self) -> None:
        """Let the others have their turn."""
        self._turn.release()

    def note_start(self) -> None:
        """Note that it starts now."""
        self._starts.append(anyio.current_time())

    def _wait_s(self) -> float:
        if len(self._starts) < self.count:
            return 0.0
        return self._starts[0] + self.per_s - anyio.current_time()


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


class Locks:
    """Names that are held, each by one exclusively or by any number shared.

    Who waits is served in the order of asking; a shared lock does not overtake an exclusive one.
    Taken in the order of their names, so that two can never wait for each other.
    """

    _ALL = 1 << 30

    def __init__(self) -> None:
        self._named: dict[str, Slots] = {}

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    def is_busy(self, name: str) -> bool:
        """Whether anybody holds a name or waits for it."""
        return name in self._named

    async def acquire(self, name: str, *, shared: bool, priority: Priority = FIRST) -> None:
        """Take a name, which has to be released in the same mode; wait until it is free."""
        slots = self._named.setdefault(name, Slots(self._ALL))
        try:
            await slots.acquire(priority, self._weight(shared))
        finally:
            self._forget(name)

    def release(self, name: str, *, shared: bool) -> None:
        """Give a name back."""
        self._named[name].release(self._weight(shared))
        self._forget(name)

    def _weight(self, shared: bool) -> int:
        return 1 if shared else self._ALL

    def _forget(self, name: str) -> None:
        if self._named[name].idle:
            del self._named[name]
