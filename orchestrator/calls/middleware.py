"""The policies around a call.

The rule of this file: a policy is a function from caller to caller, and costs nothing where it is
not asked for. From the outside in: locks, retry, slots, the timeout of the attempt. So waiting for
a slot never eats the timeout, and backing off holds no slot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.call import FREE, Call, Caller, ServerPolicy
from orchestrator.calls.limits import AbandonedError, Locks, Rate, Slots
from orchestrator.calls.retry import Decision, decide_retry, is_lost
from orchestrator.errors import CallError, TaskError

# Progress of a tool extends the timeout of its attempt up to so many times its length.
PROGRESS_LIMIT = 10

OnWait = Callable[[Call], None]
OnStart = Callable[[Call, float], None]
OnFailure = Callable[[Call, TaskError, Decision], None]
Random = Callable[[], float]


def with_timeout(call_next: Caller, on_start: OnStart | None = None) -> Caller:
    """Each attempt ends after the call's `timeout_s`, with a `timeout` error.

    Where the call says so, progress starts the time anew, up to `PROGRESS_LIMIT` times its length.
    `on_start` is told when an attempt begins, on anyio's clock.
    """

    async def call_within(call: Call) -> Any:
        call.check_cancelled()
        now = call.begin_attempt()
        if on_start is not None:
            on_start(call, now)
        with anyio.CancelScope(deadline=now + call.timeout_s) as scope:
            call.end_by = scope
            if call.extends:
                last = now + PROGRESS_LIMIT * call.timeout_s
                return await _call_extended(call, call_next, scope, last)
            return await call_next(call)
        call.check_cancelled()
        raise _timeout(call, reached_last=call.extends and scope.deadline >= last)

    return call_within


async def _call_extended(
    call: Call, call_next: Caller, scope: anyio.CancelScope, last: float
) -> Any:
    """A call whose timeout begins anew with each progress, up to a last moment."""
    told = call.on_progress

    def extend(progress: float, total: float | None, message: str) -> None:
        scope.deadline = min(anyio.current_time() + call.timeout_s, last)
        if told is not None:
            told(progress, total, message)

    call.on_progress = extend
    try:
        return await call_next(call)
    finally:
        call.on_progress = told


def _timeout(call: Call, *, reached_last: bool) -> CallError:
    what = f"did not answer within {call.timeout_s:g} s"
    if reached_last:
        what = f"was not ready after {PROGRESS_LIMIT} times {call.timeout_s:g} s, progress or not"
    elif call.extends:
        what = f"went {call.timeout_s:g} s without an answer or progress"
    message = f"{call.server}:{call.tool} {what}"
    return CallError("timeout", message, timeout_s=call.timeout_s)


def with_slots(
    call_next: Caller,
    servers: Mapping[str, ServerPolicy],
    run_slots: Slots | None,
    on_wait: OnWait | None = None,
) -> Caller:
    """Each attempt waits for all that its server limits, and for a slot of the run last.

    In this order, a call that waits for a busy server holds no slot that others could use.
    """

    def call_limited(call: Call) -> Awaitable[Any]:
        if call.is_free:
            return call_next(call)
        policy = servers.get(call.server, FREE)
        limits = policy.limits_of(call)
        if run_slots is not None:
            limits.append(run_slots)
        return call_in_slots(call, policy, limits) if limits else call_next(call)

    async def call_in_slots(call: Call, policy: ServerPolicy, limits: list[Slots | Rate]) -> Any:
        asked_at = anyio.current_time()
        held = 0
        try:
            for limit in limits:
                call.check_cancelled()
                call.end_by = limit
                if on_wait is not None and limit.is_busy():
                    on_wait(call)
                await limit.acquire(call.priority, who=call, group=call.group)
                held += 1
            if policy.rate is not None:
                policy.rate.note_start()
                policy.rate.release()
                limits.remove(policy.rate)
                held -= 1
            call.waited_s += anyio.current_time() - asked_at
            call.end_by = None
            if isinstance(policy.slots, AdaptiveSlots):
                return await _learning(call, call_next, policy.slots)
            return await call_next(call)
        except AbandonedError:
            call.check_cancelled()
            raise
        finally:
            call.end_by = None
            for limit in limits[:held]:
                limit.release()

    return call_limited


async def _learning(call: Call, call_next: Caller, slots: AdaptiveSlots) -> Any:
    began_at = anyio.current_time()
    try:
        output = await call_next(call)
    except CallError as failure:
        overloaded = _is_overload(failure.error)
        slots.learn(call.tool, began_at, overloaded=overloaded, failed=True)
        raise
    slots.learn(call.tool, began_at, overloaded=False, failed=False)
    return output


def _is_overload(error: TaskError) -> bool:
    """Whether an error says that the server has too much to do: a timeout, or HTTP 429 or 503."""
    details = error.details
    return (
        error.kind == "timeout"
        or details.get("http_status") in (429, 503)
        or "retry_after_s" in details
    )


def no_jitter() -> float:
    """Leaves each wait as long as it is."""
    return 0.0


def with_retry(
    call_next: Caller, on_failure: OnFailure | None = None, random: Random = no_jitter
) -> Caller:
    """A call that failed is made again as its policy says; see `orchestrator.calls.retry`."""

    async def call_again(call: Call) -> Any:
        attempts = 0
        while True:
            attempts += 1
            try:
                return await call_next(call)
            except CallError as failure:
                error = failure.error
                decision = decide_retry(error, attempts, call.retry, call.safe, random())
                asked = call.retry is not None and not call.is_cancelled
                if on_failure is not None and (asked or is_lost(error)):
                    on_failure(call, error, decision)
                if decision.wait_s is None:
                    raise
            call.note = "its next attempt"
            with anyio.CancelScope() as call.end_by:
                await anyio.sleep(decision.wait_s)
            call.note = ""
            call.check_cancelled()

    return lambda call: call_next(call) if is_never_repeated(call) else call_again(call)


def is_never_repeated(call: Call) -> bool:
    """Whether no failure can have a call made again, so that no policy needs to look at it."""
    return call.retry is None and not call.safe


def with_locks(call_next: Caller, locks: Locks, on_wait: OnWait | None = None) -> Caller:
    """A call holds its locks over all its attempts; they are taken in the order of their names."""

    async def call_holding(call: Call) -> Any:
        asked_at = anyio.current_time()
        held: list[tuple[str, bool]] = []
        try:
            for name, shared in call.locks:
                call.note = f"lock {name!r}"
                if on_wait is not None and locks.is_busy(name, shared=shared):
                    on_wait(call)
                with anyio.CancelScope() as call.end_by:
                    await locks.acquire(name, shared=shared)
                    held.append((name, shared))
                call.check_cancelled()
            call.waited_s += anyio.current_time() - asked_at
            call.note = ""
            return await call_next(call)
        finally:
            call.note = ""
            for name, shared in held:
                locks.release(name, shared=shared)

    return lambda call: call_holding(call) if call.locks else call_next(call)
