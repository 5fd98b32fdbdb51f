"""A program that is spoken to over its stdin and stdout: what it says and is told, in messages.

The rule of this file: a message costs time in proportion to its length, whoever sends it may be
cancelled without cutting it short.

The SDK's transport has no limit for a message, and takes quadratic time for a long one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, Process
from mcp.shared.message import SessionMessage
from mcp.types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from orchestrator.config import Server
from orchestrator.framing import Lines, TooLong, too_large
from orchestrator.processes import GONE, Started, drain, end, kill

logger = logging.getLogger("orchestrator.stdio")

Id = int | str
Notify = Callable[[], None]

# For messages that were accepted to be written, before stdin is closed.
FLUSH_S = 0.5


class Program:
    """A transport for `mcp.Client`.

    Args:
        server: Whose program it is, and how long its messages may be.
        started: The program, which is taken when the transport is entered.
        heard: Is told whenever it says anything at all.
    """

    def __init__(self, server: Server, started: Started, heard: Notify) -> None:
        self._server = server
        self._started = started
        self._heard = heard
        self._running: AbstractAsyncContextManager[Streams] | None = None
        self._asked: set[Id] = set()

    async def __aenter__(self) -> Streams:
        self._running = self._run()
        return await self._running.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._running is not None
        return await self._running.__aexit__(kind, error, trace)

    def kill(self) -> None:
        """End it and its children at once."""
        kill(self._started.process)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Streams]:
        process, stdin = self._started.process, self._started.stdin
        # No await until the group is entered: a cancellation would leave the process behind.
        self._started.is_taken = True
        writing = anyio.CancelScope()
        say, said = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        out, outbox = anyio.create_memory_object_stream[_Outgoing](0)
        flushed = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, process, say)
            group.start_soon(self._write, stdin, outbox, say, writing, flushed)
            try:
                yield said, _Outbox(out, self._asked)
            finally:
                with anyio.CancelScope(shield=True):  # every wait in it is bounded
                    said.close()
                    out.close()
                    with anyio.move_on_after(FLUSH_S):
                        await flushed.wait()
                    writing.cancel()  # which closes its stdin, in any case
                    await flushed.wait()
                    await end(process)
                group.cancel_scope.cancel()

    async def _read(
        self, process: Process, say: ObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None
        lines = Lines(self._server.max_result_bytes)
        try:
            with suppress(*GONE):
                async with say:
                    while True:
                        chunk = await process.stdout.receive()
                        self._heard()
                        for line in lines.feed(chunk):
                            for message in self._messages(line):
                                await say.send(SessionMessage(message))
        finally:
            await drain(process)

    def _messages(self, line: bytes | TooLong) -> Iterator[JSONRPCMessage]:
        """What a line says: a message, or nothing; one that is too long, errors in its place."""
        if isinstance(line, TooLong):
            yield from self._errors(line)
        elif line.strip():
            message = _parsed(line)
            if message is None:
                logger.debug("server %r: %d bytes are no message", self._server.name, len(line))
                return
            if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
                self._asked.discard(message.id)
            yield message

    def _errors(self, line: TooLong) -> Iterator[JSONRPCError]:
        """An error for the request that it answers; if that cannot be seen, for all of them."""
        limit = self._server.max_result_bytes
        logger.warning(
            "server %r: skipped a message of %d bytes; the limit is %d",
            self._server.name,
            line.size,
            limit,
        )
        if line.asks:
            return
        answers = line.answers
        error = ErrorData(**too_large(line.size, limit))
        for request in tuple(self._asked) if answers is None else (answers,):
            self._asked.discard(request)
            yield JSONRPCError(jsonrpc="2.0", id=request, error=error)

    async def _write(
        self,
        stdin: int,
        outbox: ObjectReceiveStream[_Outgoing],
        say: ObjectSendStream[SessionMessage | Exception],
        writing: anyio.CancelScope,
        flushed: anyio.Event,
    ) -> None:
        """Write whole messages, whoever sends one may be cancelled meanwhile; then close stdin."""
        try:
            with writing:
                async with outbox:
                    async for message in outbox:
                        try:
                            await _send(stdin, message.data)
                            message.written = True
                        finally:
                            message.done.set()
        except OSError:  # it may live on, but nobody can speak to it: the session has ended
            await say.aclose()
        finally:
            os.close(stdin)
            flushed.set()


@dataclass(slots=True, eq=False)
class _Outgoing:
    data: bytes
    written: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)


class _Outbox:
    """The stream of what the program is told; a message that was sent has been written."""

    def __init__(self, out: ObjectSendStream[_Outgoing], asked: set[Id]) -> None:
        self._out = out
        self._asked = asked

    async def send(self, item: SessionMessage) -> None:
        """Have a message written.

        Raises:
            BrokenResourceError: The program does not take it.
        """
        message = item.message
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        outgoing = _Outgoing(text.encode() + b"\n")
        self._note(message)
        await self._out.send(outgoing)
        await outgoing.done.wait()
        if not outgoing.written:
            raise anyio.BrokenResourceError

    def _note(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            self._asked.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method.endswith("/cancelled"):
            self._asked.discard((message.params or {}).get("requestId", ""))

    async def aclose(self) -> None:
        """Send no more."""
        await self._out.aclose()

    async def __aenter__(self) -> _Outbox:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


Streams = tuple[ObjectReceiveStream[SessionMessage | Exception], _Outbox]


def _parsed(line: bytes) -> JSONRPCMessage | None:
    """The message; bytes that are no UTF-8 are replaced. None if it is no message."""
    for text in (line, line.decode(errors="replace")):
        with suppress(ValueError):
            message: JSONRPCMessage = jsonrpc_message_adapter.validate_json(text, by_name=False)
            return message
    return None


async def _send(pipe: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(pipe, rest) :]
        except BlockingIOError:
            await anyio.wait_writable(pipe)
