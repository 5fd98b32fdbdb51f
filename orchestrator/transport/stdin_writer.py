"""What a program is told over its stdin: whole messages, in the order in which they were sent.

The rule of this file: a message is written at once by whoever sends it, as far as the pipe takes
it; only what is left waits for the writer, and is written whole even if its sender is cancelled.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest

Id = int | str


@dataclass(slots=True, eq=False)
class _Rest:
    """What is left of a message."""

    data: memoryview
    is_written: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)


class StdinWriter:
    """The stream of what a program is told; a message that was sent has been written.

    Args:
        pipe: The end of its stdin that is written to, which does not block. It is closed here.
        asked: Where the requests that are sent are noted.
    """

    def __init__(self, pipe: int, asked: set[Id]) -> None:
        self._pipe = pipe
        self._asked = asked
        self._rests: deque[_Rest] = deque()
        self._more = anyio.Event()
        self._is_open = True
        self._has_ended = False
        self._ended = anyio.Event()

    async def send(self, item: SessionMessage) -> None:
        """Have a message written.

        Raises:
            ClosedResourceError: It was closed.
            BrokenResourceError: The program does not take it.
        """
        message = item.message
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        if not self._is_open:
            raise anyio.ClosedResourceError
        if self._has_ended:
            raise anyio.BrokenResourceError
        self._note(message)
        data = memoryview(text.encode() + b"\n")
        data = data if self._rests else self._written(data)
        if data:
            await self._write_rest(_Rest(data))

    def _note(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            self._asked.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method.endswith("/cancelled"):
            self._asked.discard((message.params or {}).get("requestId", ""))

    def _written(self, data: memoryview) -> memoryview:
        """Write as much as the pipe takes; gives the rest."""
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
        """Write what is left of messages, until the outbox is closed or the program ends.

        Raises:
            OSError: The program does not take anything any more.
        """
        try:
            while self._rests or self._is_open:
                while self._rests:
                    await self._write_first()
                self._more = anyio.Event()
                if self._is_open:
                    await self._more.wait()
        finally:
            self._has_ended = True
            os.close(self._pipe)
            for rest in self._rests:
                rest.done.set()
            self._ended.set()

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

    async def ended(self) -> None:
        """Wait until nothing is written any more."""
        await self._ended.wait()

    def close(self) -> None:
        """Send no more; what was sent is still written."""
        self._is_open = False
        self._more.set()

    async def aclose(self) -> None:
        """The same."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
