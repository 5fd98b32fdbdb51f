"""The middleware around the calls of a run, put together once for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.middleware import (
    Fit,
    with_intent,
    with_locks,
    with_retry,
    with_server_ready,
    with_slots,
)
from orchestrator.calls.repeat import with_repeat
from orchestrator.calls.timeouts import with_deadline, with_timeout
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.keeping import Keeping
from orchestrator.engine.shared import Shared
from orchestrator.workflow.plan import Plan


class Callers:
    """What makes the calls of a run.

    Args:
        shared: What all tasks of a run have in common.
        plan: The tasks that call.
        emitter: Reports what happens to calls.
        fit: Fits a call to its tool.
        has_ended: Whether the run has ended, so that no further call is made.
        inside: Runs a workflow in place of a call.

    Attributes:
        fitting: Makes a call that fits its tool already.
        call: Waits for the server of a call, fits it to its tool, and makes it.
        inner: Fits a call to the inputs of a workflow, and runs it.
    """

    def __init__(
        self,
        shared: Shared,
        plan: Plan,
        emitter: Emitter,
        fit: Fit,
        has_ended: Callable[[], bool],
        inside: Caller,
    ) -> None:
        servers, on_wait, on_server, on_start = shared.servers, None, None, None
        # Without observers no event is made at all.
        if emitter.announce:
            on_wait, on_start = emitter.waiting, emitter.started
            on_server = emitter.waiting_for_server
        # Calls pay for these only where a task of the workflow asks for them.
        repeats = any(each.repeat is not None for each in plan.policies)
        has_deadlines = any(each.deadline_s is not None for each in plan.policies)

        recorder = shared.recorder
        keeping = Keeping(recorder, plan, emitter) if recorder is not None else None
        on_failure = emitter.failed if keeping is None else keeping.failed

        def held(attempt: Caller) -> Caller:
            before = None if recorder is None else recorder.attempts
            again = with_retry(attempt, on_failure, shared.settings.random, before)
            again = again if keeping is None else keeping.with_answers(again)
            return with_locks(with_repeat(again) if repeats else again, shared.locks, on_wait)

        def in_all(call_next: Caller) -> Caller:
            began = None if keeping is None else keeping.began
            return with_deadline(call_next, began) if has_deadlines else call_next

        in_time = _unless(has_ended, with_timeout(shared.caller, on_start))
        if recorder is not None:
            in_time = with_intent(in_time, recorder.note_intent)
        # Where runs take turns, all tasks of a run are one group: they have one budget.
        self.fitting = held(
            with_slots(in_time, servers.policies, shared.slots, on_wait, shared.budget)
        )
        self.call = with_server_ready(
            self.fitting, fit, servers.readiness, on_server, emitter.clock.count
        )
        self.inner = self.call = in_all(self.call)
        if plan.has_inner:
            # What runs inside waits for slots and servers itself.
            self.inner = in_all(with_server_ready(held(with_timeout(inside, on_start)), fit))


def _unless(has_ended: Callable[[], bool], call_next: Caller) -> Caller:
    """Make no call whose slot came together with the end of the run, which cancels it."""

    def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return anyio.sleep_forever() if has_ended() else call_next(call, attempt)

    return call_unless_ended
