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
from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest

Id = int | str


@dataclass(slots=True, eq=False)
class _Rest:
    """What is left of a message."""

    data: memoryview
    is_written: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)


class StdinWriter(ObjectSendStream[SessionMessage]):
    """The stream of messages to a program; once `send` returns, the message is written.

    Args:
        pipe: Our end of its stdin, which does not block. `write` closes it.
        asked: Takes the ids of the requests that are sent.

    Attributes:
        ended: Set when nothing is written any more.
    """

    def __init__(self, pipe: int, asked: set[Id]) -> None:
        self._pipe = pipe
        self._asked = asked
        self._rests: deque[_Rest] = deque()
        self._more = anyio.Event()
        self._is_open = True
        self.ended = anyio.Event()

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
        if self.ended.is_set():
            raise anyio.BrokenResourceError
        self._note(message)
        data = memoryview(text.encode() + b"\n")
        # Behind the rests of earlier messages, it has to wait in the queue.
        data = data if self._rests else self._written(data)
        if data:
            await self._write_rest(_Rest(data))

    def _note(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            self._asked.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method.endswith("/cancelled"):
            # A cancelled request is not answered any more.
            self._asked.discard((message.params or {}).get("requestId", ""))

    def _written(self, data: memoryview) -> memoryview:
        """Write as much as the pipe takes and return the rest."""
        try:
            return data[os.write(self._pipe, data) :]
        except OSError:  # it takes nothing now, or nothing any more: the writer will find out
            return data

    async def _write_rest(self, rest: _Rest) -> None:
        self._rests.append(rest)
        self._more.set()
        await rest.done.wait()
        if not rest.is_written:
            raise anyio.BrokenResourceError

    async def write(self) -> None:
        """Write the rests of messages until the stream is closed and all is written.

        Raises:
            OSError: The program no longer reads.
        """
        try:
            while self._rests or self._is_open:
                while self._rests:
                    await self._write_first()
                self._more = anyio.Event()
                if self._is_open:
                    await self._more.wait()
        finally:
            os.close(self._pipe)
            self.ended.set()
            for rest in self._rests:
                rest.done.set()

    async def _write_first(self) -> None:
        rest = self._rests[0]
        while rest.data:
            try:
                rest.data = rest.data[os.write(self._pipe, rest.data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._pipe)
        rest.is_written = True
        self._rests.popleft()
        rest.done.set()

    async def aclose(self) -> None:
        """Send no more; what was sent is still written."""
        self._is_open = False
        self._more.set()
