"""Writes whole messages to the stdin of a program, in the order in which they are sent.

`send` writes as much as the pipe takes at once. Only the rest waits for the writer task, which
writes it even if the sender is cancelled: half a message would garble the next one.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

import anyio
from anyio.abc import ObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest

from orchestrator.transport.framing import Id
from orchestrator.transport.parameters import Notify

# For messages that were accepted to be written, before stdin is closed.
FLUSH_S = 0.5


@dataclass(slots=True, eq=False)
class _Rest:
    """What is left of a message; empty once it is written."""

    data: memoryview
    done: anyio.Event = field(default_factory=anyio.Event)


class StdinWriter(ObjectSendStream[SessionMessage]):
    """The stream of messages to a program; once `send` returns, the message is written.

    Args:
        pipe: Our end of its stdin, which does not block. `write` closes it.
        asked: Takes the ids of the requests that are sent.
        on_broken: Called when the program no longer reads.
    """

    def __init__(self, pipe: int, asked: set[Id], on_broken: Notify) -> None:
        self._pipe = pipe
        self._asked = asked
        self._on_broken = on_broken
        self._rests: deque[_Rest] = deque()
        self._more = anyio.Event()
        self._is_open = True
        self._ended = anyio.Event()
        self._writing = anyio.CancelScope()

    async def send(self, item: SessionMessage) -> None:
        """Write a message.

        Raises:
            ClosedResourceError: The stream was closed.
            BrokenResourceError: The program no longer reads.
        """
        message = item.message
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        if not self._is_open:
            raise anyio.ClosedResourceError
        if self._ended.is_set():
            raise anyio.BrokenResourceError
        if isinstance(message, JSONRPCRequest):
            self._asked.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method.endswith("/cancelled"):
            # A cancelled request is not answered any more.
            self._asked.discard((message.params or {}).get("requestId", ""))
        data = text.encode() + b"\n"
        try:
            # Behind the rests of earlier messages, it has to wait in the queue.
            written = 0 if self._rests else os.write(self._pipe, data)
        except OSError:  # it takes nothing now, or nothing any more: the writer will find out
            written = 0
        if written < len(data):
            rest = _Rest(memoryview(data)[written:])
            self._rests.append(rest)
            self._more.set()
            await rest.done.wait()
            if rest.data:
                raise anyio.BrokenResourceError

    async def write(self) -> None:
        """Write the rests of messages until the stream is closed and all is written."""
        try:
            with self._writing:
                while self._rests or self._is_open:
                    while self._rests:
                        await self._write_first()
                    self._more = anyio.Event()
                    if self._is_open:
                        await self._more.wait()
        except OSError:
            self._on_broken()
        finally:
            os.close(self._pipe)
            self._ended.set()
            for rest in self._rests:
                rest.done.set()

    async def _write_first(self) -> None:
        rest = self._rests[0]
        while rest.data:
            try:
                rest.data = rest.data[os.write(self._pipe, rest.data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._pipe)
        self._rests.popleft()
        rest.done.set()

    async def aclose(self) -> None:
        """Send no more; what was sent is still written."""
        self._is_open = False
        self._more.set()

    async def finish(self) -> None:
        """Close the stream, and stdin with it once all is written, or after `FLUSH_S`."""
        await self.aclose()
        with anyio.move_on_after(FLUSH_S):
            await self._ended.wait()
        self._writing.cancel()
        await self._ended.wait()
