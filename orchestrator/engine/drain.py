"""The calls of a run that are under way, for a process that leaves the run to another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.errors import CallError

HOLD_S = 0.1  # between two questions whether a call may begin


class Drain:
    """Lets the calls of a run end that are under way, and no further one begin.

    Args:
        may_begin: Whether a call may begin now; others wait until it may.
        on_memory: Is called where the memory does not suffice for a call, which then has no outcome
            here; None: it fails.
    """

    def __init__(
        self,
        may_begin: Callable[[], bool] = lambda: True,
        on_memory: Callable[[], object] | None = None,
    ) -> None:
        self._may_begin, self._on_memory = may_begin, on_memory
        self._under_way: set[Attempt] = set()
        self._is_closed = False
        self._ended = anyio.Event()

    async def close(self) -> None:
        """Let no further call begin; returns when none is under way.

        A call whose server waits for the answer of a person is not: what it does is begun anew.
        """
        self._is_closed = True
        self.check()
        await self._ended.wait()

    def check(self) -> None:
        """Note the end if it has come: a call has ended, or waits for a person."""
        if self._is_closed and all(attempt.asks for attempt in self._under_way):
            self._ended.set()

    def around(self, call_next: Caller) -> Caller:
        """Make calls as long as it is open; later ones wait for the end of the run."""

        async def call_unless_closed(call: Call, attempt: Attempt) -> Any:
            while not self._is_closed and not self._may_begin():
                await anyio.sleep(HOLD_S)
            if self._is_closed:
                await anyio.sleep_forever()
            self._under_way.add(attempt)
            try:
                return await call_next(call, attempt)
            except (MemoryError, CallError) as error:
                if self._on_memory is None or not _lacks_memory(error):
                    raise
                self._on_memory()
                await anyio.sleep_forever()
            finally:
                self._under_way.discard(attempt)
                self.check()

        return call_unless_closed


def _lacks_memory(error: MemoryError | CallError) -> bool:
    """Whether memory did not suffice, for the call or for what its server sent."""
    is_of_session = isinstance(error, CallError) and error.error.details.get("type")
    return isinstance(error, MemoryError) or is_of_session == MemoryError.__name__
