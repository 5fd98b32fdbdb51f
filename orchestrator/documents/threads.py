"""Work in a thread, beside an event loop that goes on.

Python runs one thread at a time. What waits for its turn gets it after 5 ms, and the event loop
waits again after each time that it reads or writes: a call of a server takes several turns.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio.to_thread

from orchestrator.documents.collector import paused

# How long a thread runs while others wait.
TURN_S = 0.0002
_lock = threading.Lock()
_before: list[float] = []  # the turn of each that shortens it, as it was


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` makes of the arguments; if that is cancelled, nobody waits for its end."""
    with paused():  # of millions of values, each collection would stop the loop
        return await anyio.to_thread.run_sync(_worked, work, arguments, abandon_on_cancel=True)


def _worked(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with short_turns():
        return work(*arguments)


@contextmanager
def short_turns() -> Iterator[None]:
    """Have threads take turns more often meanwhile; blocks in several threads need no order."""
    with _lock:
        _before.append(sys.getswitchinterval())
        sys.setswitchinterval(min(TURN_S, _before[0]))
    try:
        yield
    finally:
        with _lock:
            first = _before[0]
            _before.pop()
            if not _before:
                sys.setswitchinterval(first)
