"""The middleware around a call: readiness, locks, retry and slots; see `timeouts` and `repeat`.

Each is a function from caller to caller. The order, outermost first: deadline, readiness, locks,
repeat, retry, slots, timeout. So waiting for a slot does not use up the timeout of an attempt, and
a backoff holds no slot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.call import Attempt, Call, Caller, Readiness
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import AbandonedError, Slots
from orchestrator.calls.locks import Locks
from orchestrator.calls.policy import FREE, ServerPolicy
from orchestrator.calls.rates import Rate, note_starts
from orchestrator.calls.retry import RetryDecision, decide_retry, is_lost
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError, TaskError

NEXT_ATTEMPT = Cause("retry")

OnWait = Callable[[Call, Attempt], None]
OnFailure = Callable[[Call, Attempt, TaskError, RetryDecision], None]
Before = Callable[[Call, Attempt], tuple[int, float]]
"""How many attempts of a call an earlier process made, and the rest of its wait, seconds."""
Fit = Callable[[Call, Attempt], Call]
Random = Callable[[], float]


def with_slots(
    call_next: Caller,
    servers: Mapping[str, ServerPolicy],
    run_slots: Slots | None,
    on_wait: OnWait | None = None,
    group: object = None,
) -> Caller:
    """Acquire the limits of the server for each attempt, and then a slot of the run.

    In this order, a call that waits for a busy server holds no slot that others could use. Groups,
    such as runs that share a server, take turns at its limits; see `Slots`.
    """

    def call_limited(call: Call, attempt: Attempt) -> Awaitable[Any]:
        if attempt.has_slot:
            return call_next(call, attempt)
        policy = servers.get(call.server, FREE)
        limits = policy.limits_of(call)
        if run_slots is not None:
            limits.append(run_slots)
        if not limits:
            return call_next(call, attempt)
        return _call_in_slots(call, attempt, call_next, policy, limits, group, on_wait)

    return call_limited


async def _call_in_slots(
    call: Call,
    attempt: Attempt,
    call_next: Caller,
    policy: ServerPolicy,
    limits: list[Slots | Rate],
    group: object,
    on_wait: OnWait | None,
) -> Any:
    asked_at = since = anyio.current_time()
    held: list[Slots | Rate] = []
    if policy.fence is not None:
        attempt.fence = None  # of the attempt before
    try:
        for limit in limits:
            attempt.check_cancelled(call)
            attempt.end_by = limit
            if on_wait is not None:
                limit.tell(partial(on_wait, call, attempt))
            is_late = await limit.acquire(call.priority, who=attempt, group=group)
            if attempt.fence is None and policy.fence is not None and limit.losses is not None:
                attempt.fence = partial(policy.fence, limit.losses)
            held.append(limit)
            if is_late:
                since = attempt.note_wait(limit.cause, since)
        note_starts(held)
        attempt.waited_s += anyio.current_time() - asked_at
        attempt.end_by = None
        output = await learning(call, attempt, call_next, policy.slots)
        if attempt.lane is not None:
            held.remove(attempt.lane.pool)
            attempt.lane.holds = True
        return output
    except AbandonedError:
        attempt.check_cancelled(call)
        raise
    finally:
        attempt.end_by = None
        for limit in held:
            limit.release()


async def learning(call: Call, attempt: Attempt, call_next: Caller, slots: Slots | None) -> Any:
    """Make a call that adaptive slots learn from."""
    if not isinstance(slots, AdaptiveSlots):
        return await call_next(call, attempt)
    timed = slots.begin(call.tool)
    try:
        output = await call_next(call, attempt)
    except BaseException as failure:
        overloaded = isinstance(failure, CallError) and _is_overload(failure.error)
        slots.fail(timed, overloaded=overloaded)
        raise
    slots.succeed(timed)
    return output


def _is_overload(error: TaskError) -> bool:
    """Whether an error says that the server is overloaded: a timeout, or HTTP 429 or 503."""
    details = error.details
    return (
        error.kind == "timeout"
        or details.get("http_status") in (429, 503)
        or "retry_after_s" in details
    )


def no_jitter() -> float:
    """A source of randomness that leaves each backoff as long as it is."""
    return 0.0


def with_retry(
    call_next: Caller,
    on_failure: OnFailure | None = None,
    random: Random = no_jitter,
    before: Before | None = None,
) -> Caller:
    """Make a call that failed again, as `orchestrator.calls.retry` decides."""

    async def call_again(call: Call, attempt: Attempt) -> Any:
        attempts = 0
        if before is not None:
            attempts, wait_s = before(call, attempt)
            attempt.number += attempts
            if wait_s > 0:
                await _back_off(call, attempt, wait_s)
        while True:
            attempts += 1
            try:
                return await call_next(call, attempt)
            except CallError as failure:
                error = failure.error
                decision = decide_retry(error, attempts, call.retry, call.safe, random())
                has_policy = call.retry is not None and not attempt.is_cancelled
                if on_failure is not None and (has_policy or is_lost(error)):
                    on_failure(call, attempt, error, decision)
                if decision.wait_s is None:
                    raise
                attempt.failed_before = error
            await _back_off(call, attempt, decision.wait_s)

    def call_once_or_again(call: Call, attempt: Attempt) -> Awaitable[Any]:
        # A coroutine less for the common call, which costs a microsecond in every one.
        make = call_next if is_never_retried(call) else call_again
        return make(call, attempt)

    return call_once_or_again


async def _back_off(call: Call, attempt: Attempt, wait_s: float) -> None:
    attempt.note, since = NEXT_ATTEMPT, anyio.current_time()
    with anyio.CancelScope() as attempt.end_by:
        await anyio.sleep(wait_s)
    if wait_s:
        attempt.note_wait(NEXT_ATTEMPT, since)
    attempt.note = None
    attempt.check_cancelled(call)


def is_never_retried(call: Call) -> bool:
    """Whether no failure of a call leads to another attempt."""
    return call.retry is None and not call.safe


def with_locks(call_next: Caller, locks: Locks, on_wait: OnWait | None = None) -> Caller:
    """Hold the locks of a call over all its attempts, acquired in the order of `Call.locks`."""

    async def call_holding(call: Call, attempt: Attempt) -> Any:
        asked_at = since = anyio.current_time()
        held: list[str] = []
        lost: list[str] = []
        run = call.run.partition("\n")[0]
        acquire = partial(locks.acquire, who=attempt, task=call.where, run=run)
        waits = None if on_wait is None else partial(on_wait, call, attempt)

        def lose(name: str, why: str) -> None:
            lost.append(f"lock {quoted(name)} is lost, and others may hold it: {why}")
            holding.cancel()

        try:
            with anyio.CancelScope() as holding:
                for hold in call.locks:
                    attempt.note = lock = Cause("lock", hold.name)
                    with anyio.CancelScope() as attempt.end_by:
                        on_lost = partial(lose, hold.name)
                        await acquire(hold, on_wait=waits, on_lost=on_lost)
                        held.append(hold.name)
                    attempt.check_cancelled(call)
                    since = attempt.note_wait(lock, since)
                attempt.waited_s += anyio.current_time() - asked_at
                attempt.note = None
                return await call_next(call, attempt)
            raise CallError("server_unavailable", lost[0], retryable=False)
        finally:
            attempt.note = None
            for name in held:
                locks.release(name, who=attempt)

    def call_locked(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return call_holding(call, attempt) if call.locks else call_next(call, attempt)

    return call_locked


def with_intent(call_next: Caller, note_intent: Callable[[Call, int], Awaitable[None]]) -> Caller:
    """Note that a call is about to leave, unless its tool declares that repeating it is safe."""

    async def call_noted(call: Call, attempt: Attempt) -> Any:
        await note_intent(call, attempt.number + 1)
        return await call_next(call, attempt)

    def call_safe_or_noted(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return call_next(call, attempt) if call.safe else call_noted(call, attempt)

    return call_safe_or_noted


def with_server_ready(
    call_next: Caller,
    fit: Fit,
    readiness: Readiness | None = None,
    on_wait: OnWait | None = None,
    on_count: Callable[[str, int], None] | None = None,
) -> Caller:
    """Wait until a call can be made, and then fit it to its tool, whose definition is now known.

    `fit` returns the call that its tool accepts, or raises `CallError`; if the tool is not known
    yet, it sets `Attempt.fit`. Without `readiness` all servers are ready. `on_count` is called with
    "waiting" or "working" and how many more calls do that now.
    """
    if readiness is None:
        return lambda call, attempt: call_next(fit(call, attempt), attempt)

    @contextmanager
    def counted(state: str) -> Iterator[None]:
        if on_count is None:
            yield
            return
        on_count(state, 1)
        try:
            yield
        finally:
            on_count(state, -1)

    async def call_when_ready(call: Call, attempt: Attempt) -> Any:
        if readiness.waiting_for(call.server, call.tool):
            with counted("waiting"):
                await _wait_until_ready(call, attempt, readiness, on_wait)
        with counted("working"):
            return await call_next(fit(call, attempt), attempt)

    return call_when_ready


async def _wait_until_ready(
    call: Call, attempt: Attempt, readiness: Readiness, on_wait: OnWait | None
) -> None:
    asked_at, waited_for = anyio.current_time(), Cause("server_start", call.server)
    try:
        with anyio.CancelScope() as attempt.end_by:
            while what := readiness.waiting_for(call.server, call.tool):
                if what != attempt.note:
                    attempt.note = waited_for = what
                    if on_wait is not None:
                        on_wait(call, attempt)
                await readiness.changed()
    finally:
        attempt.note = None
    attempt.waited_s += attempt.note_wait(waited_for, asked_at) - asked_at
    attempt.check_cancelled(call)
