"""What changes, as it changes: server-sent events that follow the journal of all processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from anyio import to_thread

from orchestrator.documents.encode import to_json

LOOK_S = 0.25
SILENT_S = 15.0  # after so long a comment is sent: a connection that has ended is noticed
_AGAIN = b"retry: 1000\n\n"  # milliseconds until the browser connects again

Look = Callable[[], tuple[str, dict[str, Any]] | None]
"""What has changed since the last look, with the moment of it; called in a thread."""


async def events(look: Look, closing: anyio.Event) -> AsyncIterator[bytes]:
    """The events of a stream, until the server closes."""
    yield _AGAIN
    silent_s = 0.0
    while not closing.is_set():
        found = await to_thread.run_sync(look)
        silent_s += LOOK_S
        if found is not None:
            moment, change = found
            silent_s = 0.0
            yield f"id: {moment}\ndata: {to_json(change)}\n\n".encode()
        elif silent_s >= SILENT_S:
            silent_s = 0.0
            yield b":\n\n"
        with anyio.move_on_after(LOOK_S):
            await closing.wait()
