"""Makes a call again until its answer is what the task waits for: polling and pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.causes import Cause
from orchestrator.errors import CallError

NEXT_TURN = Cause("repeat")


@dataclass(slots=True, eq=False)
class Turns:
    """How often a call is made.

    Attributes:
        every_s: The wait between two calls, seconds.
        max_times: How many calls there are at most.
        next_call: The call of the next turn, whose arguments may read the answer before it.
        is_done: Whether an answer is the last one.
        about: What the arguments and ends of its turns may depend on, as JSON values.
        collect: What an answer adds to the output; None if the output is the last answer.
        collected: What the answers have added.
    """

    every_s: float
    max_times: int
    next_call: Callable[[Call, Any], Awaitable[Call]]
    is_done: Callable[[Any], Awaitable[bool]]
    about: Callable[[], Any]
    collect: Callable[[Any], Awaitable[Any]] | None = None
    collected: list[Any] = field(default_factory=list)

    async def note(self, answer: Any) -> None:
        """Collect from an answer: a list is joined, null is left out, all else is appended."""
        if self.collect is None:
            return
        found = await self.collect(answer)
        if isinstance(found, list):
            self.collected += found
        elif found is not None:
            self.collected.append(found)

    def output(self, answer: Any) -> Any:
        """The output after the last answer."""
        return answer if self.collect is None else self.collected


def with_repeat(call_next: Caller) -> Caller:
    """Make a call as often as its `Attempt.turns` say."""

    async def call_until(call: Call, attempt: Attempt, turns: Turns) -> Any:
        while True:
            answer = await call_next(call, attempt)
            await turns.note(answer)
            if await turns.is_done(answer):
                return turns.output(answer)
            if call.turn + 1 >= turns.max_times:
                message = f"{call.target} was called {call.turn + 1} times, and until is not true"
                raise CallError("not_done", message, last=answer)
            attempt.note, since = NEXT_TURN, anyio.current_time()
            with anyio.CancelScope() as attempt.end_by:
                await anyio.sleep(max(0.0, turns.every_s - attempt.answered_ago_s))
            attempt.note_wait(NEXT_TURN, since)
            attempt.note, attempt.answered_ago_s = None, 0.0
            attempt.check_cancelled(call)
            call = await turns.next_call(call._replace(turn=call.turn + 1), answer)

    def call_once_or_until(call: Call, attempt: Attempt) -> Awaitable[Any]:
        if attempt.turns is None:
            return call_next(call, attempt)
        return call_until(call, attempt, attempt.turns)

    return call_once_or_until
