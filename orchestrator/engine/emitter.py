"""What a run tells while its calls are under way.

The rule of this file: from a call to an event. Where nobody watches, nobody should ask.
"""

from __future__ import annotations

from dataclasses import replace

import anyio

from orchestrator.calls.call import Attempt, Call, OnProgress
from orchestrator.calls.retry import Decision
from orchestrator.engine.events import (
    Announcer,
    Event,
    ItemSettled,
    RetryDecided,
    TaskProgress,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.result import ItemResult
from orchestrator.errors import TaskError
from orchestrator.workflow.plan import Plan


class Emitter:
    """Makes events of what happens to calls.

    Attributes:
        clock: The time of the run.
        announce: Tells the observers.
    """

    def __init__(self, announce: Announcer, plan: Plan) -> None:
        self.clock = Clock()
        self.announce = announce
        self._plan = plan

    @property
    def zero(self) -> float:
        """When the run began, on anyio's clock."""
        return self.clock.zero

    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        return self.clock.now_ms()

    def waiting(self, call: Call, attempt: Attempt) -> None:
        """A call has to wait."""
        self.announce(TaskWaiting(self.now_ms(), call.task, call.item, attempt.waiting_for))

    def held(self, task: str, waiting_for: str) -> None:
        """A task has to wait before its call is made up."""
        if self.announce:
            self.announce(TaskWaiting(self.now_ms(), task, None, waiting_for))

    def started(self, call: Call, attempt: Attempt, now: float) -> None:
        """An attempt begins."""
        self.announce(
            TaskStarted(
                (now - self.zero) * 1000,
                call.task,
                call.server,
                call.tool,
                self._plan.tasks[call.task].generation,
                attempt.number,
                attempt.waited_s * 1000,
                call.conversions,
                call.item,
                call.is_fallback,
            )
        )

    def failed(self, call: Call, attempt: Attempt, error: TaskError, decision: Decision) -> None:
        """An attempt has failed, and what follows was decided."""
        if self.announce:
            wait_s = decision.wait_s
            self.announce(
                RetryDecided(
                    self.now_ms(),
                    call.task,
                    call.item,
                    attempt.number,
                    error,
                    None if wait_s is None else wait_s * 1000,
                    decision.reason,
                )
            )

    def progress_of(self, task: str, item: int | None) -> OnProgress | None:
        """What tells of the progress of a call; None if nobody would hear of it."""
        if not self.announce:
            return None

        def tell(progress: float, total: float | None, message: str) -> None:
            now_ms = self.now_ms()
            self.announce(TaskProgress(now_ms, task, item, progress, total, message))

        return tell

    def item_settled(self, task: str, result: ItemResult) -> None:
        """An item has ended."""
        if self.announce:
            self.announce(ItemSettled(self.now_ms(), task, result.index, result))

    def server(self, event: Event) -> None:
        """Something happened to a server."""
        self.announce(replace(event, at_ms=self.now_ms()))


class Clock:
    """Counts from the start of a run, and stands still while nothing is to be counted.

    Attributes:
        zero: When the run began, on anyio's clock; later by as much as it has stood still.
    """

    def __init__(self) -> None:
        self.zero = 0.0
        self._stopped_at: float | None = None

    def start(self) -> None:
        """The run begins now."""
        self.zero = anyio.current_time()

    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        now = anyio.current_time() if self._stopped_at is None else self._stopped_at
        return (now - self.zero) * 1000

    def stand_still(self) -> None:
        """Count nothing until it goes on."""
        if self._stopped_at is None:
            self._stopped_at = anyio.current_time()

    def go_on(self) -> None:
        """Count again."""
        if self._stopped_at is not None:
            self.zero += anyio.current_time() - self._stopped_at
            self._stopped_at = None
