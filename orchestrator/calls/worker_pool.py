"""The slots of a run, with workers that carry out queued work.

Work that waits only for a slot is an entry in a queue, not a task of the event loop; as many tasks
as there are slots take one entry after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import anyio.lowlevel

from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, SLOT, Entry, Priority, Slots

Work = Callable[..., Coroutine[Any, Any, None]]


class Starter(Protocol):
    """Where a task is carried out: a task group, or what carries out one task at a time."""

    @property
    def start_soon(self) -> Callable[..., object]:
        """Have a function called with arguments, and the coroutine it returns carried out."""


class WorkerPool(Slots):
    """Slots that carry out the work queued for them.

    So a run of many tasks under a limit needs no more tasks of the event loop than it has slots,
    which saves most of their time and nearly all of their memory. After `moment` turns of the event
    loop all that are ready now have asked for a slot.
    """

    def __init__(self, limit: int, cause: Cause = SLOT, moment: int = 1, patience: int = 1) -> None:
        super().__init__(limit, cause, patience)
        self._moment = moment
        self._coming = 0

    def start_soon(
        self,
        tasks: Starter,
        work: Work,
        *arguments: Any,
        priority: Priority = FIRST,
        who: object = None,
    ) -> None:
        """Queue work that `tasks` carries out with a slot held; see `acquire`.

        If it is abandoned, it is carried out at once and without a slot.
        """
        self._queue(_QueuedWork(1, self, tasks, work, arguments, who), priority, who, None)

    def forget_queued(self) -> None:
        """Forget the work that waits, when its task group ends: it would keep others waiting."""
        for queue in self._queues.values():
            for _, _, entry in queue:
                if isinstance(entry, _QueuedWork) and not entry.is_gone:
                    entry.is_gone = True
                    self._wanted -= entry.weight
                    self._forget(entry)

    def _queue(self, entry: Entry, priority: Priority, who: object, _group: object) -> None:
        super()._queue(entry, priority, who, None)  # all are of one run

    def _appoint_giver(self) -> None:
        first = self._first()
        if not isinstance(first, _QueuedWork):
            super()._appoint_giver()
        # Workers on their way count as held: they take a slot in a turn or two.
        elif self._held + self._coming < self.limit:
            self._coming += 1
            first.tasks.start_soon(self._carry_out)

    async def _carry_out(self, job: _QueuedWork | None = None) -> None:
        """Carry out a job that has a slot, and then one after the other from the queue."""
        while job is not None or (job := await self._next_job()) is not None:
            try:
                await job.work(*job.arguments)
            except BaseException:
                self.release()
                raise
            # Counted before the release, so that no second worker is started for the same slot.
            job = None
            self._coming += 1
            self.release()

    async def _next_job(self) -> _QueuedWork | None:
        try:
            for _ in range(self._moment):
                await anyio.lowlevel.checkpoint()
        finally:
            self._coming -= 1
        entry = self._serve_first()
        if isinstance(entry, _QueuedWork):
            self._forget(entry)
            return entry
        if entry is not None:
            entry.wake()
        return None

    def wake(self, job: _QueuedWork) -> None:
        """Start a job that has a slot, or was abandoned."""
        self._forget(job)
        if job.is_gone:
            self._wanted -= job.weight
            job.tasks.start_soon(job.work, *job.arguments)
        else:
            job.tasks.start_soon(self._carry_out, job)

    def _forget(self, job: _QueuedWork) -> None:
        if job.who is not None:
            del self._waiters[job.who]


@dataclass(slots=True, eq=False)
class Lane:
    """The slot of calls that follow each other, kept for the next unless another goes first.

    To release it and to wait for it again costs as much as the rest of such a call.
    """

    pool: WorkerPool
    holds: bool = False

    def keeps(self, priority: Priority) -> bool:
        """Whether the next call, with this priority, has the slot; else it is released."""
        if self.holds and not self.pool.is_next(priority):
            self.leave()
        return self.holds

    def leave(self) -> None:
        """Release the slot, if it is held."""
        if self.holds:
            self.holds = False
            self.pool.release()


@dataclass(slots=True, eq=False)
class _QueuedWork(Entry):
    pool: WorkerPool
    tasks: Starter
    work: Work
    arguments: tuple[Any, ...]
    who: object

    def wake(self) -> None:
        self.pool.wake(self)
