"""A call, who makes it, and the policies around it.

The rule of this file: a *caller* takes a `Call` and gives an output or raises `CallError`; a policy
is a function from caller to caller. From the outside in: locks, retry, slots, the timeout of the
attempt. So waiting for a slot never eats the timeout, and backing off holds no slot.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from orchestrator.conversion import Conversion
from orchestrator.errors import CallError, TaskError
from orchestrator.limits import (
    FIRST,
    AbandonedError,
    AdaptiveSlots,
    Locks,
    Priority,
    Rate,
    Slots,
)
from orchestrator.policies import Retry
from orchestrator.retries import Decision, decide_retry, is_lost

DEFAULT_TIMEOUT_S = 60.0
# Progress of a tool extends the timeout of its attempt up to so many times its length.
PROGRESS_LIMIT = 10

OnProgress = Callable[[float, float | None, str], None]


@dataclass(slots=True, eq=False)
class Call:
    """One call of a tool, and what is measured on the way.

    Attributes:
        task: The id of the task it is for.
        server: The server, and `tool` the tool there.
        arguments: The arguments, a JSON object.
        timeout_s: The limit of one attempt, seconds.
        priority: The smaller goes first where calls wait for a slot.
        group: The run it is of; runs that wait for the same server take turns.
        writes: Whether the tool declares that it changes something.
        conversions: The arguments that were converted for the tool.
        attempts: How often it was tried so far.
        waited_s: How long it waited for locks, slots and rates so far, seconds.
        started_at: When its first attempt began, on anyio's clock.
        item: The position of its item under `for_each`, or None.
        on_progress: Is told of the tool's progress: how much, of how much, and a message.
        locks: The names to hold, in order, and whether others may share them.
        retry: How it is repeated; None = not without need.
        safe: Whether the tool declares that repeating it does no harm; None if it says nothing.
        extends: Whether progress starts the timeout anew.
        is_fallback: Whether it stands in for the task's own call.
        note: What it waits for now, where that is no slot and no rate; empty if for nothing.
        is_cancelled: Whether it is to end.
        end_by: What to end for that: the scope it runs in, or what it waits for.
    """

    task: str
    server: str
    tool: str
    arguments: dict[str, Any]
    timeout_s: float = DEFAULT_TIMEOUT_S
    priority: Priority = FIRST
    writes: bool = False
    conversions: tuple[Conversion, ...] = ()
    attempts: int = 0
    waited_s: float = 0.0
    started_at: float | None = None
    item: int | None = None
    on_progress: OnProgress | None = None
    locks: tuple[tuple[str, bool], ...] = ()
    retry: Retry | None = None
    safe: bool | None = None
    extends: bool = False
    group: object = None
    is_fallback: bool = False
    note: str = ""
    is_cancelled: bool = False
    end_by: anyio.CancelScope | Slots | Rate | None = None

    @property
    def waiting_for(self) -> str:
        """What it waits for now, for people; empty if for nothing."""
        return self.end_by.name if isinstance(self.end_by, Slots | Rate) else self.note

    def cancel(self) -> None:
        """End it, whatever it does or waits for: it fails with an error of kind `cancelled`."""
        self.is_cancelled = True
        match self.end_by:
            case anyio.CancelScope() as scope:
                scope.cancel()
            case Slots() | Rate() as limit:
                limit.abandon(self)

    def check_cancelled(self) -> None:
        """Raise the error of a call that was cancelled, if it was."""
        if self.is_cancelled:
            raise CallError("cancelled", f"the call of {self.server}:{self.tool} was cancelled")


Caller = Callable[[Call], Awaitable[Any]]
OnWait = Callable[[Call], None]
OnFailure = Callable[[Call, TaskError, Decision], None]
Random = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as its server describes it.

    Attributes:
        server: The server, and `name` the tool's name there.
        title: For people; empty if the server gives none.
        description: For people and models.
        input_schema: The JSON Schema of its arguments.
        output_schema: The JSON Schema of its structured output, or None.
        read_only: Whether it declares that it changes nothing; None if it does not say. Likewise
            `idempotent`, `destructive` and `open_world`.
    """

    server: str
    name: str
    input_schema: Mapping[str, Any]
    title: str = ""
    description: str = ""
    output_schema: Mapping[str, Any] | None = None
    read_only: bool | None = None
    idempotent: bool | None = None
    destructive: bool | None = None
    open_world: bool | None = None

    @property
    def target(self) -> str:
        """`server:tool`."""
        return f"{self.server}:{self.name}"

    @property
    def is_safe(self) -> bool | None:
        """Whether it declares that repeating a call does no harm; None if it does not say.

        By the defaults of MCP a tool is neither read-only nor idempotent; one that says so by
        itself, and one that says nothing, are told apart for the sake of messages.
        """
        if self.read_only or self.idempotent:
            return True
        return None if self.read_only is None and self.idempotent is None else False


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """What a server's configuration says about calls to it.

    Attributes:
        timeout_s: The limit of one attempt for tasks that name none, seconds.
        slots: The calls in flight on the server, over all its sessions and runs; None = no limit.
        writers: The same for tools that declare that they write; None = no limit of their own.
        rate: How many calls may start in how long; None = no limit.
        tools: The slots of single tools, by the pattern of their name; the first that fits counts.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    slots: Slots | None = None
    writers: Slots | None = None
    rate: Rate | None = None
    tools: Mapping[str, Slots] | None = None

    def limits_of(self, call: Call) -> list[Slots | Rate]:
        """What a call has to hold or pass on this server, in the order of asking."""
        limits: list[Slots | Rate] = []
        if call.writes and self.writers is not None:
            limits.append(self.writers)
        if self.tools is not None and (slots := self._of_tool(call.tool)) is not None:
            limits.append(slots)
        if self.slots is not None:
            limits.append(self.slots)
        if self.rate is not None:
            limits.append(self.rate)
        return limits

    def _of_tool(self, tool: str) -> Slots | None:
        tools = self.tools or {}
        fits = (slots for name, slots in tools.items() if fnmatch.fnmatchcase(tool, name))
        return next(fits, None)


def with_timeout(call_next: Caller) -> Caller:
    """Each attempt ends after the call's `timeout_s`, with a `timeout` error.

    Where the call says so, progress starts the time anew, up to `PROGRESS_LIMIT` times its length.
    """

    async def call_within(call: Call) -> Any:
        call.check_cancelled()
        with anyio.move_on_after(call.timeout_s) as scope:
            call.end_by = scope
            if call.extends:
                last = anyio.current_time() + PROGRESS_LIMIT * call.timeout_s
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

    async def call_in_slots(call: Call) -> Any:
        policy = servers.get(call.server, _FREE)
        limits = policy.limits_of(call)
        if run_slots is not None:
            limits.append(run_slots)
        if not limits:
            return await call_next(call)
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

    return call_in_slots


_FREE = ServerPolicy()


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
    """A call that failed is made again as its policy says; see `orchestrator.retries`."""

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
