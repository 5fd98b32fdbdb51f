"""A program that is spoken to over its stdin and stdout: started, framed, and ended.

The rule of this file: a message costs time in proportion to its length, whoever sends it may be
cancelled without cutting it short, and a program gets so long to end and no longer.

The SDK's transport has no limit for a message, and takes quadratic time for a long one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, Process
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
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

logger = logging.getLogger("orchestrator.stdio")

Id = int | str
Notify = Callable[[], None]
GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

# For messages that were accepted to be written, before stdin is closed.
FLUSH_S = 0.5
# For a program to end by itself, then after SIGTERM, then after SIGKILL.
GRACE_S = 2.0
# An exit is looked for: to wait for it means, on asyncio, to wait for all that hold its pipes, too.
LOOK_S = 0.01


class Program:
    """A transport for `mcp.Client`.

    Args:
        server: What to start, and how long its messages may be.
        errlog: Takes its stderr; a real file.
        heard: Is told whenever it says anything at all.
    """

    def __init__(self, server: Server, errlog: TextIO, heard: Notify) -> None:
        self._server = server
        self._errlog = errlog
        self._heard = heard
        self._running: AbstractAsyncContextManager[Streams] | None = None
        self._process: Process | None = None
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
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Streams]:
        process, stdin = await self._spawn()
        # No await until the group is entered: a cancellation would leave the process behind.
        self._process = process
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
                    await _end(process)
                group.cancel_scope.cancel()

    async def _spawn(self) -> tuple[Process, int]:
        """The process, and the end of the pipe to write to.

        The pipe is ours: asyncio's would swallow what is written after the program has ended.
        """
        server = self._server
        theirs, ours = os.pipe()
        try:
            os.set_blocking(ours, False)
            process = await anyio.open_process(
                [server.command or "", *server.args],
                env=get_default_environment() | server.env,
                cwd=server.cwd,
                stdin=theirs,
                stderr=self._errlog,
                start_new_session=True,  # a group of its own, so that its children end with it
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return process, ours

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
            await _drain(process)

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


async def _drain(process: Process) -> None:
    """Read what nobody wants until the pipe is closed: blocked in writing, it could not end."""
    assert process.stdout is not None
    with anyio.CancelScope(shield=True), suppress(*GONE):
        while True:
            await process.stdout.receive()


async def _end(process: Process) -> None:
    """Its stdin is closed: wait; then SIGTERM to it and its children, and wait; then SIGKILL."""
    assert process.stdout is not None
    await _has_exited(process)
    if sys.platform == "win32":
        if process.returncode is None:
            process.kill()
    else:
        await terminate_posix_process_tree(process, GRACE_S)
    if not await _has_exited(process):
        logger.warning("process %d outlived SIGKILL and is left behind", process.pid)
    with suppress(*GONE):
        await process.stdout.aclose()
    # On asyncio, children that hold the pipes would keep this open; nothing public leads to it.
    inner = getattr(getattr(process, "_process", None), "_transport", None)
    if inner is not None:
        with suppress(PermissionError):
            inner.close()


async def _has_exited(process: Process) -> bool:
    with anyio.move_on_after(GRACE_S):
        while process.returncode is None:
            await anyio.sleep(LOOK_S)
    return process.returncode is not None
