"""Keeps the calls of tasks that go on after them, and answers those that were made before."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from orchestrator.calls.call import Attempt, Call, Caller, Inside
from orchestrator.calls.middleware import Random, with_intent, with_retry
from orchestrator.calls.retry import RetryDecision
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.events import Event, OnEvent, ServerReady
from orchestrator.engine.outcome import Failure, Success
from orchestrator.engine.recorder import Answer, Recorder
from orchestrator.engine.result import TaskResult
from orchestrator.engine.settings import Servers
from orchestrator.engine.task_state import internal
from orchestrator.errors import CallError, TaskError
from orchestrator.workflow.inner import WORKFLOW
from orchestrator.workflow.plan import Plan


@dataclass(frozen=True, slots=True)
class Ended(Inside):
    """A workflow that had run in place of a call, and does nothing now."""

    results: Mapping[str, TaskResult]

    @property
    def is_idle(self) -> bool:
        """It has ended."""
        return False

    def activities(self) -> Iterator[Any]:
        """None."""
        return iter(())

    def items_under_way(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """None."""
        return iter(())

    def note_stop(self, stop: Any) -> None:
        """It has ended."""

    def pause(self, stop: Any) -> None:
        """It has ended."""

    def end_all(self, stop: Any) -> None:
        """It has ended."""


@contextmanager
def listening(
    servers: Servers, plan: Plan, recorder: Recorder | None, tell: OnEvent
) -> Iterator[None]:
    """Listen to the servers in the block; keep how the tools of a plan are defined once known."""

    def note() -> None:
        if recorder is not None:
            called = (each.target for each in plan.targets.values() if each.kind == "tool")
            recorder.note_tools(servers.tools[each] for each in called if each in servers.tools)

    def on_event(event: Event) -> None:
        if isinstance(event, ServerReady):
            note()
        tell(event)

    note()
    with nullcontext() if servers.listen is None else servers.listen(on_event):
        yield


class Keeping:
    """What a recorder is given of the calls of a workflow.

    The outcome of a task or an item is kept when it settles. So only the calls are kept here after
    which it goes on: the turns of a `repeat`, and one that failed before its fallback.
    """

    def __init__(self, recorder: Recorder, plan: Plan, emitter: Emitter) -> None:
        self._recorder, self._emitter = recorder, emitter
        policies = [each.policies for each in plan.tasks.values()]
        self._goes_on = any(
            each.repeat is not None or each.fallback is not None or each.item_fallback is not None
            for each in policies
        )

    def began(self, call: Call) -> float:
        """How long ago a call with a deadline began, seconds."""
        return self._recorder.began(call.task, call.item)

    def with_retry(self, call_next: Caller, random: Random) -> Caller:
        """Make a call that failed again, from the attempt on that an earlier process came to."""
        return with_retry(call_next, self._failed, random, self._recorder.attempts)

    def with_intent(self, call_next: Caller) -> Caller:
        """Keep that a call is about to leave whose repetition may do harm."""
        return with_intent(call_next, self._recorder.note_intent)

    def _failed(
        self, call: Call, attempt: Attempt, error: TaskError, decision: RetryDecision
    ) -> None:
        """Keep that an attempt has failed."""
        self._recorder.note_failure(call, attempt, error, decision.wait_s)
        self._emitter.failed(call, attempt, error, decision)

    def _ended(self, call: Call) -> Ended:
        """The workflow that had run in place of a call."""
        return Ended(self._recorder.settled(f"{call.where}/", {}))

    def _note(self, call: Call, attempt: Attempt, outcome: Success | Failure, made: int) -> None:
        zero = self._emitter.clock.zero
        started_ms = ((attempt.started_at or zero) - zero) * 1000
        answer = Answer(outcome, attempt.number - made, 0.0, started_ms, attempt.wrapped)
        self._recorder.note_answer(call, answer)

    def with_answers(self, call_next: Caller) -> Caller:
        """Answer a call that has ended before; keep how one ends after which its task goes on."""

        async def call_once(call: Call, attempt: Attempt) -> Any:
            if (answer := self._recorder.answer(call)) is not None:
                attempt.number += answer.attempts
                if attempt.started_at is None:
                    attempt.started_at = self._emitter.clock.zero + answer.started_ms / 1000
                attempt.answered_ago_s, attempt.wrapped = answer.ago_s, answer.wrapped
                if call.server == WORKFLOW:
                    attempt.inside = self._ended(call)
                if isinstance(answer.outcome, Failure):
                    raise CallError.of(answer.outcome.error)
                return answer.outcome.output
            made = attempt.number
            try:
                output = await call_next(call, attempt)
            except CallError as failure:
                if failure.kind != "cancelled":
                    self._note(call, attempt, Failure(failure.error), made)
                raise
            except Exception as bug:
                error = internal(bug, call.task)
                self._note(call, attempt, Failure(error), made)
                raise CallError.of(error) from bug
            self._note(call, attempt, Success(output), made)
            return output

        def call_kept(call: Call, attempt: Attempt) -> Awaitable[Any]:
            policies = self._emitter.task_of(call).policies
            fallback = policies.fallback if call.item is None else policies.item_fallback
            goes_on = attempt.turns is not None or (fallback is not None and not call.is_fallback)
            return call_once(call, attempt) if goes_on else call_next(call, attempt)

        return call_kept if self._goes_on else call_next
