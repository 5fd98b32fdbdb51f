"""Named locks, exclusive or shared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.calls.limits import AbandonedError, Slots
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError


@dataclass(slots=True, eq=False)
class Wait:
    """A call that waits for a lock.

    Attributes:
        is_late: Whether a name that comes after this one is held around it.
        inside: The call, and those around it: none of them ends before it does.
        circle: Why its wait would never end; empty as long as it may wait.
    """

    name: str
    who: object
    task: str
    is_late: bool
    inside: tuple[object, ...]
    lock: _Lock = field(init=False)
    circle: str = ""


class Beyond(Protocol):
    """Where names are held for other processes, too."""

    async def acquire(
        self, wait: Wait, *, shared: bool, on_wait: Callable[[], None] | None
    ) -> None: ...

    def release(self, name: str, who: object) -> None: ...


class Locks:
    """Named locks, each held by one exclusively or by any number shared.

    Waiters are served in order of arrival; a shared lock does not overtake an exclusive one. Calls
    acquire several in the order of their names, also those inside a call that holds others, so that
    two never wait for each other. What asks for a name out of this order fails if nobody would ever
    release it.

    Args:
        held: What the call around these calls holds: each name, and whether shared.
        around: Where that call has them from.
        holder: What that call is known as there.

    Attributes:
        beyond: Where a name is held as well, before it is held here; None: nowhere.
    """

    beyond: Beyond | None = None
    # A lock is slots: an exclusive holder takes all of them, a shared one takes one.
    _ALL = 1 << 30

    def __init__(
        self,
        held: Iterable[tuple[str, bool]] = (),
        around: Locks | None = None,
        holder: object = None,
    ) -> None:
        self._named: dict[str, _Lock] = {}
        self._held: Mapping[str, bool] = dict(held)
        self._around, self._holder = around, holder
        self._waits: _Waits = _Waits() if around is None else around._waits

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    async def acquire(
        self,
        name: str,
        *,
        shared: bool,
        who: object,
        task: str,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Acquire a name, to be released in the same mode; wait until it is free.

        `who` is the key of the call, and `task` its task, with those that it is inside of.
        `on_wait` is called if it is not free at once.

        Raises:
            CallError: It is asked for exclusively, and the call around this one holds it shared; or
                those who hold it wait for what this call, or one around it, holds.
        """
        place = self._place(name)
        if place._held.get(name) and not shared:
            message = (
                f"the task around this one holds lock {quoted(name)} shared, so no task in it "
            )
            raise CallError("invalid_arguments", f"{message}can hold it exclusively")
        wait = Wait(name, who, task, self._is_late(name, place), (who, *self._holders()))
        if place.beyond is None:
            await place.take(wait, shared=shared, on_wait=on_wait)
            return
        # First there: so all that wait for a name do so in one place, which sees each circle.
        await place.beyond.acquire(wait, shared=shared, on_wait=on_wait)
        try:
            await place.take(wait, shared=shared, on_wait=on_wait)
        except BaseException:
            place._release_beyond(name, who)
            raise

    async def take(
        self, wait: Wait, *, shared: bool, on_wait: Callable[[], None] | None = None
    ) -> None:
        """Acquire a name here, for a call that may be one of another process.

        Raises:
            CallError: Its wait would never end.
        """
        lock = wait.lock = self._named.setdefault(wait.name, _Lock(self._ALL))
        weight = self._weight(shared)
        try:
            with self._waits.noted(wait, on_wait) if lock.is_busy(weight) else nullcontext():
                await lock.acquire(weight=weight, who=wait.who)
            lock.holders[wait.who] = None
        except AbandonedError:
            raise CallError("invalid_arguments", wait.circle) from None
        finally:
            self._forget(wait.name)

    def release(self, name: str, *, shared: bool, who: object) -> None:
        """Release a name."""
        place = self._place(name)
        place._release_beyond(name, who)
        del place._named[name].holders[who]
        place._named[name].release(self._weight(shared))
        place._forget(name)

    def _release_beyond(self, name: str, who: object) -> None:
        if self.beyond is not None:
            self.beyond.release(name, who)

    def _place(self, name: str) -> Locks:
        """Where a name is held: what the call around holds, those inside hold among themselves."""
        if self._around is None or name in self._held:
            return self
        return self._around._place(name)

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

    def _weight(self, shared: bool) -> int:
        return 1 if shared else self._ALL

    def _forget(self, name: str) -> None:
        if name in self._named and self._named[name].idle:
            del self._named[name]


class _Lock(Slots):
    """A lock, and the calls that hold it."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.holders: dict[object, None] = {}

    def is_granted(self, who: object) -> bool:
        """Whether a waiter goes on in the next turn of the event loop."""
        return who in self._waiters and bool(self._waiters[who].served)


class _Waits:
    """The calls that wait for locks. As long as none is late, they form no circle."""

    def __init__(self) -> None:
        self._late = 0
        self._of: defaultdict[object, dict[Wait, None]] = defaultdict(dict)

    @contextmanager
    def noted(self, wait: Wait, on_wait: Callable[[], None] | None) -> Iterator[None]:
        """Note a wait in the block. Of each circle that it closes, one that is late is ended.

        Raises:
            AbandonedError: That is this one.
        """
        self._late += wait.is_late
        for each in wait.inside:
            self._of[each][wait] = None
        try:
            while not wait.circle and self._late and (circle := self._circle(wait)):
                late = next(each for each in circle if each.is_late)
                late.circle = _why(late, circle)
                late.lock.abandon(late.who)
            if wait.circle:
                raise AbandonedError
            if on_wait is not None:
                on_wait()
            yield
        finally:
            self._late -= wait.is_late
            for each in wait.inside:
                del self._of[each][wait]
                if not self._of[each]:
                    del self._of[each]

    def _circle(self, wait: Wait) -> list[Wait]:
        """The waits of a circle, each for a lock that is held around the next; or none."""
        before: dict[Wait, Wait | None] = {wait: None}
        ways = [wait]
        while ways:
            last: Wait | None = ways.pop()
            assert last is not None
            for holder in last.lock.holders:
                if holder in wait.inside:
                    circle = []
                    while last is not None:
                        circle.append(last)
                        last = before[last]
                    return circle[::-1]
                for each in self._of.get(holder, ()):
                    if (
                        each not in before
                        and not each.circle
                        and not each.lock.is_granted(each.who)
                    ):
                        before[each] = last
                        ways.append(each)
        return []


def _why(late: Wait, circle: list[Wait]) -> str:
    place = circle.index(late)
    others = circle[place + 1 :] + circle[:place]
    waits = (f"task {quoted(each.task)} waits for lock {quoted(each.name)}" for each in others)
    name, last = quoted(late.name), quoted(others[-1].name)
    return (
        f"lock {name} would never be free: {', '.join(waits)}, which is held around this task; "
        f"hold {name} there, too, or give it a name that comes after {last}"
    )
