"""The slots of a run, and those who work in them.

The rule of this file: what waits for nothing but its slot is an entry in a queue, and no task of
the event loop. As many tasks as there are slots take one entry after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio.lowlevel
from anyio.abc import TaskGroup

from orchestrator.calls.limits import FIRST, Entry, Priority, Slots

Work = Callable[..., Coroutine[Any, Any, None]]


class WorkerPool(Slots):
    """Slots that carry out what is queued for them.

    A run of many tasks under a limit so needs no more tasks of the event loop than it has slots,
    which saves most of their time and nearly all of their memory.

    Args:
        limit: How many slots there are.
        name: What one waits for, for people.
        moment: How many turns of the event loop it takes until whoever can ask now has done so.
    """

    def __init__(self, limit: int, name: str = "a slot", moment: int = 1) -> None:
        super().__init__(limit, name)
        self._moment = moment
        self._coming = 0

    def start_soon(
        self,
        tasks: TaskGroup,
        work: Work,
        *arguments: Any,
        priority: Priority = FIRST,
        who: object = None,
    ) -> None:
        """Have some work done with a slot held, when its turn has come.

        Args:
            tasks: Where it is done.
            work: What is to be done. If it is abandoned, it is done at once and without a slot.
            arguments: What it is given.
            priority: The smaller goes first.
            who: By whom `abandon` knows it.
        """
        self._queue(_QueuedWork(1, self, tasks, work, arguments, who), priority, who, None)

    def _queue(self, entry: Entry, priority: Priority, who: object, _group: object) -> None:
        super()._queue(entry, priority, who, None)  # they are all of one run

    def _appoint_giver(self) -> None:
        first = self._first()
        if not isinstance(first, _QueuedWork):
            super()._appoint_giver()
        elif self._held + self._coming < self.limit:
            self._coming += 1
            first.tasks.start_soon(self._carry_out)

    async def _carry_out(self, job: _QueuedWork | None = None) -> None:
        """Do a job that was given a slot, and then one after the other from the queue."""
        while job is not None or (job := await self._next_job()) is not None:
            try:
                await job.work(*job.arguments)
            except BaseException:
                self.release()
                raise
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
        """Start a job that was given a slot, or was abandoned."""
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
class _QueuedWork(Entry):
    crew: WorkerPool
    tasks: TaskGroup
    work: Work
    arguments: tuple[Any, ...]
    who: object

    def wake(self) -> None:
        self.crew.wake(self)
