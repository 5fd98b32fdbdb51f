"""Makes the calls of one task: its own, those of its items, those of its fallbacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.middleware import is_never_retried
from orchestrator.calls.policy import FREE
from orchestrator.calls.repeat import Turns
from orchestrator.calls.retry import decide_retry, is_lost
from orchestrator.engine.asking import Asking
from orchestrator.engine.callers import Callers
from orchestrator.engine.decide import (
    Start,
    evaluated,
    fit,
    is_false,
    start,
    with_fallback_error,
)
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.outcome import Failure, Outcome, Success
from orchestrator.engine.question import Question
from orchestrator.engine.shared import Shared
from orchestrator.engine.task_state import TaskState, internal
from orchestrator.errors import CallError, TaskError
from orchestrator.expressions.scope import MISSING, Scope
from orchestrator.schema.requests import URI, request_tool
from orchestrator.schema.tool import Tool
from orchestrator.workflow.inner import WORKFLOW
from orchestrator.workflow.plan import CallTemplate, Plan, RepeatPlan, TaskPlan


class TaskCalls:
    """Makes calls for the tasks of a run.

    Attributes:
        callers: The middleware around them.
    """

    def __init__(
        self,
        shared: Shared,
        plan: Plan,
        emitter: Emitter,
        has_ended: Callable[[], bool],
        inside: Caller,
        wrapped: dict[int, Any],
        asking: Asking | None,
    ) -> None:
        self.callers = Callers(shared, plan, emitter, self.fit, has_ended, inside, asking)
        self.fit_later = self.fit  # one bound method for all attempts
        self._spending, self._recorder = shared.spending, shared.settings.recorder
        self._wrapped = wrapped
        self._run_id = shared.settings.run_id + shared.turns
        self._servers = shared.servers
        self._emitter = emitter
        self._within, self._start = emitter.within, len(emitter.within)
        self._tasks = plan.tasks
        self._asking, self._questions = asking, shared.questions

    def forget(self) -> None:
        """Forget the middleware, since no call follows."""
        del self.callers, self.fit_later

    def new_call(
        self, job: TaskState, target: CallTemplate, decision: Start, item: int | None = None
    ) -> Call:
        task, policies, timeout_s = job.task, job.task.policies, job.task.timeout_s
        if timeout_s is None:
            policy = self._servers.policies.get(target.server, FREE)
            # Of what runs inside, each call has its own.
            timeout_s = policy.timeout_s if target.server else math.inf
        is_fallback = target is not task
        return Call(  # by position, since keywords take twice as long
            self._within + task.id,
            target.server or WORKFLOW,
            target.tool,
            decision.arguments,
            timeout_s,
            job.priority if item is None else (*job.priority, item),
            False,  # what the tool declares and accepts, `fit` adds
            (),
            item,
            decision.locks,
            None if is_fallback else policies.retry,
            None,
            policies.timeout_resets_on_progress,
            is_fallback,
            self._run_id,
            None if is_fallback else policies.deadline_s,
            target.kind,
        )

    def new_attempt(self, job: TaskState, item: int | None = None) -> Attempt:
        attempt = Attempt(self._emitter.progress_of(job.task.id, item))
        if job.traces is not None:
            attempt.trace = job.traces.get(item)
        return attempt

    def again(
        self, job: TaskState, decision: Start, number: int, item: int | None
    ) -> tuple[Call, Attempt]:
        """The call that an earlier process began, with the attempt of this number.

        Raises:
            CallError: Its arguments do not fit.
        """
        attempt = self.new_attempt(job, item)
        call = self.fit(self.new_call(job, job.task, decision, item))
        attempt.number = number - 1
        attempt.begin()
        if job.in_flight is None or item is None:
            job.attempt = attempt
        else:
            job.in_flight[item] = attempt
        return call, attempt

    def fit(self, call: Call, attempt: Attempt | None = None) -> Call:
        target: CallTemplate = self._tasks[call.task[self._start :]]
        if call.is_fallback or target.kind != "tool":
            found = self._unusual(call)
            if isinstance(found, Call):
                return found
            target = found
        tool = self._servers.tools.get(target.target)
        if tool is not None:
            if self._recorder is not None:
                self._recorder.note_tool(tool)
            return fit(call, target, tool)
        # Its server may start for this call, and only then list the tool, which may write.
        if attempt is not None:
            attempt.fit = self.fit_later
        return call._replace(writes=True)

    def _unusual(self, call: Call) -> Call | CallTemplate:
        """A call of another kind, fitted; or what the call of a tool in a fallback is made of."""
        task = self._tasks[call.task[self._start :]]
        target: Any = task
        if call.is_fallback:
            policies = task.policies
            target = policies.fallback if call.item is None else policies.item_fallback
        elif task.inner is not None:
            return fit(call, task, task.inner.signature)
        assert isinstance(target, CallTemplate)
        if target.kind == "tool":
            return target
        return _fit_request(call, target, self._servers.tools.get(target.target))

    async def make(
        self, job: TaskState, decision: Start, scope: Scope, item: int | None = None
    ) -> Success | Failure:
        """Make the call of a task, or of an item of it, as often as it repeats."""
        attempt = self.new_attempt(job, item)
        if job.in_flight is None or item is None:
            job.attempt = attempt
        else:
            job.in_flight[item] = attempt
        call = self.new_call(job, job.task, decision, item)
        if (repeat := job.task.policies.repeat) is not None:
            attempt.turns = self._turns(job.task, repeat, scope, attempt)
        if item is None:  # the delay of a `for_each` is over before its first item begins
            attempt.delayed_s = job.task.policies.delay_s or 0.0
        attempt.approval = decision.approval
        if job.task.kind == "ask":
            return await self.outcome(self.callers.ask, call, attempt)
        caller = self.callers.call if job.task.inner is None else self.callers.inner
        return await self.outcome(caller, call, attempt)

    def _turns(self, task: TaskPlan, repeat: RepeatPlan, scope: Scope, attempt: Attempt) -> Turns:
        collect = repeat.collect

        def at(last: Any) -> Scope:
            known = {id(last): last, **scope.wrapped} if attempt.wrapped else scope.wrapped
            return replace(scope, last=last, wrapped=known)

        async def next_call(call: Call, last: Any) -> Call:
            if collect is not None:  # the answer is kept
                self._spending.answer(attempt.answer_bytes)
            decision = await evaluated(partial(start, task), at(last))
            return self.fit(call._replace(arguments=decision.arguments))

        async def is_done(last: Any) -> bool:
            return not is_false(await evaluated(repeat.until.resolve, at(last)))

        return Turns(
            repeat.every_s,
            repeat.max_times,
            next_call,
            is_done,
            lambda: [
                scope.inputs,
                [scope.outputs.get(name) for name in task.dependencies],
                [scope.statuses.get(name) for name in task.dependencies],
                None if scope.item is MISSING else [scope.item, scope.index],
            ],
            None if collect is None else lambda last: evaluated(collect.resolve, at(last)),
        )

    async def outcome(self, caller: Caller, call: Call, attempt: Attempt) -> Success | Failure:
        try:
            output = await caller(call, attempt)
            if attempt.wrapped:
                self._note_wrapped(output, attempt)
            return Success(output)
        except CallError as failure:
            self._report_loss(call, attempt, failure.error)
            return Failure(failure.error)
        except Exception as bug:
            return Failure(internal(bug, call.task))
        finally:
            if attempt.answer_bytes:
                self._spending.answer(attempt.answer_bytes)

    def _note_wrapped(self, output: Any, attempt: Attempt) -> None:
        """Have `.result` of an output be the value itself, unless it is what `repeat` collected."""
        if attempt.turns is None or attempt.turns.collect is None:
            self._wrapped[id(output)] = output

    def _report_loss(self, call: Call, attempt: Attempt, error: TaskError) -> None:
        """Report why a lost call is not repeated, if no retry has looked at it."""
        # A retry reports its own decisions, this call went past it.
        if is_lost(error) and is_never_retried(call):
            decision = decide_retry(error, attempt.number, None, call.safe, 0.0)
            self._emitter.failed(call, attempt, error, decision)

    async def ask_for_item(self, job: TaskState, question: Question) -> None:
        """Ask what an item waits for that another process carries; that goes on with the reply."""
        attempt = Attempt(None)
        call = self.new_call(job, job.task, Start({}), question.item)
        if self._asking is not None:
            await self._asking.ask_again(question, call, attempt)
        elif self._questions is not None:
            await self._questions.ask(question, call, attempt, lambda _: None)

    async def fall_back(
        self, job: TaskState, failure: Failure, scope: Scope, item: int | None = None
    ) -> Outcome:
        """The outcome of the fallback; if that fails too, the failure with both errors."""
        second = await self._instead(job, replace(scope, error=failure.error.to_dict()), item)
        if isinstance(second, Success):
            return Success(second.output, failure.error)
        return replace(failure, error=with_fallback_error(failure.error, second.error))

    async def _instead(self, job: TaskState, scope: Scope, item: int | None) -> Success | Failure:
        policies = job.task.policies
        fallback = policies.fallback if item is None else policies.item_fallback
        assert fallback is not None
        try:
            if not isinstance(fallback, CallTemplate):
                return Success(await evaluated(fallback.resolve, scope))
            # The fallback of a whole task is one call: there is no item to resolve a name with.
            held = tuple(lock for lock in policies.locks if item is not None or not lock.of_item)
            decision = await evaluated(partial(start, fallback, locks=held), scope)
        except CallError as failure:
            return Failure(failure.error)
        except Exception as bug:
            return Failure(internal(bug, job.task.id))
        call = self.new_call(job, fallback, decision, item)
        if job.in_flight is None or item is None:
            attempt = job.fallback = self.new_attempt(job)
        else:  # the state of the item goes on
            attempt = job.in_flight.setdefault(item, self.new_attempt(job, item))
            attempt.turns, attempt.own = None, attempt.number
        return await self.outcome(self.callers.call, call, attempt)


def _fit_request(call: Call, target: CallTemplate, known: Tool | None) -> Call:
    """A call that reads a resource or gets a prompt, which may be known."""
    call = fit(call, target, known or request_tool(target.kind, target.server, target.tool))
    return call._replace(tool=call.arguments[URI]) if target.kind == "read" else call
