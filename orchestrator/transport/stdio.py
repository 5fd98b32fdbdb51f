"""A transport over the stdin and stdout of a program.

The SDK's own has no limit for a message, and takes quadratic time for a long one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, Process
from mcp.shared.message import SessionMessage
from mcp.types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from orchestrator.documents.text import quoted
from orchestrator.transport.framing import Lines, TooLong, too_large
from orchestrator.transport.parameters import StdioParameters
from orchestrator.transport.process import GONE, Started, drain, end
from orchestrator.transport.signals import Notify
from orchestrator.transport.stdin_writer import Id, StdinWriter

logger = logging.getLogger("orchestrator.stdio")

# Messages that are read ahead: a chunk that holds many is read in one go.
READ_AHEAD = 16
# For messages that were accepted to be written, before stdin is closed.
FLUSH_S = 0.5


class Program:
    """A program that was started, as a transport for `mcp.Client`.

    Args:
        parameters: Its label, and how long its messages may be.
        started: The program. Once its streams are open, they end it.
        heard: Called whenever it writes anything at all.
    """

    def __init__(self, parameters: StdioParameters, started: Started, heard: Notify) -> None:
        self._limit = parameters.max_message_bytes
        self._label = quoted(parameters.label)
        self._started = started
        self._heard = heard
        self._asked: set[Id] = set()

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """Speak with it; it is given time to end, and ends with the block."""
        process, stdin = self._started.process, self._started.stdin
        # No await until the group is entered: a cancellation would leave the process behind.
        self._started.is_taken = True
        writing = anyio.CancelScope()
        say, said = anyio.create_memory_object_stream[SessionMessage | Exception](READ_AHEAD)
        writer = StdinWriter(stdin, self._asked)
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, process, say)
            group.start_soon(self._write, writer, say, writing)
            try:
                yield said, writer
            finally:
                with anyio.CancelScope(shield=True):  # every wait in it is bounded
                    said.close()
                    await writer.aclose()
                    with anyio.move_on_after(FLUSH_S):
                        await writer.ended.wait()
                    writing.cancel()  # which closes its stdin, in any case
                    await writer.ended.wait()
                    await end(process)
                group.cancel_scope.cancel()

    async def _read(
        self, process: Process, say: ObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None
        lines = Lines(self._limit)
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
        """The message in a line, if there is one; for a line that is too long, errors."""
        if isinstance(line, TooLong):
            yield from self._errors(line)
        elif line.strip():
            message = _parsed(line)
            if message is None:
                logger.debug(
                    "server %s: ignored %d bytes that are no message", self._label, len(line)
                )
                return
            if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
                self._asked.discard(message.id)
            yield message

    def _errors(self, line: TooLong) -> Iterator[JSONRPCError]:
        """An error for the request that it answers; if that cannot be found, for all of them."""
        logger.warning(
            "server %s: skipped a message of %d bytes; the limit is %d",
            self._label,
            line.size,
            self._limit,
        )
        if line.asks:
            return
        answers = line.answers
        error = ErrorData(**too_large(line.size, self._limit))
        for request in tuple(self._asked) if answers is None else (answers,):
            self._asked.discard(request)
            yield JSONRPCError(jsonrpc="2.0", id=request, error=error)

    async def _write(
        self,
        writer: StdinWriter,
        say: ObjectSendStream[SessionMessage | Exception],
        writing: anyio.CancelScope,
    ) -> None:
        try:
            with writing:
                await writer.write()
        except OSError:  # it may live on, but takes no messages: the session has ended
            await say.aclose()


Streams = tuple[ObjectReceiveStream[SessionMessage | Exception], StdinWriter]


def _parsed(line: bytes) -> JSONRPCMessage | None:
    """The message, with bytes that are not UTF-8 replaced; None if it is no message."""
    for text in (line, line.decode(errors="replace")):
        with suppress(ValueError):
            message: JSONRPCMessage = jsonrpc_message_adapter.validate_json(text, by_name=False)
            return message
    return None
