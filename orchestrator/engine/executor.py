"""Carries out one task: its call, the calls of its items, its fallback."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from orchestrator.calls.call import Call, Caller
from orchestrator.calls.worker_pool import Lane, Starter, Work
from orchestrator.documents.threads import in_thread
from orchestrator.engine.asking import Asking
from orchestrator.engine.decide import Start, StartEach, decide, decide_item
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.items import HandedOut, first_failure
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.schedules import Then
from orchestrator.engine.settled import Settled
from orchestrator.engine.shared import Shared
from orchestrator.engine.task_calls import TaskCalls
from orchestrator.engine.task_state import Decision, TaskState, ended, internal
from orchestrator.errors import CallError, JournalError, TaskError
from orchestrator.expressions.scope import Scope
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import PLAIN

# A `for_each` has this many workers for each slot of the run, and this many at least: enough that
# items that wait or back off seldom leave a slot idle, and few enough for lists of any length.
ITEMS_PER_SLOT = 10
MIN_ITEMS = 100


class Executor:
    """Makes the calls of tasks, with all middleware around them.

    Attributes:
        calls: Makes each of them.
    """

    def __init__(
        self,
        shared: Shared,
        workflow: Workflow,
        settled: Settled,
        emitter: Emitter,
        has_ended: Callable[[], bool],
        inside: Caller,
        asking: Asking | None,
    ) -> None:
        of_calls = emitter, has_ended, inside, settled.scope.wrapped, asking
        self.calls = TaskCalls(shared, workflow.plan, *of_calls)
        self._asks = asking is not None
        self._limit, self._slots, self._servers = shared.limit, shared.slots, shared.servers
        self._scope, self._quick_scope = settled.scope, settled.quick_scope
        # What is inside a task is taken over with it.
        self._reuse = shared.settings.reuse if not emitter.within else None
        self._fails_fast = workflow.on_error == "fail_fast"
        self._spreader = shared.settings.spreader if not emitter.within else None
        self._emitter = emitter
        self._recorder = shared.settings.recorder
        self._lane: Lane | None = None  # the slot of tasks that follow each other inside a task

    def decide(
        self, job: TaskState, cancelled: str | None
    ) -> Decision | TaskResult | Success | Skipped | Cancelled | None:
        """What becomes of a task, which may have been cancelled early for a reason."""
        task = job.task
        if cancelled is not None:
            return Cancelled(cancelled)
        try:
            decision = decide(task, self._quick_scope)
            if self._reuse is not None and isinstance(decision, Start | StartEach):
                known = self._reuse.result(task, decision, self._scope)
                if known is not None:
                    if self._recorder is not None:
                        self._recorder.note_reused(task.id)
                    return known
            # The common task: its call is prepared here, so that it can wait in the queue of slots.
            is_ready = task.policies is PLAIN and self._servers.readiness is None
            if is_ready and isinstance(decision, Start):
                return self._prepare(job, decision)
            return decision
        # One task pays for a bug; an exception here would take the whole task group down.
        except Exception as bug:
            return Failure(internal(bug, task.id))

    def _prepare(self, job: TaskState, decision: Start) -> Call | Failure:
        """The call of a task without policies whose server is ready, so that it fits its tool."""
        try:
            return self.calls.fit(self.calls.new_call(job, job.task, decision))
        except CallError as failure:
            return Failure(failure.error)

    def start(self, tasks: Starter, job: TaskState, work: Work, then: Then) -> None:
        """Have a task carried out in a task group: at once, or as soon as it has a slot."""
        if self._emitter.trace is not None:
            job.traces = self._emitter.begin(job.task.id)
        call = job.decision
        if isinstance(call, Call):
            attempt = job.attempt = self.calls.new_attempt(job)
            if call.writes and call.safe is None:  # of no known tool: one that writes is unsafe
                attempt.fit = self.calls.fit_later
            policy = self._servers.policies.get(call.server)
            # A limit of the server is acquired first, so such a call may not hold a slot meanwhile.
            # The queue of slots is carried out by the tasks of one group: that of the run itself.
            # Nor may one that a person has to approve.
            asks = self._asks and self._servers.needs_approval(call)
            is_free = not asks and (policy is None or not policy.limits_of(call))
            attempt.has_slot = is_free and not job.within
            if is_free and self._lane is not None:
                attempt.lane, attempt.has_slot = self._lane, self._lane.keeps(job.priority)
            elif self._slots is not None and attempt.has_slot:
                attempt.queued_at = anyio.current_time()
                attempt.end_by = self._slots
                if self._emitter.announce and self._slots.is_busy():
                    self._emitter.waiting(call, attempt)
                priority = job.priority
                self._slots.start_soon(tasks, work, job, then, priority=priority, who=attempt)
                return
        if self._lane is not None and (job.attempt is None or job.attempt.lane is None):
            self._lane.leave()
        tasks.start_soon(work, job, then)

    def set_lane(self, is_chain: bool) -> None:
        """Have tasks that follow each other keep their slot, or not."""
        if self._lane is not None:
            self._lane.leave()
        self._lane = Lane(self._slots) if is_chain and self._slots is not None else None

    def forget(self) -> None:
        """Forget how calls are made, since none follows."""
        self.set_lane(False)
        self.calls.forget()

    def perform(self, job: TaskState) -> Awaitable[Outcome]:
        """Carry out the decision. Raises nothing but cancellation."""
        if isinstance(job.decision, Call) and job.attempt is not None:
            return self.calls.outcome(self.calls.callers.fitting, job.decision, job.attempt)
        return self._perform(job)

    async def _perform(self, job: TaskState) -> Outcome:
        policies = job.task.policies
        decision: Decision | None = job.decision
        if decision is None:  # its expressions take long
            decision = await in_thread(decide, job.task, self._scope)
        if policies.delay_s is not None and isinstance(decision, Start | StartEach):
            most_s = policies.deadline_s if isinstance(decision, Start) else None
            delay_s = min(policies.delay_s, most_s or math.inf)
            decision = await self._delay(job, delay_s) or decision
        outcome: Outcome
        match decision:
            case Start() as decision:
                outcome = await self.calls.make(job, decision, self._scope)
            case StartEach(items, first):
                self._emitter.items_started(job.task.id, len(items))
                outcome = await self._elsewhere(job, items) or await self._each(job, items, first)
            case Skipped() | Success():
                return decision
            case failure:
                assert isinstance(failure, Failure)
                outcome = failure
        if isinstance(outcome, Failure) and policies.fallback is not None and job.reason is None:
            return await self.calls.fall_back(job, outcome, self._scope)
        return outcome

    async def _delay(self, job: TaskState, seconds: float) -> Failure | None:
        """Wait before the first call; a failure if the task was cancelled meanwhile."""
        if self._recorder is not None:
            seconds -= self._recorder.began(job.within + job.task.id)
        with anyio.CancelScope() as job.scope:
            await anyio.sleep(max(0.0, seconds))
        job.scope = None
        if job.reason is None:
            return None
        return Failure(TaskError("cancelled", job.reason, retryable=False))

    async def _elsewhere(self, job: TaskState, items: list[Any]) -> Outcome | None:
        """Have the items carried by others; None if this process has to do it."""
        policies, spreader = job.task.policies, self._spreader
        if not policies.spread or spreader is None or job.task.generation is None:
            return None
        note = partial(self._emitter.item_settled, job.task.id)
        ask = partial(self.calls.ask_for_item, job)
        of_run = self._limit, self._stops(job), note, ask
        job.elsewhere = what = HandedOut(job.task, items, *of_run)
        with anyio.CancelScope() as job.scope:
            try:
                is_carried = await spreader.carry(what)
            except anyio.get_cancelled_exc_class():
                await self._read_outputs(what)
                raise
            if not is_carried:
                job.elsewhere = job.scope = None
                return None
        if job.reason is not None or what.joined is None:
            return Failure(TaskError("cancelled", job.reason or "", retryable=False))
        outputs = await in_thread(what.joined.outputs, self._scope.wrapped)
        error = what.error or what.joined.totals.error(len(items))
        return Success(outputs) if error is None else Failure(error, outputs)

    @staticmethod
    async def _read_outputs(what: HandedOut) -> None:
        """Read them in a thread: a process that stands still meanwhile would be taken for lost."""
        if what.joined is not None:
            what.outputs = []  # a journal that fails does not keep the run from ending
            with anyio.CancelScope(shield=True), suppress(JournalError):
                what.outputs = await in_thread(what.joined.outputs, {})

    async def _each(self, job: TaskState, items: list[Any], first: int) -> Outcome:
        """Make one call for each item, with as many workers as there may be calls at a time."""
        results: list[ItemResult | None] = [None] * len(items)
        job.items, job.in_flight, job.first = results, {}, first
        numbered = iter(enumerate(items, first))

        async def work() -> None:
            job.workers += 1
            for index, item in numbered:
                result = results[index - first] = await self._item(job, index, item)
                self._emitter.item_settled(job.task.id, result)
            job.workers, job.more = job.workers - 1, None

        # Workers share one iterator: a list of any length needs no more tasks than this.
        window = max(MIN_ITEMS, ITEMS_PER_SLOT * self._limit) if self._limit else len(items)
        workers = job.task.policies.max_parallel or window
        async with anyio.create_task_group() as group:
            job.scope = group.cancel_scope
            if job.task.policies.max_parallel is None:
                job.more = lambda: group.start_soon(work)
            for _ in range(min(workers, len(items))):
                group.start_soon(work)
        # Only a cancelled scope leaves items without a result.
        if None in results:
            return Failure(TaskError("cancelled", job.reason or "", retryable=False))
        ended_items = [result for result in results if result is not None]
        outputs = [item.output for item in ended_items]
        error = first_failure(ended_items)
        return Success(outputs) if error is None else Failure(error, outputs)

    async def _item(self, job: TaskState, index: int, item: Any) -> ItemResult:
        """Settle an item, unless one that failed keeps others from beginning."""
        path, result = job.within + job.task.id, None
        if self._recorder is not None:
            result = self._recorder.item(path, index, self._scope.wrapped)
        if result is None and job.not_begun is not None:
            return ItemResult(index, job.not_begun)
        if is_new := result is None:
            make = self._call_item if job.traces is None else self._trace_item
            result = await make(job, index, self._scope.at(item, index))
        succeeded = isinstance(result.outcome, Success)
        if job.not_begun is not None and result.started_ms is None and not succeeded:
            result = ItemResult(index, job.not_begun)
        if is_new and self._recorder is not None:
            self._recorder.note_item(path, result, self._scope.wrapped)
        if isinstance(result.outcome, Failure) and (why := self._stops(job)):
            job.stop_items(f"item {index} failed, and {why}")
        return result

    def _stops(self, job: TaskState) -> str:
        """Why an item that fails keeps others from beginning; empty if it does not."""
        if self._fails_fast:
            return "on_error is fail_fast"
        stops = job.task.policies.on_item_error == "stop"
        return "on_item_error is stop" if stops else ""

    async def _trace_item(self, job: TaskState, index: int, scope: Scope) -> ItemResult:
        assert job.traces is not None
        trace, result = job.traces[None].item(index), None
        job.traces[index] = trace
        try:
            result = await self._call_item(job, index, scope)
            return result
        finally:
            trace.end(result, self._emitter.clock.now_ms())
            del job.traces[index]

    async def _call_item(self, job: TaskState, index: int, scope: Scope) -> ItemResult:
        in_flight = job.in_flight
        assert in_flight is not None
        outcome: Outcome
        decision = decide_item(job.task, scope)
        if decision is None:
            decision = await in_thread(decide_item, job.task, replace(scope, quick=False))
        if isinstance(decision, Start):
            outcome = await self.calls.make(job, decision, scope, index)
        else:
            outcome = decision
        has_begun = index in in_flight and in_flight[index].number > 0
        has_fallback = job.task.policies.item_fallback is not None
        if isinstance(outcome, Failure) and has_fallback and (has_begun or job.not_begun is None):
            outcome = await self.calls.fall_back(job, outcome, scope, index)
        if (attempt := in_flight.pop(index, None)) is None:
            return ItemResult(index, outcome)
        return ended(index, attempt, outcome, self._emitter.clock.zero)
