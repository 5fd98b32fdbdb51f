"""Named locks: exclusive, shared, or counted, for a resource of which there are several.

Longer than other files: all three wait in the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import anyio

from orchestrator.calls.limits import FIRST, AbandonedError, Entry, Slots, Waiter
from orchestrator.calls.waits import Wait, Waits
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.workflow.hold import Hold

OnWait = Callable[[], None] | None


class Beyond(Protocol):
    """Where names are held for other processes, too."""

    async def acquire(self, wait: Wait, *, on_wait: OnWait) -> None: ...

    def release(self, name: str, who: object) -> None: ...


class Wider(Beyond, Protocol):
    """Where some names are held for all processes that know nothing of each other."""

    def covers(self, name: str) -> bool:
        """Whether a name is one of them."""


class Locks:
    """Named locks, each held by one exclusively, by any number shared, or by a few that count.

    Waiters are served in order of arrival: none overtakes one that wants more. Calls acquire
    several in the order of their names, also those inside a call that holds others, so that two
    never wait for each other. What asks for a name out of this order fails if nobody would ever
    release it.

    Args:
        held: What the call around these calls holds.
        around: Where that call has them from.
        holder: What that call is known as there.
        resources: How many there are of each resource; of any other name there is one.

    Attributes:
        beyond: Where a name is held as well, before it is held here; None: nowhere.
        wider: The same for the names that it covers, once they are held here.
    """

    beyond: Beyond | None = None
    wider: Wider | None = None

    def __init__(
        self,
        held: Iterable[Hold] = (),
        around: Locks | None = None,
        holder: object = None,
        resources: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._named: dict[str, Lock] = {}
        self._held: Mapping[str, Hold] = {hold.name: hold for hold in held}
        self._around, self._holder, self._resources = around, holder, resources
        self._waits: Waits = Waits() if around is None else around._waits

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    async def acquire(
        self,
        hold: Hold,
        *,
        who: object,
        task: str,
        run: str = "",
        on_wait: OnWait = None,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Acquire a lock, to be released by its name; wait until it is free.

        `who` is the key of the call, and `task` its task, with those that it is inside of.
        `on_wait` is called if it is not free at once, and `on_lost` with the reason if it is held
        for other processes and these may have it now.

        Raises:
            CallError: There is never so much of it, or the call around this one does not hold so
                much; or those who hold it wait for what this call, or one around it, holds.
        """
        place = self._place(hold.name)
        capacity = place._capacity_for(hold)
        is_late, inside = self._is_late(hold.name, place), (who, *self._holders())
        may_wait = not is_late or self._outermost().wider is None
        of_call = who, task, is_late, inside, may_wait, run
        wait = Wait(hold, capacity, *of_call, on_lost=on_lost)
        wider = place._wider(hold.name)
        if wider is not None:
            await place._take_wider(wait, wider, on_wait)
            return
        if place.beyond is None:
            await place.take(wait, on_wait=on_wait)
            return
        # First there: so all that wait for a name do so in one place, which sees each circle.
        await place.beyond.acquire(wait, on_wait=on_wait)
        try:
            await place.take(wait, on_wait=on_wait)
        except BaseException:
            place._release_beyond(hold.name, who)
            raise

    async def take(self, wait: Wait, *, on_wait: OnWait = None) -> None:
        """Acquire a lock here, for a call that may be one of another process.

        Raises:
            CallError: Its wait would never end.
        """
        lock = wait.lock = self._named.setdefault(wait.name, Lock())
        try:
            with nullcontext() if lock.is_free(wait) else self._waits.noted(wait, on_wait):
                await lock.acquire_for(wait)
        except AbandonedError:
            raise CallError("invalid_arguments", wait.circle) from None
        finally:
            self._forget(wait.name)

    async def _take_wider(self, wait: Wait, wider: Wider, on_wait: OnWait) -> None:
        # First here, where each circle is seen, and so that few of a process wait there.
        await self.take(wait, on_wait=on_wait)
        try:
            await wider.acquire(wait, on_wait=on_wait)
        except BaseException:
            self._release(wait.name, wait.who)
            raise

    def release(self, name: str, *, who: object) -> None:
        """Release a lock."""
        place = self._place(name)
        if (wider := place._wider(name)) is not None:
            wider.release(name, who)
        else:
            place._release_beyond(name, who)
        place._release(name, who)

    def _release(self, name: str, who: object) -> None:
        self._named[name].release_of(who)
        self._forget(name)

    def _wider(self, name: str) -> Wider | None:
        return self.wider if self.wider is not None and self.wider.covers(name) else None

    def state(self) -> list[dict[str, Any]]:
        """The locks that are held, each with its holders and its waiters, in order."""
        now = anyio.current_time()
        return [
            {
                "name": name,
                "capacity": max(wait.capacity for wait in lock.all),
                "holders": [_shown(wait, now) for wait in lock.holders.values()],
                "waiting": [_shown(wait, now) for wait in lock.waiting.values()],
            }
            for name, lock in sorted(self._named.items())
        ]

    def _capacity_for(self, hold: Hold) -> int:
        """How many there are of what is asked for.

        Raises:
            CallError: It is more than there ever is, or than what the call around holds.
        """
        name, around = quoted(hold.name), self._held.get(hold.name)
        most = self._resources.get(hold.name, 1)
        if around is None:
            if hold.shared and most > 1:
                message = f"lock {name} is a resource of {most}, which is counted and not shared"
                raise CallError("invalid_arguments", message)
            if (hold.number or 1) > most:
                raise CallError("invalid_arguments", too_many(hold.name, hold.number, most))
            return most
        assert self._around is not None
        most = self._around._place(hold.name)._capacity_for(Hold(hold.name))
        if around.shared and not hold.shared:
            wanted = "exclusively" if hold.is_exclusive else "counted"
            message = (
                f"the task around this one holds lock {name} shared, so no task in it can hold it "
            )
            raise CallError("invalid_arguments", message + wanted)
        within = around.number or most
        if (most if hold.is_exclusive else hold.number or 1) > within:
            message = f"the task around this one holds {within} of lock {name}, so no task in it"
            wanted = "all" if hold.number is None else str(hold.number)
            raise CallError("invalid_arguments", f"{message} can hold {wanted} of it")
        return within

    def _release_beyond(self, name: str, who: object) -> None:
        if self.beyond is not None:
            self.beyond.release(name, who)

    def _place(self, name: str) -> Locks:
        """Where a name is held: what the call around holds, those inside hold among themselves."""
        if self._around is None or name in self._held:
            return self
        return self._around._place(name)

    def _outermost(self) -> Locks:
        return self if self._around is None else self._around._outermost()

    def _is_late(self, name: str, place: Locks) -> bool:
        """Whether a call around, itself inside the place, holds a name that comes after this."""
        if self is place or self._around is None:
            return False
        return name < max(self._held) or self._around._is_late(name, place)

    def _holders(self) -> Iterator[object]:
        """The calls around."""
        if self._around is not None:
            yield self._holder
            yield from self._around._holders()

    def _forget(self, name: str) -> None:
        if name in self._named and self._named[name].idle:
            del self._named[name]


def too_many(name: str, count: int | None, most: int) -> str:
    """What is wrong with a count of a resource of which there are fewer."""
    return f"expected at most {most} of lock {quoted(name)}, got {count}"


def _shown(wait: Wait, now: float) -> dict[str, Any]:
    return {
        "run": wait.run or None,
        "task": wait.task,
        "amount": wait.hold.amount,
        "process": wait.process or None,
        "for_s": round(now - wait.since, 3),
    }


# Who holds all of a lock outweighs any number that share it, and one of these any count.
_SHARE, _ALL, _ANY = 1 << 30, 1 << 60, 1 << 62


@dataclass(slots=True, eq=False)
class _Claim(Waiter):
    capacity: int = 1

    def fits(self, held: int) -> bool:
        """Whether it can be granted while so much is held."""
        if self.weight == _ALL:
            return not held
        if self.weight == _SHARE:
            return held < _ALL and not held % _SHARE
        return held + self.weight <= self.capacity


class Lock(Slots):
    """A lock, the calls that hold it, and those that wait for it, in order."""

    def __init__(self) -> None:
        super().__init__(0)
        self.holders: dict[object, Wait] = {}
        self.waiting: dict[object, Wait] = {}

    @property
    def all(self) -> Iterator[Wait]:
        """The calls that hold it or wait for it."""
        yield from self.holders.values()
        yield from self.waiting.values()

    def is_free(self, wait: Wait) -> bool:
        """Whether `acquire_for` would not wait."""
        return _claim(wait).fits(self._held + self._wanted)

    async def acquire_for(self, wait: Wait) -> None:
        """Acquire it; as `Slots.acquire`."""
        wait.since, self.waiting[wait.who] = anyio.current_time(), wait
        try:
            await self._served(_claim(wait), FIRST, wait.who, None)
        finally:
            del self.waiting[wait.who]
        wait.since, self.holders[wait.who] = anyio.current_time(), wait

    def release_of(self, who: object) -> None:
        """Release what a call holds."""
        self.release(_claim(self.holders.pop(who)).weight)

    def is_granted(self, who: object) -> bool:
        """Whether a waiter goes on in the next turn of the event loop."""
        return who in self._waiters and bool(self._waiters[who].served)

    def _first(self) -> Entry | None:
        # The number of slots does not decide: there are enough for the first, or none.
        first = super()._first()
        self.limit = _ANY if isinstance(first, _Claim) and first.fits(self._held) else 0
        return first


def _claim(wait: Wait) -> _Claim:
    hold = wait.hold
    weight = hold.number or (_SHARE if hold.shared else _ALL)
    return _Claim(weight, capacity=wait.capacity)
