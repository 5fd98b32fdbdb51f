"""Messages between a pool and those that use it: JSON objects, each behind its length."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from orchestrator.documents.threads import in_thread

PROTOCOL = 6
# A message of so many bytes is read and written in a thread: the event loop goes on.
LARGE = 256 * 1024
_LENGTH = struct.Struct("!Q")
_PEER = struct.Struct("3i")  # process, user, group
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)

Message = dict[str, Any]


class Channel:
    """One end of a connection: messages are queued, and written by a task of their own."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream, self._buffer = stream, BufferedByteReceiveStream(stream)
        self._send, self._queue = anyio.create_memory_object_stream[
            tuple[bytes, Callable[[], None] | None]
        ](float("inf"))

    def send(self, message: Message | bytes, on_sent: Callable[[], None] | None = None) -> None:
        """Queue a message, or what `encoded` made of one; `on_sent`: when all of it was written.

        Raises:
            ValueError: It is not JSON; likewise a RecursionError and a TypeError.
        """
        data = message if isinstance(message, bytes) else encoded(message)
        try:
            self._send.send_nowait((data, on_sent))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # nobody reads it any more

    async def write(self) -> None:
        """Write what is queued, until the connection ends."""
        try:
            async for data, on_sent in self._queue:
                await self._stream.send(data)
                if on_sent is not None:
                    on_sent()
        except GONE:
            return

    async def receive(self) -> Message:
        """The next message; raises one of `GONE` if there is none."""
        try:
            (length,) = _LENGTH.unpack(await self._buffer.receive_exactly(_LENGTH.size))
            data = await self._buffer.receive_exactly(length)
        except anyio.IncompleteRead:
            raise anyio.EndOfStream from None
        decoded = await in_thread(json.loads, data) if length > LARGE else json.loads(data)
        assert isinstance(decoded, dict)
        return decoded

    async def close(self) -> None:
        """Close the connection."""
        self._send.close()
        self._queue.close()
        await anyio.aclose_forcefully(self._stream)


def encoded(message: Message) -> bytes:
    """The bytes of a message."""
    data = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data


def is_own(stream: ByteStream) -> bool:
    """Whether the process at the other end is one of this user."""
    return is_of_user(stream.extra(SocketAttribute.raw_socket))  # noqa: S610  # no Django


def is_of_user(connected: socket.socket) -> bool:
    """The same of a plain socket."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # the directory of the socket lets nobody else in
        return True
    _, user, _ = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, option, _PEER.size))
    return bool(user == os.getuid())
