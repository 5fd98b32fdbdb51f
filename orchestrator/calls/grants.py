"""Limits, rates and locks that others grant: the pool, this machine, a database.

The waiters of this process queue here, by priority and in turns; the first one asks the granter,
so that each process has one place in the line of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import anyio

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, AbandonedError, Priority, Slots
from orchestrator.calls.rates import Rate
from orchestrator.calls.waits import Wait
from orchestrator.workflow.hold import Hold

if TYPE_CHECKING:
    from orchestrator.calls.call import Attempt

OnWait = Callable[[], None]
LOCK = "lock "  # how the names of locks begin, among those of limits


def nothing(_: str) -> None:
    """Do nothing about a loss."""


class Claim(NamedTuple):
    """What is asked of a granter.

    Attributes:
        hold: How much of which limit or lock.
        capacity: How many of it there are.
        run: The run that asks, and `task` its task, with those that it is inside of; empty for a
            limit, of which nobody wants to know who holds it.
        per_s: Of a rate, in how many seconds so many calls may start; 0 of anything else.
    """

    hold: Hold
    capacity: int
    run: str = ""
    task: str = ""
    per_s: float = 0.0


class Grant(Protocol):
    """What was granted; the end of its process releases it, too.

    Attributes:
        losses: How often its granter had lost what it had granted to this process.
        on_lost: Receives why others may have been granted it meanwhile.
    """

    losses: int
    on_lost: Callable[[str], None]

    def release(self) -> None:
        """Let others have it."""

    def note_start(self) -> None:
        """Count a start under a rate that happens now, in place of it."""


class Granter(Protocol):
    """Grants claims of processes that know nothing of each other, in order of arrival."""

    def is_free(self, claim: Claim) -> bool:
        """Whether it would be granted at once, as far as is known."""

    async def grant(self, claim: Claim, on_wait: OnWait) -> Grant:
        """Wait until it is granted; `on_wait` is called if that is not at once."""

    def close(self) -> None:
        """Close what is open, until it is used again."""


class Fenced(Granter, Protocol):
    """A granter that grants to others what a process held that is frozen or cut off."""

    @property
    def is_sure(self) -> bool:
        """Whether what this process holds is certainly held."""

    async def confirm(self) -> None:
        """Wait until that is so, and who has lost something knows it."""

    def check(self, losses: int) -> None:
        """Raise a CallError if what was granted after so many losses is lost."""


async def check_held(granter: Fenced | None, attempt: Attempt | None) -> None:
    """Have no call leave whose slots or locks others may have by now.

    Raises:
        CallError: Its slots are lost.
    """
    if granter is not None and not granter.is_sure:
        await granter.confirm()
    if attempt is not None and attempt.fence is not None:
        attempt.fence()


class GrantedSlots(Slots):
    """The slots of a limit that others grant.

    Attributes:
        losses: Those of the last grant.
    """

    def __init__(
        self, limit: int, cause: Cause, granter: Granter, name: str, per_s: float = 0.0
    ) -> None:
        super().__init__(1, cause)  # who asks
        self._granter, self._claim = granter, Claim(Hold(name, number=1), limit, per_s=per_s)
        self._grants: list[Grant] = []
        self._asking: anyio.CancelScope | None = None
        self._asker: object = None
        self._on_wait: OnWait | None = None

    @property
    def idle(self) -> bool:
        """Whether no slot is held or waited for in this process."""
        return super().idle and not self._grants

    def is_busy(self, weight: int = 1) -> bool:
        """Whether `acquire` would wait, as far as is known."""
        return super().is_busy(weight) or not self._granter.is_free(self._claim)

    def tell(self, on_wait: OnWait) -> None:
        """Call `on_wait` if the next `acquire` waits."""
        if self.is_busy():
            on_wait()
        else:
            self._on_wait = on_wait  # only the granter knows

    async def acquire(
        self, priority: Priority = FIRST, weight: int = 1, who: object = None, group: object = None
    ) -> bool:
        """Acquire one; as `Slots.acquire`."""
        on_wait, self._on_wait = self._on_wait, None
        is_late = await super().acquire(priority, weight, who, group)

        def note() -> None:
            nonlocal is_late
            is_late = True
            if on_wait is not None:
                on_wait()

        try:
            with anyio.CancelScope() as self._asking:
                self._asker = who
                grant = await self._granter.grant(self._claim, note)
                self._grants.append(grant)
                self.losses = grant.losses
                return is_late
            raise AbandonedError
        finally:
            self._asking = self._asker = None
            super().release()

    def release(self, weight: int = 1) -> None:  # noqa: ARG002  # it is always one
        """Release one."""
        self._pop().release()

    def note_start(self) -> None:
        """Have one count as a start that happens now."""
        self._pop().note_start()

    def _pop(self) -> Grant:
        # The oldest first: whatever call that was of, those that are lost end before others do.
        return self._grants.pop(0)

    def abandon(self, who: object) -> None:
        """Have the waiter `who` raise `AbandonedError`."""
        super().abandon(who)
        if self._asking is not None and self._asker is who:
            self._asking.cancel()


class GrantedRate(Rate):
    """A rate whose starts others count: several may be allowed that have not happened yet."""

    def __init__(self, count: int, per_s: float, cause: Cause, granter: Granter, name: str) -> None:
        super().__init__(count, per_s, cause)
        self._slots = GrantedSlots(count, cause, granter, name, per_s)
        self._noted = 0

    def is_busy(self) -> bool:
        """Whether `acquire` would wait, as far as is known."""
        return self._slots.is_busy()

    def tell(self, on_wait: OnWait) -> None:
        """Call `on_wait` if the next `acquire` waits."""
        self._slots.tell(on_wait)

    async def acquire(
        self, priority: Priority = FIRST, *, who: object = None, group: object = None
    ) -> bool:
        """Wait until a start is allowed, which counts until `release`; as `Rate.acquire`."""
        is_late = await self._slots.acquire(priority, who=who, group=group)
        self.losses = self._slots.losses
        return is_late

    def abandon(self, who: object) -> None:
        """Have the waiter `who` raise `AbandonedError`."""
        self._slots.abandon(who)

    def note_start(self) -> None:
        """Count a start that happens now."""
        self._slots.note_start()
        self._noted += 1

    def release(self) -> None:
        """Count a start that was allowed and does not happen no longer."""
        if self._noted:
            self._noted -= 1
        else:
            self._slots.release()


class GrantedLocks:
    """Locks that others grant.

    Args:
        granter: Who grants a lock, by its name; None: it is held in this process only.
    """

    def __init__(self, granter: Callable[[str], Granter | None]) -> None:
        self._granter = granter
        self._held: dict[tuple[str, object], Grant] = {}

    def covers(self, name: str) -> bool:
        """Whether a name is one that others grant."""
        return self._granter(name) is not None

    async def acquire(self, wait: Wait, *, on_wait: OnWait | None) -> None:
        """Hold it there, too.

        Raises:
            CallError: Others hold it, and this call may not wait.
        """

        def note() -> None:
            wait.check()
            if on_wait is not None:
                on_wait()

        granter = self._granter(wait.name)
        assert granter is not None
        hold = wait.hold._replace(name=LOCK + wait.name)
        claim = Claim(hold, wait.capacity, wait.run, wait.task)
        grant = self._held[wait.name, wait.who] = await granter.grant(claim, note)
        grant.on_lost = wait.on_lost

    def release(self, name: str, who: object) -> None:
        """Release it."""
        self._held.pop((name, who)).release()
