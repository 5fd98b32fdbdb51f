"""Limits, rates and locks that others grant: the pool, this machine, a database.

The waiters of this process queue here, by priority and in turns; the first one asks the granter,
so that each process has one place in the line of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import anyio

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, AbandonedError, Priority, Slots
from orchestrator.calls.rates import Rate
from orchestrator.calls.waits import Wait
from orchestrator.workflow.hold import Hold

OnWait = Callable[[], None]
LOCK = "lock "  # how the names of locks begin, among those of limits


class Claim(NamedTuple):
    """What is asked of a granter.

    Attributes:
        hold: How much of which limit or lock.
        capacity: How many of it there are.
        run: The run that asks, and `task` its task, with those that it is inside of; empty for a
            limit, of which nobody wants to know who holds it.
    """

    hold: Hold
    capacity: int
    run: str = ""
    task: str = ""


class Grant(Protocol):
    """What was granted; the end of its process releases it, too."""

    def release(self) -> None: ...


class Window(Protocol):
    """The last starts under a rate. Only who holds its turn uses it."""

    def wait_s(self) -> float:
        """How long until the next may start, seconds; not above 0 if it may now."""

    def note_start(self) -> None:
        """Count a start that happens now."""


class Granter(Protocol):
    """Grants claims of processes that know nothing of each other, in order of arrival."""

    def is_free(self, claim: Claim) -> bool:
        """Whether it would be granted at once, as far as is known."""

    async def grant(self, claim: Claim, on_wait: OnWait) -> Grant:
        """Wait until it is granted; `on_wait` is called once if that is not at once."""

    def window(self, name: str, count: int, per_s: float) -> Window:
        """The starts under a rate."""

    def close(self) -> None:
        """Close what is open, until it is used again."""


class GrantedSlots(Slots):
    """The slots of a limit that others grant."""

    def __init__(self, limit: int, cause: Cause, granter: Granter, name: str) -> None:
        super().__init__(1, cause)  # who asks
        self._granter, self._claim = granter, Claim(Hold(name, number=1), limit)
        self._grants: list[Grant] = []
        self._asking: anyio.CancelScope | None = None
        self._asker: object = None

    @property
    def idle(self) -> bool:
        """Whether no slot is held or waited for in this process."""
        return super().idle and not self._grants

    def is_busy(self, weight: int = 1) -> bool:
        """Whether `acquire` would wait."""
        return super().is_busy(weight) or not self._granter.is_free(self._claim)

    async def acquire(
        self, priority: Priority = FIRST, weight: int = 1, who: object = None, group: object = None
    ) -> bool:
        """Acquire one; as `Slots.acquire`."""
        is_late = await super().acquire(priority, weight, who, group)

        def note() -> None:
            nonlocal is_late
            is_late = True

        try:
            with anyio.CancelScope() as self._asking:
                self._asker = who
                self._grants.append(await self._granter.grant(self._claim, note))
                return is_late
            raise AbandonedError
        finally:
            self._asking = self._asker = None
            super().release()

    def release(self, weight: int = 1) -> None:  # noqa: ARG002  # it is always one
        """Release one."""
        self._grants.pop().release()

    def abandon(self, who: object) -> None:
        """Have the waiter `who` raise `AbandonedError`."""
        super().abandon(who)
        if self._asking is not None and self._asker is who:
            self._asking.cancel()


class GrantedRate(Rate):
    """A rate whose starts others count."""

    def __init__(self, count: int, per_s: float, cause: Cause, granter: Granter, name: str) -> None:
        super().__init__(count, per_s, cause)
        self._turn = GrantedSlots(1, cause, granter, f"turn of {name}")
        self._window = granter.window(name, count, per_s)

    def note_start(self) -> None:
        """Count a start that happens now."""
        self._window.note_start()

    def _wait_s(self) -> float:
        return self._window.wait_s()


class GrantedLocks:
    """Locks that others grant, of those names that are theirs."""

    def __init__(self, granter: Granter, covers: Callable[[str], bool]) -> None:
        self._granter, self.covers = granter, covers
        self._held: dict[tuple[str, object], Grant] = {}

    async def acquire(self, wait: Wait, *, on_wait: OnWait | None) -> None:
        """Hold it there, too.

        Raises:
            CallError: Others hold it, and this call may not wait.
        """

        def note() -> None:
            wait.check()
            if on_wait is not None:
                on_wait()

        hold = wait.hold._replace(name=LOCK + wait.name)
        claim = Claim(hold, wait.capacity, wait.run, wait.task)
        self._held[wait.name, wait.who] = await self._granter.grant(claim, note)

    def release(self, name: str, who: object) -> None:
        """Release it."""
        self._held.pop((name, who)).release()
