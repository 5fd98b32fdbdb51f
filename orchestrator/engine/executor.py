"""Carries out one task: its call, the calls of its items, its fallback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls.call import FREE, Attempt, Call, Caller
from orchestrator.calls.middleware import (
    is_never_retried,
    with_locks,
    with_retry,
    with_server_ready,
    with_slots,
    with_timeout,
)
from orchestrator.calls.retry import decide_retry, is_lost
from orchestrator.calls.worker_pool import Work
from orchestrator.engine.budget import Budget
from orchestrator.engine.decide import (
    Start,
    StartEach,
    decide,
    first_failure,
    fit,
    in_thread,
    start,
    with_fallback_error,
)
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.outcome import Failure, Outcome, Skipped, Success
from orchestrator.engine.result import ItemResult
from orchestrator.engine.schedules import Then
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.task_state import TaskState, ended, internal
from orchestrator.errors import CallError, TaskError
from orchestrator.expressions.scope import Scope, SlowExpressionError
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate

# A `for_each` has this many workers for each slot of the run, and this many at least: enough that
# items that wait or back off seldom leave a slot idle, and few enough for lists of any length.
ITEMS_PER_SLOT = 10
MIN_ITEMS = 100


class Executor:
    """Makes the calls of the tasks of a run, with all middleware around `caller`.

    Attributes:
        limit: How many calls may be in flight; 0 = any number.
        may_wait: Whether calls may have to wait for each other.
    """

    def __init__(
        self,
        caller: Caller,
        workflow: Workflow,
        settings: RunSettings,
        servers: Servers,
        scope: Scope,
        emitter: Emitter,
        has_ended: Callable[[], bool],
        budget: Budget,
    ) -> None:
        plan, limit = workflow.plan, settings.max_concurrency
        limit = workflow.max_concurrency if limit is None else limit
        # A limit that cannot be reached costs slots and a queue, and changes nothing.
        self.limit = limit if limit < len(plan.tasks) or plan.fans_out else 0
        self.may_wait = self.limit > 0 or any(p.is_limited for p in servers.policies.values())
        self._slots = slots = servers.new_slots(plan, self.limit)
        self._plan = plan
        self._scope = scope
        self._run_id = settings.run_id
        self._budget = budget
        self._fails_fast = workflow.on_error == "fail_fast"
        self._servers = servers
        self._emitter = emitter
        on_wait = on_server = on_start = None
        # Without observers no event is made at all.
        if emitter.announce:
            on_wait, on_start = emitter.waiting, emitter.started
            on_server = emitter.waiting_for_server
        in_time = _unless(has_ended, with_timeout(caller, on_start))
        attempt = with_slots(in_time, servers.policies, slots, on_wait)
        again = with_retry(attempt, emitter.failed, settings.random)
        self._call_fitting = with_locks(again, servers.locks, on_wait)
        self._fit_later = self._fit  # one bound method for all attempts
        self._call = with_server_ready(
            self._call_fitting, self._fit, servers.readiness, on_server, emitter.pause
        )

    def prepare(self, job: TaskState, decision: Start) -> Call | Failure:
        """The call of a task without policies whose server is ready, so that it fits its tool."""
        try:
            return self._fit(self._new_call(job, job.task, decision))
        except CallError as failure:
            return Failure(failure.error)

    def start(self, tasks: TaskGroup, job: TaskState, work: Work, then: Then) -> None:
        """Have a task carried out in a task group: at once, or as soon as it has a slot."""
        call = job.decision
        if isinstance(call, Call):
            attempt = job.attempt = self._new_attempt(job)
            if call.writes and call.safe is None:  # of no known tool: one that writes is unsafe
                attempt.fit = self._fit_later
            policy = self._servers.policies.get(call.server)
            # A limit of the server is acquired first, so such a call may not hold a slot meanwhile.
            attempt.has_slot = policy is None or not policy.limits_of(call)
            if self._slots is not None and attempt.has_slot:
                attempt.queued_at = anyio.current_time()
                attempt.end_by = self._slots
                if self._emitter.announce and self._slots.is_busy():
                    self._emitter.waiting(call, attempt)
                priority = job.priority
                self._slots.start_soon(tasks, work, job, then, priority=priority, who=attempt)
                return
        tasks.start_soon(work, job, then)

    def perform(self, job: TaskState) -> Awaitable[Outcome]:
        """Carry out the decision. Raises nothing but cancellation."""
        if isinstance(job.decision, Call) and job.attempt is not None:
            return self._outcome(self._call_fitting, job.decision, job.attempt)
        return self._perform(job)

    async def _perform(self, job: TaskState) -> Outcome:
        outcome: Outcome
        # Without a decision, its expressions take long.
        match job.decision or await in_thread(decide, job.task, self._scope):
            case Start() as decision:
                call = self._new_call(job, job.task, decision)
                job.attempt = self._new_attempt(job)
                outcome = await self._outcome(self._call, call, job.attempt)
            case StartEach(items):
                outcome = await self._each(job, items)
            case Skipped() as skipped:
                return skipped
            case failure:
                assert isinstance(failure, Failure)
                outcome = failure
        has_fallback = job.task.policies.fallback is not None and job.reason is None
        if isinstance(outcome, Failure) and has_fallback:
            return await self._fall_back(job, outcome)
        return outcome

    def _new_call(
        self, job: TaskState, target: CallTemplate, decision: Start, item: int | None = None
    ) -> Call:
        task, policies, timeout_s = job.task, job.task.policies, job.task.timeout_s
        if timeout_s is None:
            timeout_s = self._servers.policies.get(target.server, FREE).timeout_s
        return Call(  # by position, since keywords take twice as long
            task.id,
            target.server,
            target.tool,
            decision.arguments,
            timeout_s,
            job.priority if item is None else (*job.priority, item),
            False,  # what the tool declares and accepts, `fit` adds
            (),
            item,
            decision.locks,
            policies.retry if target is task else None,
            None,
            policies.timeout_resets_on_progress,
            target is not task,
            self._run_id,
        )

    def _new_attempt(self, job: TaskState, item: int | None = None) -> Attempt:
        return Attempt(self._emitter.progress_of(job.task.id, item))

    def _fit(self, call: Call, attempt: Attempt | None = None) -> Call:
        task = self._plan.tasks[call.task]
        target = task.policies.fallback if call.is_fallback else task
        assert isinstance(target, CallTemplate)
        tool = self._servers.tools.get(target.target)
        if tool is not None:
            return fit(call, target, tool)
        # Its server may start for this call, and only then list the tool, which may write.
        if attempt is not None:
            attempt.fit = self._fit_later
        return call._replace(writes=True)

    async def _outcome(self, caller: Caller, call: Call, attempt: Attempt) -> Success | Failure:
        try:
            return Success(await caller(call, attempt))
        except CallError as failure:
            self._report_loss(call, attempt, failure.error)
            return Failure(failure.error)
        except Exception as bug:
            return Failure(internal(bug, call.task))
        finally:
            self._budget.spend(attempt.answer_bytes)

    def _report_loss(self, call: Call, attempt: Attempt, error: TaskError) -> None:
        """Report why a lost call is not repeated, if no retry has looked at it."""
        # A retry reports its own decisions, this call went past it.
        if is_lost(error) and is_never_retried(call):
            decision = decide_retry(error, attempt.number, None, call.safe, 0.0)
            self._emitter.failed(call, attempt, error, decision)

    async def _each(self, job: TaskState, items: list[Any]) -> Outcome:
        """Make one call for each item, with as many workers as there may be calls at a time."""
        self._emitter.items_started(job.task.id, len(items))
        results: list[ItemResult | None] = [None] * len(items)
        in_flight: dict[int, Attempt] = {}
        job.items, job.in_flight = results, in_flight
        numbered = iter(enumerate(items))

        async def work() -> None:
            for index, item in numbered:
                result = results[index] = await self._item(job, in_flight, index, item)
                self._emitter.item_settled(job.task.id, result)

        # Workers share one iterator: a list of any length needs no more tasks than this.
        window = max(MIN_ITEMS, ITEMS_PER_SLOT * self.limit) if self.limit else len(items)
        workers = job.task.policies.max_parallel or window
        async with anyio.create_task_group() as group:
            job.scope = group.cancel_scope
            for _ in range(min(workers, len(items))):
                group.start_soon(work)
        # Only a cancelled scope leaves items without a result.
        if None in results:
            return Failure(TaskError("cancelled", job.reason or "", retryable=False))
        ended_items = [result for result in results if result is not None]
        outputs = [item.output for item in ended_items]
        error = first_failure(ended_items)
        return Success(outputs) if error is None else Failure(error, outputs)

    async def _item(
        self, job: TaskState, in_flight: dict[int, Attempt], index: int, item: Any
    ) -> ItemResult:
        """Make the call of an item, unless an item that failed keeps others from beginning."""
        if job.not_begun is not None:
            return ItemResult(index, job.not_begun)
        result = await self._call_item(job, in_flight, index, item)
        if job.not_begun is not None and not result.attempts:
            return ItemResult(index, job.not_begun)
        if self._fails_fast and isinstance(result.outcome, Failure):
            job.stop_items(f"item {index} failed, and on_error is fail_fast")
        return result

    async def _call_item(
        self, job: TaskState, in_flight: dict[int, Attempt], index: int, item: Any
    ) -> ItemResult:
        scope = replace(self._scope, item=item, index=index, quick=True)
        try:
            try:
                decision = start(job.task, scope, job.task.policies.locks)
            except SlowExpressionError:
                whole, locks = replace(scope, quick=False), job.task.policies.locks
                decision = await in_thread(start, job.task, whole, locks)
        except CallError as failure:
            return ItemResult(index, Failure(failure.error))
        call = self._new_call(job, job.task, decision, index)
        attempt = in_flight[index] = self._new_attempt(job, index)
        outcome = await self._outcome(self._call, call, attempt)
        del in_flight[index]
        return ended(index, attempt, outcome, self._emitter.zero)

    async def _fall_back(self, job: TaskState, failure: Failure) -> Outcome:
        """The outcome of the fallback; if that fails too, the failure with both errors."""
        try:
            output = await self._fallback_output(job, failure.error)
        except CallError as second:
            error = with_fallback_error(failure.error, second.error)
        except Exception as bug:
            error = with_fallback_error(failure.error, internal(bug, job.task.id))
        else:
            return Success(output, failure.error)
        return replace(failure, error=error)

    async def _fallback_output(self, job: TaskState, error: TaskError) -> Any:
        fallback = job.task.policies.fallback
        assert fallback is not None
        scope = replace(self._scope, error=error.to_dict())
        if not isinstance(fallback, CallTemplate):
            return fallback.resolve(scope)
        # The fallback is one call for the whole task: there is no item to resolve a name with.
        held = tuple(lock for lock in job.task.policies.locks if not lock.of_item)
        call = self._new_call(job, fallback, start(fallback, scope, held))
        job.fallback = self._new_attempt(job)
        try:
            return await self._call(call, job.fallback)
        finally:
            self._budget.spend(job.fallback.answer_bytes)


def _unless(has_ended: Callable[[], bool], call_next: Caller) -> Caller:
    """Make no call whose slot came together with the end of the run, which cancels it."""

    def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return anyio.sleep_forever() if has_ended() else call_next(call, attempt)

    return call_unless_ended
