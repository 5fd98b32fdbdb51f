"""Makes events of what happens to the calls of a run, with the time of its clock."""

from __future__ import annotations

from dataclasses import replace

import anyio

from orchestrator.calls.call import Attempt, Call, OnProgress
from orchestrator.calls.retry import RetryDecision
from orchestrator.engine.events import (
    Announcer,
    Event,
    ItemSettled,
    ItemsStarted,
    RetryDecided,
    TaskProgress,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.result import ItemResult
from orchestrator.errors import TaskError
from orchestrator.workflow.plan import Plan


class Emitter:
    """Emits the events of a run, and keeps its clock.

    The clock stands still while the run only waits for servers to start, so that a first run and a
    later one report the same times.

    Attributes:
        zero: When the run began, on anyio's clock; later by as long as the clock stood still.
        announce: Sends an event to the observers; false if there are none.
    """

    def __init__(self, announce: Announcer, plan: Plan) -> None:
        self.zero = 0.0
        self.announce = announce
        self._plan = plan
        self._paused_at: float | None = None
        self._reported: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Start the clock."""
        self.zero = anyio.current_time()

    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        now = anyio.current_time() if self._paused_at is None else self._paused_at
        return (now - self.zero) * 1000

    def pause(self, paused: bool) -> None:
        """Stop the clock, or let it go on."""
        if paused and self._paused_at is None:
            self._paused_at = anyio.current_time()
        elif not paused and self._paused_at is not None:
            # Moving the origin keeps all later times free of the pause, at no cost per event.
            self.zero += anyio.current_time() - self._paused_at
            self._paused_at = None

    def waiting(self, call: Call, attempt: Attempt) -> None:
        """Report that a call waits."""
        self.announce(TaskWaiting(self.now_ms(), call.task, call.item, attempt.waiting_for))

    def waiting_for_server(self, call: Call, attempt: Attempt) -> None:
        """Report that a task waits for its server or the check, once for all its items."""
        key = call.task, attempt.note
        if key not in self._reported:
            self._reported.add(key)
            self.announce(TaskWaiting(self.now_ms(), call.task, None, attempt.note))

    def started(self, call: Call, attempt: Attempt, now: float) -> None:
        """Report that an attempt begins."""
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

    def failed(
        self, call: Call, attempt: Attempt, error: TaskError, decision: RetryDecision
    ) -> None:
        """Report that an attempt failed, and what follows."""
        if self.announce:
            wait_ms = None if decision.wait_s is None else decision.wait_s * 1000
            of = call.task, call.item, attempt.number
            self.announce(RetryDecided(self.now_ms(), *of, error, wait_ms, decision.reason))

    def progress_of(self, task: str, item: int | None) -> OnProgress | None:
        """What reports the progress of a call; None if there are no observers."""
        if not self.announce:
            return None

        def report(progress: float, total: float | None, message: str) -> None:
            self.announce(TaskProgress(self.now_ms(), task, item, progress, total, message))

        return report

    def items_started(self, task: str, items: int) -> None:
        """Report that a `for_each` begins."""
        if self.announce:
            self.announce(ItemsStarted(self.now_ms(), task, items))

    def item_settled(self, task: str, result: ItemResult) -> None:
        """Report that an item has ended."""
        if self.announce:
            self.announce(ItemSettled(self.now_ms(), task, result.index, result))

    def server(self, event: Event) -> None:
        """Report an event of a server, with the time of this run."""
        self.announce(replace(event, at_ms=self.now_ms()))
