"""A call, the tool it is of, and what its server allows.

The rule of this file: a *caller* takes a `Call` and gives an output or raises `CallError`. What
stands around a caller is in `wrappers`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from orchestrator.calls.limits import FIRST, Priority, Rate, Slots
from orchestrator.errors import CallError
from orchestrator.schema.coercion import Conversion
from orchestrator.workflow.plan import CallTemplate
from orchestrator.workflow.policies import Retry

DEFAULT_TIMEOUT_S = 60.0

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
        queued_at: Since when it waits in the queue of the run's slots, on anyio's clock; None if it
            does not.
        is_free: Whether its server does not limit it, and others see to a slot of the run.
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
    queued_at: float | None = None
    is_free: bool = False
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

    def begin_attempt(self) -> float:
        """Note that an attempt begins; gives the time on anyio's clock."""
        now = anyio.current_time()
        self.attempts += 1
        if self.queued_at is not None:
            self.waited_s += now - self.queued_at
            self.queued_at = None
        if self.started_at is None:
            self.started_at = now
        return now


Caller = Callable[[Call], Awaitable[Any]]


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

    @property
    def is_limited(self) -> bool:
        """Whether calls that do not write may have to wait for each other."""
        return self.slots is not None or self.rate is not None or bool(self.tools)

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


FREE = ServerPolicy()
"""Of a server of which the configuration says nothing."""


class Gate(Protocol):
    """Says which calls may go out already. Once one may, it always may."""

    def waiting_for(self, target: CallTemplate | None = None) -> str:
        """What a call has to wait for, for people; empty if it may go out.

        Without a target: what the run waits for before it ends.
        """

    async def changed(self) -> None:
        """Wait until `waiting_for` may say something else."""
