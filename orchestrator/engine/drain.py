"""The calls of a run that are under way, for a process that leaves the run to another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller

HOLD_S = 0.1  # between two questions whether a call may begin


class Drain:
    """Lets the calls of a run end that are under way, and no further one begin.

    Args:
        may_begin: Whether a call may begin now; others wait until it may.
    """

    def __init__(self, may_begin: Callable[[], bool] = lambda: True) -> None:
        self._may_begin = may_begin
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
            finally:
                self._under_way.discard(attempt)
                self.check()

        return call_unless_closed
