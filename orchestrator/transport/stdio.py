"""A transport over the stdin and stdout of a program.

The SDK's own has no limit for a message, and takes quadratic time for a long one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ObjectReceiveStream, Process
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

from orchestrator.documents.text import quoted
from orchestrator.transport.delivery import Sized, not_readable, too_large
from orchestrator.transport.framing import KEPT_BYTES, Block, Id, Lines, TooLong
from orchestrator.transport.messages import Unreadable, crowded, memory_of, read
from orchestrator.transport.parameters import Notify, StdioParameters
from orchestrator.transport.process import GONE, Started, end
from orchestrator.transport.stderr import StderrTail
from orchestrator.transport.stdin_writer import StdinWriter

logger = logging.getLogger("orchestrator.stdio")

# Messages that are read ahead: a chunk that holds many is read in one go.
READ_AHEAD = 16

Streams = tuple[ObjectReceiveStream[SessionMessage | Exception], StdinWriter]


@asynccontextmanager
async def program_streams(
    parameters: StdioParameters, started: Started, heard: Notify, tail: StderrTail
) -> AsyncIterator[Streams]:
    """Speak with a program that was started; it is given time to end, and ends with the block."""
    # No await until the group is entered: a cancellation would leave the process behind.
    started.is_taken = True
    say, said = anyio.create_memory_object_stream[SessionMessage | Exception](READ_AHEAD)
    reader = _StdoutReader(parameters, heard, tail)
    # Without its stdin the program may live on, but takes no messages: the session has ended.
    writer = StdinWriter(started.stdin, reader.asked, on_broken=say.close)
    async with anyio.create_task_group() as group:
        group.start_soon(reader.read, started.process, say)
        group.start_soon(writer.write)
        try:
            yield said, writer
        finally:
            with anyio.CancelScope(shield=True):  # every wait in it is bounded
                said.close()
                await writer.finish()
                await end(started.process)
            group.cancel_scope.cancel()


class _StdoutReader:
    """Makes messages of what a program writes, and errors of answers that cannot be used."""

    def __init__(self, parameters: StdioParameters, heard: Notify, tail: StderrTail) -> None:
        self.asked: set[Id] = set()  # requests that were sent and not answered
        self._limit = parameters.max_message_bytes
        self._label = quoted(parameters.label)
        self._heard = heard
        self._tail = tail
        self._block: Block | None = None  # the lines of a message that has begun
        self._has_warned = False

    async def read(
        self, process: Process, say: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        """Read until the program closes its stdout, or until all ends."""
        assert process.stdout is not None
        lines = Lines(self._limit)
        try:
            with suppress(*GONE):
                async with say:
                    while True:
                        chunk = await process.stdout.receive()
                        self._heard()
                        for line in lines.feed(chunk):
                            for message, size in self._messages(line):
                                await say.send(Sized(message, size=size))
        finally:
            # What comes from now on is dropped: blocked in writing, the program could not end.
            with anyio.CancelScope(shield=True), suppress(*GONE):
                while True:
                    await process.stdout.receive()

    def _messages(self, line: bytes | TooLong) -> Iterator[tuple[JSONRPCMessage, int]]:
        """The messages in a line and their size; for an answer that cannot be used, an error."""
        if self._block is not None:
            if self._block.may_go_on(line) and not _is_message(line):
                yield from self._longer(self._block, line)
                return
            yield from self._answers(self._block)  # it breaks off
        if isinstance(line, TooLong):
            yield from ((error, 0) for error in self._errors(line))
        elif line.strip():
            for message in read(line):
                if isinstance(message, Unreadable):
                    if message.breaks_off and message.id is None and line.startswith(b"{"):
                        self._block = Block(line)
                    yield from ((error, 0) for error in self._unreadable(message, len(line)))
                    continue
                self._is_awaited(message)
                yield message, memory_of(line)

    def _longer(self, block: Block, line: bytes) -> Iterator[tuple[JSONRPCMessage, int]]:
        """The answers in a message over several lines, if this line is the last."""
        block.add(line)
        if block.is_whole:
            yield from self._answers(block)
        elif block.size > self._limit:
            self._block, text = None, block.text
            long = TooLong(block.size, text[:KEPT_BYTES], text[-KEPT_BYTES:])
            if long.answers is not None:
                yield from ((error, 0) for error in self._errors(long))

    def _answers(self, block: Block) -> Iterator[tuple[JSONRPCMessage, int]]:
        """The answers in a message over several lines; whatever else it is, may be a log."""
        self._block, text = None, block.text
        for found in read(text):
            if isinstance(found, Unreadable):
                yield from ((error, 0) for error in self._unreadable(found, block.size))
            elif self._is_awaited(found):
                self._warn()
                yield found, memory_of(text)

    def _is_awaited(self, message: JSONRPCMessage) -> bool:
        """Whether it answers a request; from then on that one is answered."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            return False
        request = coerce_request_id(message.id)
        is_awaited = request in self.asked
        self.asked.discard(request)
        return is_awaited

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            what = "server %s: writes a message over several lines; MCP wants each on one line"
            logger.warning(what, self._label)

    def _unreadable(self, found: Unreadable, size: int) -> Iterator[JSONRPCError]:
        """An error for the request that it answers; none for a line that is no answer."""
        if found.id is not None and (request := coerce_request_id(found.id)) in self.asked:
            self.asked.discard(request)
            yield JSONRPCError(jsonrpc="2.0", id=request, error=not_readable(found))
            return
        self._tail.stray = found.start
        what = "server %s: ignored %d bytes that are no message: %s"
        logger.debug(what, self._label, size, found.why)

    def _errors(self, line: TooLong) -> Iterator[JSONRPCError]:
        """An error for the request that it answers; if that cannot be found, for all of them."""
        error = too_large(line.size, self._limit)
        if line.is_crowded:
            error = not_readable(found := crowded(line))
            logger.warning("server %s: skipped a message: %s", self._label, found.why)
        else:
            what = "server %s: skipped a message of %d bytes; the limit is %d"
            logger.warning(what, self._label, line.size, self._limit)
        if line.asks:
            return
        answers = line.answers
        for request in tuple(self.asked) if answers is None else (answers,):
            self.asked.discard(request)
            yield JSONRPCError(jsonrpc="2.0", id=request, error=error)


def _is_message(line: bytes) -> bool:
    """Whether a line is a message of its own, or an answer that cannot be read."""
    found = read(line) if line.startswith(b"{") else ()
    return any(not isinstance(each, Unreadable) or each.id is not None for each in found)
