"""What a run, its tasks and its calls are traced as, if somebody wants that."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from orchestrator.calls.call import Attempt, Call, Caller


class Trace(Protocol):
    """Something that is traced while it is under way. None of this raises.

    What begins inside of it names it, and no context variable: the event loop's task that makes a
    call may have made others before, and those must not become its parents.
    """

    @property
    def identity(self) -> str:
        """What names it in a journal, as a `traceparent` of W3C; "" if nobody keeps it."""

    @property
    def carrier(self) -> Mapping[str, str]:
        """What another process needs to go on inside of it; empty for nothing."""

    def task(self, path: str, task: str) -> Trace:
        """A task begins inside of it; `path` has those that it is inside of."""

    def item(self, index: int) -> Trace:
        """An item of a `for_each` begins."""

    def attempt(self, call: Call, number: int) -> AbstractContextManager[Trace]:
        """An attempt of a call, or a workflow in place of one, while the block runs."""

    def end(self, result: Any, now_ms: float) -> None:
        """It has ended with this result, or is given up with None, by the clock of the run."""


def with_trace(call_next: Caller) -> Caller:
    """Trace each attempt of a call: inside of `Attempt.trace`, which it is itself meanwhile."""

    async def call_inside(call: Call, attempt: Attempt, trace: Trace) -> Any:
        with trace.attempt(call, attempt.number + 1) as attempt.trace:
            try:
                return await call_next(call, attempt)
            finally:
                attempt.trace = trace

    def call_traced(call: Call, attempt: Attempt) -> Awaitable[Any]:
        trace = attempt.trace
        if trace is None or attempt.is_cancelled:  # one that is cancelled is not begun
            return call_next(call, attempt)
        return call_inside(call, attempt, trace)

    return call_traced
