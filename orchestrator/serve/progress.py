"""How far a run has come, told now and then."""

from __future__ import annotations

import logging

import anyio

from orchestrator.documents.text import counted, listed
from orchestrator.engine.events import Event, RunStarted, TaskSettled, TaskStarted
from orchestrator.serve.answers import OnProgress

logger = logging.getLogger("orchestrator")

EVERY_S = 10.0  # a message goes out at least that often
AT_MOST_S = 0.5  # and not more often than that
_BEAT = 0.001  # the number has to grow, also when no task has settled


class Progress:
    """Takes the events of a run, and tells how far it has come."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell
        self._total: int | None = None
        self._done, self._told = 0, -1.0
        self._running: dict[str, None] = {}
        self._changed = anyio.Event()

    def on_event(self, event: Event) -> None:
        """Take an event."""
        match event:
            case RunStarted():
                self._total = event.tasks
            case TaskStarted(task=task):
                self._running[task] = None
                return
            case TaskSettled(task=task) if not event.is_inside:
                self._running.pop(task, None)
                self._done += 1
            case _:
                return
        self._changed.set()

    async def report(self) -> None:
        """Tell it, until that is cancelled or nobody listens any more."""
        while True:
            with anyio.move_on_after(EVERY_S):
                await self._changed.wait()
            self._changed = anyio.Event()
            self._told = max(float(self._done), self._told + _BEAT)
            try:
                await self._tell(self._told, self._total, self._sentence())
            except Exception as error:
                logger.debug("progress is not told any more: %r", error)
                return
            await anyio.sleep(AT_MOST_S)

    def _sentence(self) -> str:
        if self._total is None:
            return "waiting for servers"
        now = f"; running: {listed(self._running, 3)}" if self._running else ""
        return f"{self._done:,} of {counted(self._total, 'task')} settled{now}"
