"""The middleware around the calls of a run, put together once for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.middleware import (
    Fit,
    OnWait,
    with_locks,
    with_retry,
    with_server_ready,
    with_slots,
)
from orchestrator.calls.repeat import with_repeat
from orchestrator.calls.timeouts import with_deadline, with_timeout
from orchestrator.calls.tracing import with_trace
from orchestrator.engine.asking import Asking
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.keeping import Keeping
from orchestrator.engine.memo import with_memo
from orchestrator.engine.shared import Shared
from orchestrator.engine.spending import Spending
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
        asking: Asks before calls; None if no call needs that.

    Attributes:
        fitting: Makes a call that fits its tool already.
        call: Waits for the server of a call, fits it to its tool, and makes it.
        inner: Fits a call to the inputs of a workflow, and runs it.
        ask: Asks what a task asks.
    """

    def __init__(
        self,
        shared: Shared,
        plan: Plan,
        emitter: Emitter,
        fit: Fit,
        has_ended: Callable[[], bool],
        inside: Caller,
        asking: Asking | None = None,
    ) -> None:
        servers, on_wait, on_server, on_start = shared.servers, None, None, None
        # Without observers no event is made at all.
        if emitter.announce:
            on_wait, on_start = emitter.waiting, emitter.started
            on_server = emitter.waiting_for_server
        recorder = shared.settings.recorder
        keeping = None if recorder is None else Keeping(recorder, plan, emitter)
        held = partial(_held, shared, plan, emitter, keeping, on_wait)
        # Around the timeout, which ends a call from outside: its error is what the trace has.
        traced = _untraced if shared.settings.tracing is None else with_trace
        in_time = _unless(has_ended, traced(with_timeout(shared.caller, on_start)))
        in_time = in_time if keeping is None else keeping.with_intent(in_time)
        in_time = _held_back(shared, in_time, has_ended, emitter)
        # Where runs take turns, all tasks of a run are one group.
        group = shared.spending.outermost
        in_slot = with_slots(in_time, servers.policies, shared.slots, on_wait, group)
        self.fitting = held(in_slot if asking is None else asking.before(in_slot))
        self.call = with_server_ready(
            self.fitting, fit, servers.readiness, on_server, emitter.clock.count
        )
        self.inner = self.call = _in_all(self.call, plan, keeping)
        if plan.has_inner:
            # What runs inside waits for slots and servers itself.
            inside = traced(with_timeout(inside, on_start))
            inside = inside if asking is None else asking.before(inside)
            ready = with_server_ready(held(inside), fit)
            self.inner = _in_all(ready, plan, keeping)
        self.ask = shared.caller if asking is None else asking.ask


def _held_back(
    shared: Shared, call_next: Caller, has_ended: Callable[[], bool], emitter: Emitter
) -> Caller:
    """Calls that leave only as budgets and a worker that ends let them; before that is kept."""
    if shared.spending.is_bounded:
        call_next = _unless(has_ended, _counted(shared.spending, call_next, emitter))
    drain = shared.settings.drain
    return call_next if drain is None else drain.around(call_next)


def _held(
    shared: Shared,
    plan: Plan,
    emitter: Emitter,
    keeping: Keeping | None,
    on_wait: OnWait | None,
    attempt: Caller,
) -> Caller:
    """Make attempts of a call under its locks, or take its answer from the memo."""
    random, recorder = shared.settings.random, shared.settings.recorder
    if keeping is None:
        again = with_retry(attempt, emitter.failed, random)
    else:
        again = keeping.with_answers(keeping.with_retry(attempt, random))
    # Calls pay for these only where a task of the workflow asks for them.
    if any(each.repeat is not None for each in plan.policies):
        again = with_repeat(again)
    locked = with_locks(again, shared.locks, on_wait)
    if recorder is None or all(each.cache is None for each in plan.policies):
        return locked
    return with_memo(locked, recorder, shared.servers, emitter)


def _in_all(call_next: Caller, plan: Plan, keeping: Keeping | None) -> Caller:
    """End a call at its deadline, if any call has one."""
    if all(each.deadline_s is None for each in plan.policies):
        return call_next
    return with_deadline(call_next, None if keeping is None else keeping.began)


def _counted(spending: Spending, call_next: Caller, emitter: Emitter) -> Caller:
    """Make calls as long as a budget has some; the end of what needs more cancels it."""

    async def call_counted(call: Call, attempt: Attempt) -> Any:
        if (counting := spending.begin_call()) is None:
            return await anyio.sleep_forever()
        try:
            return await call_next(call, attempt)
        finally:
            for level in counting:
                level.end_call()
            if emitter.announce:
                emitter.spent(spending)

    return call_counted


def _untraced(call_next: Caller) -> Caller:
    return call_next


def _unless(has_ended: Callable[[], bool], call_next: Caller) -> Caller:
    """Make no call whose slot came together with the end of the run, which cancels it."""

    def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return anyio.sleep_forever() if has_ended() else call_next(call, attempt)

    return call_unless_ended
