"""Carrying a task out: its call, one call for each item, and the fallback's.

The rule of this file: from a decision to an outcome. It knows one task at a time, and neither the
schedule nor what becomes of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

import anyio

from orchestrator.calls.call import FREE, Attempt, Call, Caller, Gate, ServerPolicy
from orchestrator.calls.middleware import is_never_retried
from orchestrator.calls.retry import decide_retry, is_lost
from orchestrator.engine.decide import Start, StartEach, first_failure, start, with_fallback_error
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.outcome import Failure, Outcome, Success
from orchestrator.engine.result import ItemResult
from orchestrator.engine.task_state import TaskState, ended
from orchestrator.errors import CallError, TaskError
from orchestrator.expressions.scope import Scope
from orchestrator.schema.tool import Tool
from orchestrator.workflow.plan import PLAIN, CallTemplate

logger = logging.getLogger("orchestrator")

# Of a `for_each`, so many items for each slot of the run are looked after at a time, and so many at
# least: enough that those that wait or back off seldom keep a slot idle, and few enough for lists
# of any length.
ITEMS_PER_SLOT = 10
MIN_ITEMS = 100


class Executor:
    """Makes the calls of tasks.

    Args:
        call: Makes one call, with all policies.
        scope: What references are resolved against.
        tools: Each tool that is known, by `server:tool`.
        servers: What the configuration says about calls, by server.
        limit: How many calls the run has in flight at most; 0 = no limit.
        reporter: Is told of the items that end.
        run_id: The id of the run.
        gate: Holds calls back; None if all may go out.
    """

    def __init__(
        self,
        call: Caller,
        scope: Scope,
        *,
        tools: Mapping[str, Tool],
        servers: Mapping[str, ServerPolicy],
        limit: int,
        reporter: Emitter,
        run_id: str,
        gate: Gate | None = None,
    ) -> None:
        self._call = call
        self._scope = scope
        self._tools = tools
        self._servers = servers
        self._limit = limit
        self._reporter = reporter
        self._run_id = run_id
        self._gate = gate

    async def pass_gate(self, job: TaskState, target: CallTemplate) -> bool:
        """Wait until a call may go out, or its task is cancelled; whether it had to wait."""
        if self._gate is None or not self._gate.waiting_for(target):
            return False
        asked_at, job.held = anyio.current_time(), target
        with anyio.CancelScope() as job.scope:
            while what := self._gate.waiting_for(target):
                if what != job.note:
                    job.note = what
                    self._reporter.held(job.task.id, what)
                await self._gate.changed()
        job.waited_s += anyio.current_time() - asked_at
        job.held, job.note, job.scope = None, "", None
        return True

    def prepare(self, job: TaskState) -> Attempt | None:
        """The state of the call of a task, if it waits for nothing but a slot of the run."""
        task, decision = job.task, job.decision
        if task.policies is not PLAIN or not isinstance(decision, Start):
            return None
        call = job.decision = self._new_call(job, task, decision)
        attempt = job.attempt = self._new_attempt(job)
        policy = self._servers.get(task.server)
        attempt.has_slot = policy is None or not policy.limits_of(call)
        return attempt if attempt.has_slot else None

    def perform(self, job: TaskState) -> Awaitable[Outcome]:
        """Carry out what was decided. Raises nothing but cancellation."""
        call, attempt = job.decision, job.attempt
        if isinstance(call, Call) and attempt is not None:
            return self._outcome(call, attempt)
        return self._perform(job)

    async def _perform(self, job: TaskState) -> Outcome:
        outcome: Outcome
        match job.decision:
            case Start() as decision:
                call = self._new_call(job, job.task, decision)
                job.attempt = self._new_attempt(job)
                outcome = await self._outcome(call, job.attempt)
            case StartEach(items):
                outcome = await self._each(job, items)
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
        task, policies = job.task, job.task.policies
        tool = self._tools.get(target.target)
        is_fallback = target is not task
        return Call(
            task.id,
            target.server,
            target.tool,
            decision.arguments,
            self._timeout_of(task.timeout_s, target.server),
            job.priority if item is None else (*job.priority, item),
            tool is not None and tool.read_only is False,
            decision.conversions,
            item,
            decision.locks,
            None if is_fallback else policies.retry,
            tool.is_safe if tool is not None else None,
            policies.timeout_resets_on_progress,
            is_fallback,
            self._run_id,
        )

    def _new_attempt(self, job: TaskState, item: int | None = None) -> Attempt:
        attempt = Attempt(self._reporter.progress_of(job.task.id, item))
        if job.waited_s:
            attempt.waited_s, job.waited_s = job.waited_s, 0.0
        return attempt

    def _timeout_of(self, timeout_s: float | None, server: str) -> float:
        return self._servers.get(server, FREE).timeout_s if timeout_s is None else timeout_s

    async def _outcome(self, call: Call, attempt: Attempt) -> Success | Failure:
        try:
            return Success(await self._call(call, attempt))
        except CallError as failure:
            self._tell_of_a_loss(call, attempt, failure.error)
            return Failure(failure.error)
        except Exception as bug:
            logger.exception("task %r: a bug in the caller", call.task)
            return Failure(internal(bug))

    def _tell_of_a_loss(self, call: Call, attempt: Attempt, error: TaskError) -> None:
        """Say why a lost call was not repeated, where no policy has looked at it."""
        if is_lost(error) and is_never_retried(call):
            decision = decide_retry(error, attempt.number, None, call.safe, 0.0)
            self._reporter.failed(call, attempt, error, decision)

    async def _each(self, job: TaskState, items: list[Any]) -> Outcome:
        """One call for each item, by as many workers as there may be calls at a time."""
        results: list[ItemResult | None] = [None] * len(items)
        in_flight: dict[int, Attempt] = {}
        job.items, job.in_flight = results, in_flight
        numbered = iter(enumerate(items))

        async def work() -> None:
            for index, item in numbered:
                result = await self._item(job, in_flight, (index, item))
                results[index] = result
                self._reporter.item_settled(job.task.id, result)

        window = max(MIN_ITEMS, ITEMS_PER_SLOT * self._limit) if self._limit else len(items)
        workers = job.task.policies.max_parallel or window
        async with anyio.create_task_group() as group:
            job.scope = group.cancel_scope
            for _ in range(min(workers, len(items))):
                group.start_soon(work)
        if None in results:
            return Failure(TaskError("cancelled", job.reason or "", retryable=False))
        return _joined([result for result in results if result is not None])

    async def _item(
        self, job: TaskState, in_flight: dict[int, Attempt], numbered: tuple[int, Any]
    ) -> ItemResult:
        index, item = numbered
        task = job.task
        tool = self._tools.get(task.target)
        scope = replace(self._scope, item=item, index=index)
        try:
            decision = start(task, scope, tool, task.policies.locks)
        except CallError as failure:
            return ItemResult(index, Failure(failure.error))
        call = self._new_call(job, task, decision, index)
        attempt = in_flight[index] = self._new_attempt(job, index)
        outcome = await self._outcome(call, attempt)
        del in_flight[index]
        return ended(index, attempt, outcome, self._reporter.zero)

    async def _fall_back(self, job: TaskState, failure: Failure) -> Outcome:
        """What stands in for a task that failed; if that fails too, both errors are told."""
        try:
            output = await self._stand_in(job, failure.error)
        except CallError as second:
            error = with_fallback_error(failure.error, second.error)
        except Exception as bug:
            logger.exception("task %r: a bug in the caller of its fallback", job.task.id)
            error = with_fallback_error(failure.error, internal(bug))
        else:
            return Success(output, failure.error)
        return replace(failure, error=error)

    async def _stand_in(self, job: TaskState, error: TaskError) -> Any:
        fallback = job.task.policies.fallback
        assert fallback is not None
        scope = replace(self._scope, error=error.to_dict())
        if not isinstance(fallback, CallTemplate):
            return fallback.resolve(scope)
        await self.pass_gate(job, fallback)
        if job.reason is not None:
            raise CallError("cancelled", job.reason)
        tool = self._tools.get(fallback.target)
        held = tuple(lock for lock in job.task.policies.locks if not lock.of_item)
        decision = start(fallback, scope, tool, held)
        call = self._new_call(job, fallback, decision)
        job.fallback = self._new_attempt(job)
        return await self._call(call, job.fallback)


def _joined(items: list[ItemResult]) -> Success | Failure:
    outputs = [item.output for item in items]
    error = first_failure(items)
    return Success(outputs) if error is None else Failure(error, outputs)


def internal(bug: Exception) -> TaskError:
    """The error of a bug."""
    message = f"a bug in the engine or in the caller: {type(bug).__name__}: {bug}"
    return TaskError("internal", message, retryable=False, details={"type": type(bug).__name__})
