"""A call, who makes it, and the policies around it.

The rule of this file: a *caller* takes a `Call` and gives an output or raises `CallError`; a policy
is a function from caller to caller. From the outside in: slots, then the timeout of the attempt, so
that waiting for a slot never eats the timeout.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from orchestrator.conversion import Conversion
from orchestrator.errors import CallError

DEFAULT_TIMEOUT_S = 60.0

Priority = tuple[float, int]
OnProgress = Callable[[float, float | None, str], None]


@dataclass(slots=True)
class Call:
    """One call of a tool, and what is measured on the way.

    Attributes:
        task: The id of the task it is for.
        server: The server, and `tool` the tool there.
        arguments: The arguments, a JSON object.
        timeout_s: The limit of one attempt, seconds.
        priority: The smaller goes first where calls wait for a slot.
        writes: Whether the tool declares that it changes something.
        conversions: The arguments that were converted for the tool.
        attempts: How often it was tried so far.
        waited_s: How long it waited for slots so far, seconds.
        started_at: When its first attempt began, on anyio's clock.
        item: The position of its item under `for_each`, or None.
        on_progress: Is told of the tool's progress: how much, of how much, and a message.
    """

    task: str
    server: str
    tool: str
    arguments: dict[str, Any]
    timeout_s: float = DEFAULT_TIMEOUT_S
    priority: Priority = (0.0, 0)
    writes: bool = False
    conversions: tuple[Conversion, ...] = ()
    attempts: int = 0
    waited_s: float = 0.0
    started_at: float | None = None
    item: int | None = None
    on_progress: OnProgress | None = None


Caller = Callable[[Call], Awaitable[Any]]


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


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """What a server's configuration says about calls to it.

    Attributes:
        timeout_s: The limit of one attempt for tasks that name none, seconds.
        slots: The calls in flight on the server, over all its sessions and runs; None = no limit.
        writers: The same for tools that declare that they write; None = no limit of their own.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    slots: Slots | None = None
    writers: Slots | None = None


class Slots:
    """So many calls at a time; who waits is served by priority, then in the order of asking.

    A slot is given away a moment after it is free: what could start at the same moment, such as the
    followers of the task that held it, has asked by then. So the order does not depend on the event
    loop's.

    Args:
        limit: How many hold a slot at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._waiting: list[tuple[Priority, int, _Waiter]] = []
        self._asked = 0
        self._giver: _Waiter | None = None

    def __repr__(self) -> str:
        return f"Slots({self._free} of {self.limit} free, {len(self._waiting)} waiting)"

    @asynccontextmanager
    async def slot(self, priority: Priority = (0.0, 0)) -> AsyncIterator[None]:
        """Hold a slot; wait for one if none is free."""
        await self.acquire(priority)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give a slot back."""
        self._free += 1
        self._appoint_giver()

    async def acquire(self, priority: Priority = (0.0, 0)) -> None:
        """Take a slot, which has to be released; wait for one if none is free."""
        self._asked += 1
        waiter = _Waiter()
        heapq.heappush(self._waiting, (priority, self._asked, waiter))
        self._appoint_giver()
        try:
            while not waiter.has_slot:
                await waiter.woken.wait()
                if waiter is self._giver:
                    await anyio.lowlevel.checkpoint()
                    waiter.woken = anyio.Event()
                    self._give()
        except BaseException:
            waiter.is_gone = True
            self._free += waiter.has_slot
            if waiter is self._giver:
                self._giver = None
            self._appoint_giver()
            raise

    def _appoint_giver(self) -> None:
        """Wake the first in the queue, if there is a slot and nobody is about to give it away."""
        while self._waiting and self._waiting[0][-1].is_gone:
            heapq.heappop(self._waiting)
        if self._free and self._waiting and self._giver is None:
            self._giver = self._waiting[0][-1]
            self._giver.woken.set()

    def _give(self) -> None:
        self._giver = None
        while self._free and self._waiting:
            waiter = heapq.heappop(self._waiting)[-1]
            if not waiter.is_gone:
                self._free -= 1
                waiter.has_slot = True
                waiter.woken.set()


@dataclass(slots=True, eq=False)
class _Waiter:
    woken: anyio.Event = field(default_factory=anyio.Event)
    has_slot: bool = False
    is_gone: bool = False


def with_timeout(call_next: Caller) -> Caller:
    """Each attempt ends after the call's `timeout_s`, with a `timeout` error."""

    async def call_within(call: Call) -> Any:
        with anyio.move_on_after(call.timeout_s):
            return await call_next(call)
        raise CallError(
            "timeout",
            f"{call.server}:{call.tool} did not answer within {call.timeout_s:g} s",
            timeout_s=call.timeout_s,
        )

    return call_within


def with_slots(
    call_next: Caller, servers: Mapping[str, ServerPolicy], run_slots: Slots | None
) -> Caller:
    """Each attempt waits for its turn among writers, a slot of its server, and one of the run.

    In this order, a call that waits for a busy server holds no slot that others could use.
    """

    async def call_in_slots(call: Call) -> Any:
        policy = servers.get(call.server, _FREE)
        writers = policy.writers if call.writes else None
        wanted = [slots for slots in (writers, policy.slots, run_slots) if slots is not None]
        if not wanted:
            return await call_next(call)
        asked_at = anyio.current_time()
        held: list[Slots] = []
        try:
            for slots in wanted:
                await slots.acquire(call.priority)
                held.append(slots)
            call.waited_s += anyio.current_time() - asked_at
            return await call_next(call)
        finally:
            for slots in held:
                slots.release()

    return call_in_slots


_FREE = ServerPolicy()
