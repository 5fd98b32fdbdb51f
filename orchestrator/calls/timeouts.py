"""The limits of time around a call: of one attempt, and of all that is done for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.errors import CallError

# Progress extends the timeout of an attempt to at most this many times its length.
PROGRESS_LIMIT = 10

OnStart = Callable[[Call, Attempt, float], None]


def with_timeout(call_next: Caller, on_start: OnStart | None = None) -> Caller:
    """End each attempt after the call's `timeout_s` with an error of kind `timeout`."""

    async def call_within(call: Call, attempt: Attempt) -> Any:
        attempt.check_cancelled(call)
        now = attempt.begin()
        if on_start is not None:
            on_start(call, attempt, now)
        with anyio.CancelScope(deadline=now + call.timeout_s) as scope:
            # `cancel` ends this scope, so a cancelled attempt leaves through the check below.
            attempt.end_by = scope
            if call.timeout_resets_on_progress:
                last = now + PROGRESS_LIMIT * call.timeout_s
                return await _call_extended(call, attempt, call_next, scope, last)
            return await call_next(call, attempt)
        attempt.check_cancelled(call)
        at_last = call.timeout_resets_on_progress and scope.deadline >= last
        raise _timeout(call, at_last=at_last)

    return call_within


async def _call_extended(
    call: Call, attempt: Attempt, call_next: Caller, scope: anyio.CancelScope, last: float
) -> Any:
    """Make a call whose timeout restarts with each progress, up to the moment `last`."""
    on_progress = attempt.on_progress

    def extend(progress: float, total: float | None, message: str) -> None:
        scope.deadline = min(anyio.current_time() + call.timeout_s, last)
        if on_progress is not None:
            on_progress(progress, total, message)

    attempt.on_progress = extend
    try:
        return await call_next(call, attempt)
    finally:
        attempt.on_progress = on_progress


def _timeout(call: Call, *, at_last: bool) -> CallError:
    what = f"did not answer within {call.timeout_s:g} s"
    if at_last:
        what = f"made progress but did not answer within {PROGRESS_LIMIT} x {call.timeout_s:g} s"
    elif call.timeout_resets_on_progress:
        what = f"sent no answer and no progress for {call.timeout_s:g} s"
    return CallError("timeout", f"{call.target} {what}", timeout_s=call.timeout_s)


def with_deadline(call_next: Caller, began: Callable[[Call], float] | None = None) -> Caller:
    """End a call `deadline_s` after its task began, whatever it does or waits for.

    `began` says how long ago an earlier process began it, seconds; None: there was none.
    """

    async def call_before(call: Call, attempt: Attempt, deadline_s: float) -> Any:
        past_s = attempt.delayed_s if began is None else max(attempt.delayed_s, began(call))
        if (left_s := deadline_s - past_s) > 0:
            with anyio.move_on_after(left_s):
                return await call_next(call, attempt)
        attempt.check_cancelled(call)
        message = f"{call.target} did not finish within its deadline of {deadline_s:g} s"
        raise CallError("timeout", message, deadline_s=deadline_s)

    def call_in_time(call: Call, attempt: Attempt) -> Awaitable[Any]:
        if call.deadline_s is None:
            return call_next(call, attempt)
        return call_before(call, attempt, call.deadline_s)

    return call_in_time
