"""Makes events of what happens to the tasks of a run, with the time of its clock."""

from __future__ import annotations

from dataclasses import replace

import anyio

from orchestrator.calls.call import Attempt, Call, OnProgress
from orchestrator.calls.retry import RetryDecision
from orchestrator.calls.tracing import Trace
from orchestrator.engine.events import (
    Announcer,
    BudgetSpent,
    Event,
    ItemSettled,
    ItemsStarted,
    QuestionAsked,
    RetryDecided,
    TaskAdded,
    TaskProgress,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.spending import Spending
from orchestrator.engine.task_state import Activity
from orchestrator.errors import TaskError
from orchestrator.workflow.plan import Plan, TaskPlan

Progress = tuple[float, float | None, str]


class Clock:
    """The clock of a run and of all that runs inside it.

    It stands still while the run only waits for servers to start, so that a first run and a later
    one report the same times.

    Attributes:
        zero: When the run began, on anyio's clock; later by as long as the clock stood still.
        around: The calls with calls inside, which go on while those wait; their start moves, too.
    """

    def __init__(self) -> None:
        self.zero = 0.0
        self.around: set[Attempt] = set()
        self._paused_at: float | None = None
        self._under_way = {"waiting": 0, "working": 0}

    def begin(self, elapsed_s: float = 0.0) -> None:
        """Start the clock; earlier processes carried the run so long."""
        self.zero = anyio.current_time() - elapsed_s

    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        now = anyio.current_time() if self._paused_at is None else self._paused_at
        return (now - self.zero) * 1000

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return self.now_ms() / 1000

    def pause(self, paused: bool) -> None:
        """Stop the clock, or let it go on."""
        if paused and self._paused_at is None:
            self._paused_at = anyio.current_time()
        elif not paused and self._paused_at is not None:
            # Moving the origin keeps all later times free of the pause, at no cost per event.
            stood_still = anyio.current_time() - self._paused_at
            self.zero += stood_still
            for attempt in self.around:
                if attempt.started_at is not None:
                    attempt.started_at += stood_still
            self._paused_at = None

    def count(self, state: str, change: int) -> None:
        """Count the calls that are "waiting" for a server, or "working".

        The clock stands still only while every call under way waits.
        """
        self._under_way[state] += change
        self.pause(self._under_way["waiting"] > 0 and self._under_way["working"] == 0)


class Emitter:
    """Emits the events of a run, or of a workflow inside it.

    Attributes:
        announce: Sends an event to the observers; false if there are none.
        within: The tasks that its tasks are inside of, such as `outer[3]/`, or empty.
        clock: The clock of the run.
        trace: What its tasks are traced inside of; None if nothing is traced.
        progress: What tools have said last of their progress, by the task with its path, and item.
    """

    def __init__(
        self, announce: Announcer, plan: Plan, within: str = "", clock: Clock | None = None
    ) -> None:
        self.announce, self.within, self.clock = announce, within, clock or Clock()
        self._tasks, self._start = plan.tasks, len(within)
        self._reported: set[tuple[str, str]] = set()
        self.trace: Trace | None = None
        self.progress: dict[tuple[str, int | None], Progress] = {}
        self._traces: dict[str, Trace] = {}  # of the tasks under way

    def task_of(self, call: Call) -> TaskPlan:
        """The task of a call."""
        return self._tasks[call.task[self._start :]]

    def waiting(self, call: Call, attempt: Attempt) -> None:
        """Report that a call waits."""
        self.announce(
            TaskWaiting(self.clock.now_ms(), call.task, call.item, str(attempt.waiting_for))
        )

    def asked(self, question: Question) -> None:
        """Report that a call waits for the answer to a question."""
        self.announce(QuestionAsked(self.clock.now_ms(), question))

    def with_progress(self, activity: Activity) -> Activity:
        """A call under way, with the progress that its tool told last."""
        progress = self.progress.get((activity.task, activity.item))
        return activity if progress is None else replace(activity, progress=progress)

    def spent(self, spending: Spending) -> None:
        now_ms = self.clock.now_ms()
        self.announce(BudgetSpent(now_ms, spending.left(now_ms / 1000)))

    def waiting_for_server(self, call: Call, attempt: Attempt) -> None:
        """Report that a task waits for its server or the check, once for all its items."""
        key = task, what = call.task, str(attempt.note)
        if key not in self._reported:
            self._reported.add(key)
            self.announce(TaskWaiting(self.clock.now_ms(), task, None, what))

    def started(self, call: Call, attempt: Attempt, now: float) -> None:
        """Report that an attempt begins."""
        self.announce(
            TaskStarted(
                (now - self.clock.zero) * 1000,
                call.task,
                call.server,
                call.tool,
                self.task_of(call).generation,
                attempt.number,
                attempt.waited_s * 1000,
                call.conversions,
                call.item,
                call.is_fallback,
                call.turn + 1,
            )
        )

    def failed(
        self, call: Call, attempt: Attempt, error: TaskError, decision: RetryDecision
    ) -> None:
        """Report that an attempt failed, and what follows."""
        if self.announce:
            wait_ms = None if decision.wait_s is None else decision.wait_s * 1000
            of = call.task, call.item, attempt.number
            self.announce(RetryDecided(self.clock.now_ms(), *of, error, wait_ms, decision.reason))

    def progress_of(self, task: str, item: int | None) -> OnProgress | None:
        """What reports the progress of a call; None if there are no observers."""
        if not self.announce:
            return None

        path = self.within + task

        def report(progress: float, total: float | None, message: str) -> None:
            self.progress[path, item] = progress, total, message
            self.announce(TaskProgress(self.clock.now_ms(), path, item, progress, total, message))

        return report

    def added(self, task: TaskPlan) -> None:
        """Report that a plan has one more task."""
        if self.announce:
            self.announce(TaskAdded(self.clock.now_ms(), task.id, task.generation))

    def items_started(self, task: str, items: int) -> None:
        """Report that a `for_each` begins."""
        if self.announce:
            self.announce(ItemsStarted(self.clock.now_ms(), self.within + task, items))

    def item_settled(self, task: str, result: ItemResult) -> None:
        """Report that an item has ended."""
        if self.announce:
            at = self.clock.now_ms(), self.within + task
            self.announce(ItemSettled(*at, result.index, result))

    def begin(self, task: str) -> dict[int | None, Trace]:
        """Trace a task that begins; what its calls are traced inside of."""
        assert self.trace is not None
        trace = self._traces[task] = self.trace.task(self.within + task, task)
        return {None: trace}

    def end(self, result: TaskResult) -> None:
        """Trace the end of a task, also of one that settles without having begun."""
        assert self.trace is not None
        known = self._traces.pop(result.id, None)
        trace = known or self.trace.task(self.within + result.id, result.id)
        trace.end(result, self.clock.now_ms())

    def settled(self, result: TaskResult) -> None:
        """Report that a task has settled, to observers that there are."""
        self.announce(TaskSettled(self.clock.now_ms(), self.within + result.id, result))

    def server(self, event: Event) -> None:
        """Report an event of a server, with the time of this run."""
        self.announce(replace(event, at_ms=self.clock.now_ms()))
