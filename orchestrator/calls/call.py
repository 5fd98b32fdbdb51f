"""A call of a tool, how far it has come, and what its server allows.

A few lines longer than other files: what one attempt knows is described in one place.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import anyio

from orchestrator.calls.causes import RUN_SLOT, Cause
from orchestrator.calls.limits import FIRST, Priority, Slots
from orchestrator.calls.rates import Rate
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.coercion import Conversion
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.task import Retry

if TYPE_CHECKING:
    from orchestrator.calls.repeat import Turns
    from orchestrator.calls.tracing import Trace
    from orchestrator.calls.worker_pool import Lane

DEFAULT_TIMEOUT_S = 60.0
NOTABLE_S, MAX_WAITS = 0.001, 100  # shorter waits, and more of one call, are not noted

OnProgress = Callable[[float, float | None, str], None]


class Call(NamedTuple):
    """One call of a tool: all that is needed to make it, and nothing of how far it has come.

    A tuple: a frozen dataclass of as many fields takes five times as long to construct.

    Attributes:
        task: The id of the task that it belongs to.
        server: The server, and `tool` the tool there.
        arguments: The arguments, a JSON object.
        timeout_s: The limit of one attempt, seconds.
        priority: Where calls wait for a slot, the smaller goes first.
        writes: Whether the tool declares that it changes something.
        conversions: The arguments that were converted for the tool.
        item: The position of its item under `for_each`, or None.
        locks: The locks to hold, in the order of their names.
        retry: How it is retried; None if only a lost call of a safe tool is made again.
        safe: Whether the tool declares that repeating it does no harm; None if it does not say.
        timeout_resets_on_progress: Whether progress restarts the timeout.
        is_fallback: Whether it is the fallback of its task.
        run: The id of its run, with the turns of `repeat` that it is inside of; empty without one.
        deadline_s: The limit of all that is done for it, seconds; None without one.
        kind: What it asks of the server: `tool`, `read` of a resource, `prompt`. The `tool` is then
            the URI, or the name of the prompt.
        turn: The number of the call among those that `repeat` makes, from 0.
    """

    task: str
    server: str
    tool: str
    arguments: dict[str, Any]
    timeout_s: float = DEFAULT_TIMEOUT_S
    priority: Priority = FIRST
    writes: bool = False
    conversions: tuple[Conversion, ...] = ()
    item: int | None = None
    locks: tuple[Hold, ...] = ()
    retry: Retry | None = None
    safe: bool | None = None
    timeout_resets_on_progress: bool = False
    is_fallback: bool = False
    run: str = ""
    deadline_s: float | None = None
    kind: str = "tool"
    turn: int = 0

    @property
    def target(self) -> str:
        """`server:tool`."""
        return f"{self.server}:{self.tool}"

    @property
    def where(self) -> str:
        """The task, with its item."""
        return self.task if self.item is None else f"{self.task}[{self.item}]"

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this call, and another one for every other call.

        It has the form of a UUID, for tools that want one, and says nothing about the run.
        """
        about = f"{self.run}\n{self.task}\n{self.item}\n{self.turn}\n{self.is_fallback}"
        x = hashlib.sha256(about.encode()).hexdigest()
        return f"{x[:8]}-{x[8:12]}-5{x[12:15]}-a{x[15:18]}-{x[18:30]}"

    def to_dict(self) -> dict[str, Any]:
        """The call as a JSON object."""
        return self._asdict() | {
            "priority": list(self.priority),
            "conversions": [asdict(conversion) for conversion in self.conversions],
            "locks": [list(lock) for lock in self.locks],
            "retry": None if self.retry is None else self.retry.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The call that `to_dict` wrote."""
        retry = document["retry"]
        parsed = {
            "priority": tuple(document["priority"]),
            "conversions": tuple(Conversion(**each) for each in document["conversions"]),
            "locks": tuple(Hold(*lock) for lock in document["locks"]),
            "retry": None if retry is None else Retry.model_validate(retry),
        }
        return cls(**{**document, **parsed})


class Attempt:
    """The run state of one call over all its attempts.

    Setting an attribute costs every call, so those that few calls change are defaults of the class.

    Attributes:
        on_progress: Receives the tool's progress: how much, of how much, and a message.
        number: The number of the attempt, from 1; 0 before the first.
        own: How many attempts were its own, once those of a fallback follow.
        delayed_s: How long its task had waited before it, seconds; its deadline counts that.
        waited_s: How long it has waited for its server, locks, slots and rates, seconds.
        waits: The waits of notable length, those between its attempts too: each with what it was
            for, when it began on anyio's clock, and how long it was, seconds.
        started_at: When the first attempt began, on anyio's clock.
        queued_at: Since when it is in the queue of the run's slots, on anyio's clock; None if it is
            not.
        has_slot: Whether a slot of the run is held for it, and its server limits nothing.
        note: What it waits for, unless that is a slot or a rate; None if nothing.
        is_cancelled: Whether `cancel` was called.
        fit: What fits the call to its tool, as soon as its server lists it; None if it fits.
        turns: How often the call is made, under `repeat`.
        wrapped: Whether the server had wrapped the last answer to it.
        cached: Whether the answer is that of an earlier call, and none was made.
        answered_ago_s: How long ago its last turn ended, if an earlier process made it, seconds.
        answer_bytes: About what the last answer to it takes in memory, bytes.
        inside: What runs in place of a call, if its task runs a workflow.
        end_by: What `cancel` has to end: the scope that it runs in, or the limit that it waits for.
        asks: Whether it waits for the answer to a question.
        elicit: Asks a person what its server wants to know; None if nobody may be asked.
        approval: The message of the question whether it may be made; None: the default.
        lane: What keeps its slot of the run for the call that follows; None if it is released.
        remote: The task in which its server carries it out, as long as that may go on.
        trace: What its attempts are traced inside of, and the attempt itself while it is made.
        fence: Raises a CallError if the slots that it was given are lost; None: that cannot be.
        failed_before: The error of the last attempt after which another was to follow; None: none.
    """

    __slots__ = (
        "__dict__",
        "answer_bytes",
        "end_by",
        "has_slot",
        "number",
        "on_progress",
        "queued_at",
        "started_at",
        "waited_s",
    )
    own: int | None = None
    delayed_s: float = 0.0
    note: Cause | None = None
    is_cancelled: bool = False
    fit: Callable[[Call], Call] | None = None
    turns: Turns | None = None
    wrapped: bool = False
    cached: bool = False
    answered_ago_s: float = 0.0
    inside: Inside | None = None
    lane: Lane | None = None
    asks: bool = False
    approval: str | None = None
    elicit: Elicit | None = None
    remote: object = None
    trace: Trace | None = None
    fence: Callable[[], None] | None = None
    waits: tuple[tuple[Cause, float, float], ...] = ()
    failed_before: TaskError | None = None

    def __init__(
        self, on_progress: OnProgress | None = None, *, fit: Callable[[Call], Call] | None = None
    ) -> None:
        self.on_progress = on_progress
        self.number = self.answer_bytes = 0
        self.waited_s = 0.0
        self.started_at: float | None = None
        self.queued_at: float | None = None
        self.has_slot = False
        self.end_by: anyio.CancelScope | Slots | Rate | None = None
        if fit is not None:
            self.fit = fit

    @property
    def waiting_for(self) -> Cause | None:
        """What it waits for; None if nothing."""
        return self.end_by.cause if isinstance(self.end_by, Slots | Rate) else self.note

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Stop the clock of its timeout in the block, in which a person is waited for."""
        scope = self.end_by
        assert isinstance(scope, anyio.CancelScope)
        left_s, scope.deadline = scope.deadline - anyio.current_time(), math.inf
        self.asks = True
        try:
            yield
        finally:
            scope.deadline = anyio.current_time() + left_s
            self.end_by, self.asks = scope, False

    def note_wait(self, what: Cause, since: float) -> float:
        """Note what it has waited for until now; returns the time on anyio's clock."""
        now = anyio.current_time()
        if now - since >= NOTABLE_S and len(self.waits) < MAX_WAITS:
            self.waits = (*self.waits, (what, since, now - since))
        return now

    def note_answer(self, size: int) -> None:
        """Note about what the answer that just came takes in memory, bytes."""
        self.answer_bytes = size

    def cancel(self) -> None:
        """End the call, whatever it does or waits for, with an error of kind `cancelled`."""
        self.is_cancelled = True
        # A scope for each waiter would cost more than the wait: limits can abandon one by key.
        match self.end_by:
            case anyio.CancelScope() as scope:
                scope.cancel()
            case Slots() | Rate() as limit:
                limit.abandon(self)

    def check_cancelled(self, call: Call) -> None:
        """Raise the error of kind `cancelled` if `cancel` was called."""
        if self.is_cancelled:
            raise CallError("cancelled", f"the call of {call.target} was cancelled")

    def begin(self) -> float:
        """Count an attempt that begins; returns the time on anyio's clock."""
        now = anyio.current_time()
        self.number += 1
        # The pool held the slot for it, so only the attempt knows when the wait ended.
        if self.queued_at is not None:
            waited_s = now - self.queued_at
            self.waited_s += waited_s
            if waited_s >= NOTABLE_S:
                self.waits = ((RUN_SLOT, self.queued_at, waited_s),)
            self.queued_at = None
        if self.started_at is None:
            self.started_at = now
        return now


class Elicit(Protocol):
    """Asks a person for a call that is under way."""

    def __call__(
        self, message: str, schema: Mapping[str, Any] | None
    ) -> Awaitable[tuple[Any, bool]]:
        """What the person replies, and whether that is a refusal; a schema of None: a link.

        Raises:
            CallError: The call was cancelled, or what follows cannot be kept.
        """


class Inside(Protocol):
    """A workflow that runs in place of a call."""

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of its tasks, by id."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing but questions is left of it."""

    def activities(self) -> Iterator[Any]:
        """What it does now."""

    def items_under_way(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Of each `for_each` in it, by its path, how many items have settled, of how many."""

    def note_stop(self, stop: Any) -> None:
        """Make no further call, apart from those of `finally`."""

    def pause(self, stop: Any) -> None:
        """End the tasks, those of `finally` too, until another process goes on with them."""

    def end_all(self, stop: Any) -> None:
        """End the tasks of `finally`, too."""


Caller = Callable[[Call, Attempt], Awaitable[Any]]
"""Makes a call: returns its output or raises `CallError`."""


class Readiness(Protocol):
    """Which calls can be made while servers start. A call that can be made once, always can."""

    def waiting_for(self, server: str, tool: str) -> Cause | None:
        """What a call of a tool has to wait for; None if nothing."""

    async def changed(self) -> None:
        """Wait until `waiting_for` may have changed."""

    async def checked(self) -> None:
        """Wait until the plan is checked against all its servers."""
