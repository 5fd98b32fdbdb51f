"""Slots. Waiters are never starved.

anyio's limiter has no priorities, and those of other libraries run on asyncio only.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from orchestrator.calls.causes import Cause

Priority = tuple[float, ...]
FIRST: Priority = (0.0,)
SLOT = Cause("other", "a slot")


class AbandonedError(Exception):
    """`abandon` was called for a waiter."""


class Slots:
    """Limits how many calls run at a time.

    Waiters are served by priority, then in order of arrival.

    Groups, such as runs that share a server, take turns, so that none waits for all of another. A
    slot is given away a turn of the event loop after it is released: by then, the dependents of
    the task that held it have asked, too. So the order does not depend on the event loop.

    Args:
        limit: How many slots there are.
        cause: What a waiting call waits for.
        patience: After how many turns a slot that is free is given away.

    Attributes:
        losses: How often those who grant them had lost what they had granted, at the last grant;
            None: they are not granted.
    """

    losses: int | None = None

    def __init__(self, limit: int, cause: Cause = SLOT, patience: int = 1) -> None:
        self.limit, self.cause, self.patience = limit, cause, patience
        self._held = 0
        self._wanted = 0
        self._queues: dict[object, list[tuple[Priority, int, Entry]]] = {}
        self._waiters: dict[object, Entry] = {}
        self._asked = 0
        self._refused = 0  # how often the first in the queue found too few slots free
        # The waiter that serves the queue, one turn of the event loop after a slot is free.
        self._giver: Entry | None = None

    def __repr__(self) -> str:
        free = self.limit - self._held
        return f"{type(self).__name__}({free} of {self.limit} free, {self._wanted} wanted)"

    def is_busy(self, weight: int = 1) -> bool:
        """Whether `acquire` would wait."""
        return self._held + self._wanted + weight > self.limit

    def tell(self, on_wait: Callable[[], None]) -> None:
        """Call `on_wait` if the next `acquire` would wait; it may do so later."""
        if self.is_busy():
            on_wait()

    @property
    def idle(self) -> bool:
        """Whether no slot is held or waited for."""
        return not self._held and not self._wanted

    @asynccontextmanager
    async def slot(self, priority: Priority = FIRST) -> AsyncIterator[None]:
        """Hold a slot in the block."""
        await self.acquire(priority)
        try:
            yield
        finally:
            self.release()

    def release(self, weight: int = 1) -> None:
        """Release slots."""
        self._held -= weight
        self._appoint_giver()

    def acquire(
        self,
        priority: Priority = FIRST,
        weight: int = 1,
        who: object = None,
        group: object = None,
    ) -> Coroutine[Any, Any, bool]:
        """Acquire `weight` slots at once; wait until they are free. Whether others had them.

        A waiter for many is not overtaken by those behind it that want few. Groups take turns, and
        in its group the smaller `priority` goes first. `who` is the key for `abandon`.

        Raises:
            AbandonedError: `abandon` was called for `who`.
        """
        return self._served(Waiter(weight), priority, who, group)

    async def _served(self, waiter: Waiter, priority: Priority, who: object, group: object) -> bool:
        refused, is_late = self._refused, self._held + waiter.weight > self.limit
        self._queue(waiter, priority, who, group)
        try:
            while not waiter.served:
                await waiter.woken.wait()
                if waiter is self._giver:
                    for _ in range(self.patience):
                        await anyio.lowlevel.checkpoint()
                    if not waiter.is_gone:
                        waiter.woken = anyio.Event()
                        self._give()
                if waiter.is_gone:
                    raise AbandonedError
            # Who was not served with all that could be, since others went first, was late, too.
            return is_late or waiter.served > refused + 1
        except BaseException:
            # Cancelled: a slot that was handed over in the same turn must not be lost.
            if waiter.served:
                self._held -= waiter.weight
            else:
                self._wanted -= waiter.weight
            waiter.is_gone = True
            if waiter is self._giver:
                self._giver = None
            self._appoint_giver()
            raise
        finally:
            if who is not None:
                del self._waiters[who]

    def _queue(self, entry: Entry, priority: Priority, who: object, group: object) -> None:
        self._asked += 1
        heapq.heappush(self._queues.setdefault(group, []), (priority, self._asked, entry))
        self._wanted += entry.weight
        if who is not None:
            self._waiters[who] = entry
        self._appoint_giver()

    def abandon(self, who: object) -> None:
        """Have the waiter `who` raise `AbandonedError`; cheaper than a cancel scope for each."""
        entry = self._waiters.get(who)
        if entry is not None and not entry.served:
            entry.is_gone = True
            entry.wake()

    def _first(self) -> Entry | None:
        while self._queues:
            group, queue = next(iter(self._queues.items()))
            # Entries that gave up stay in the heap until they surface: removing them early is O(n).
            while queue and queue[0][-1].is_gone:
                heapq.heappop(queue)
            if queue:
                return queue[0][-1]
            del self._queues[group]
        return None

    def is_next(self, priority: Priority) -> bool:
        """Whether none of those who wait goes before one with this priority."""
        return self._first() is None or priority < next(iter(self._queues.values()))[0][0]

    def _appoint_giver(self) -> None:
        """Wake the first waiter, if it can be served, to serve the queue."""
        if self._giver is None and self._queues:
            first = self._first()
            if first is not None and self._held + first.weight <= self.limit:
                self._giver = first
                first.wake()

    def _give(self) -> None:
        self._giver = None
        while (entry := self._serve_first()) is not None:
            entry.wake()

    def _serve_first(self) -> Entry | None:
        """Hand the first in the queue its slots, if enough are free."""
        first = self._first()
        if first is None:
            return None
        if self._held + first.weight > self.limit:
            self._refused += 1
            return None
        group, queue = next(iter(self._queues.items()))
        heapq.heappop(queue)
        if len(self._queues) > 1:  # it is another group's turn
            self._queues[group] = self._queues.pop(group)
        self._held += first.weight
        self._wanted -= first.weight
        first.served = self._refused + 1
        return first


@dataclass(slots=True, eq=False)
class Entry:
    """An entry in the queue of `Slots` that wants `weight` of them.

    Attributes:
        served: After how many refusals of those slots, counted from 1, it got them; 0 before.
        is_gone: Whether it has given up.
    """

    weight: int
    served: int = field(default=0, init=False)
    is_gone: bool = field(default=False, init=False)

    def wake(self) -> None:
        """React to being served, abandoned or appointed to serve the queue."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Waiter(Entry):
    """An entry whose task waits."""

    woken: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        """Let it go on."""
        self.woken.set()
