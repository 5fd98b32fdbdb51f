"""One session with one server, owned by one task from its first byte to its last.

The rule of this file: with pool.py it is the only client of `mcp`. The SDK's exceptions end here; what
comes out is a `CallError` that says which server, what it was started with, and its last words.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self, TextIO

import anyio
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult, Implementation
from mcp.types import Tool as McpTool
from pydantic import ValidationError

from orchestrator.calls import Tool
from orchestrator.config import Server
from orchestrator.contents import output_of
from orchestrator.errors import CallError, ErrorKind, TaskError

STDERR_TAIL_BYTES = 8192
STDERR_TAIL_LINES = 10
LAST_WORDS_S = 0.25
MAX_TOOL_PAGES = 1000
CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
INVALID_PARAMS = -32602


class Connection:
    """A session with a server.

    `own` opens and closes it, in a task of its own; meanwhile any task may `call`.

    Attributes:
        server: Its server.
        tools: The tools it listed.
        protocol: The revision of the protocol that was agreed on.
        in_flight: How many calls it has under way.
        failure: Why it is not, or no longer, usable; None while it is.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tools: list[Tool] = []
        self.protocol = ""
        self.in_flight = 0
        self.failure: TaskError | None = None
        self.started = anyio.Event()
        self.closed = anyio.Event()
        self._closing = anyio.Event()
        self._ended = anyio.Event()
        self._stderr = _StderrTail()
        self._client: Client | None = None
        self._opening: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        state = "usable" if self.usable else "not usable"
        return f"Connection({self.server.name!r}, {state}, {self.in_flight} in flight)"

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return self._client is not None and self.failure is None

    async def own(self) -> None:
        """Open the session, keep it until `close`, and close it. Raises nothing but cancellation.

        A program that fails at its first contact under `protocol = "auto"` is started afresh and
        spoken to in legacy mode: servers of the Python SDK before 1.9 need that.
        """
        modes = [self.server.protocol]
        if modes == ["auto"] and self.server.command is not None:
            modes.append("legacy")
        try:
            for mode in modes:
                if self._closing.is_set():
                    break
                self.failure = None
                self._ended = anyio.Event()
                await self._hold(mode)
                if self._client is not None:
                    break
        finally:
            if self.failure is None:
                self.failure = self._error("server_unavailable", "was closed").error
            self.started.set()
            self.closed.set()

    def close(self) -> None:
        """Have the owner close the session, or give up opening it."""
        self._closing.set()
        if self._client is None and self._opening is not None:
            self._opening.cancel()

    async def _hold(self, mode: str) -> None:
        """One attempt: open, list the tools, and wait until the session is to be closed."""
        limit = self.server.start_timeout_s
        with anyio.CancelScope() as scope:
            self._opening = scope
            scope.deadline = anyio.current_time() + limit
            try:
                async with AsyncExitStack() as stack:
                    target = await self._target(stack)
                    client = Client(target, mode=mode, client_info=_client_info())
                    await stack.enter_async_context(client)
                    self.tools = [tool async for tool in self._list_tools(client)]
                    self.protocol = client.protocol_version
                    scope.deadline = float("inf")
                    self._client = client
                    self.started.set()
                    await _first(self._closing, self._ended)
                    if self._ended.is_set() and not self._closing.is_set():
                        await self._lose("the connection ended")
            except Exception as error:
                await self._lose(_leaf(error))
        if scope.cancelled_caught and not self._closing.is_set():
            await self._lose(f"did not answer within {limit:g} s")

    async def _lose(self, reason: str | Exception) -> None:
        """Note why the session is of no use any more; the first reason stands."""
        if self.failure is None:
            await self._stderr.finish()
            what = "failed" if self._client is not None else "did not start"
            said = reason if isinstance(reason, str) else _describe(reason)
            self.failure = self._error("server_unavailable", f"{what}: {said}").error

    async def _target(self, stack: AsyncExitStack) -> Any:
        server = self.server
        if server.command is not None:
            parameters = StdioServerParameters(
                command=server.command,
                args=server.args,
                env=server.env,
                cwd=server.cwd,
                encoding_error_handler="replace",
            )
            errlog = await stack.enter_async_context(self._stderr.pipe())
            return _Watched(stdio_client(parameters, errlog), self._ended, self._stderr.release)
        if server.url is not None:
            from orchestrator.http import http_client

            client = await stack.enter_async_context(http_client(server))
            transport = streamable_http_client(
                server.url, http_client=client, max_sse_event_size=None
            )
            return _Watched(transport, self._ended)
        return server.target

    async def _list_tools(self, client: Client) -> AsyncIterator[Tool]:
        cursor: str | None = None
        for _ in range(MAX_TOOL_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                yield _tool(self.server.name, tool)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool and give its output.

        Raises:
            CallError: Of whatever kind fits; never an exception of the SDK.
        """
        client = self._client
        if client is None or self.failure is not None:
            raise self.unavailable()
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        self.in_flight += 1
        try:
            # Not client.call_tool: it would check the output schema by itself, and lose the result
            # if it does not fit.
            result = await client.session.send_request(request, CallToolResult)
        except MCPError as error:
            raise await self._translate(error, tool) from None
        except ValidationError as error:
            raise self._malformed(tool, error) from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError) as error:
            await self._lose(error)
            raise self.unavailable() from None
        except (ValueError, TypeError) as error:  # arguments that cannot be written as JSON
            message = f"the arguments cannot be sent: {error}"
            raise CallError("invalid_arguments", message) from None
        finally:
            self.in_flight -= 1
        return output_of(result, f"{self.server.name}:{tool}")

    def unavailable(self) -> CallError:
        """The error of a call that cannot be made."""
        failure = self.failure or self._error("server_unavailable", "is not open").error
        return CallError(failure.kind, failure.message, **failure.details)

    async def _translate(self, error: MCPError, tool: str) -> CallError:
        data = error.data if isinstance(error.data, dict) else {}
        said = self.server.redact(error.message)
        if error.code == CONNECTION_CLOSED and not data and await self._is_over(said):
            await self._lose(said)
            return self.unavailable()
        if "unreachable" in data:
            return self._error("server_unavailable", f"cannot be reached: {said}")
        if "http_status" in data:
            return self._http_error(data, said)
        if error.code == INVALID_PARAMS:
            return CallError("invalid_arguments", said, tool=tool, code=error.code)
        kind: ErrorKind = "timeout" if error.code == REQUEST_TIMEOUT else "protocol_error"
        details = {"data": error.data} if error.data is not None else {}
        return self._error(
            kind, f"answered with error {error.code}: {said}", code=error.code, **details
        )

    async def _is_over(self, said: str) -> bool:
        """Whether an error -32000 is the end of the connection and not the server's own error."""
        if said == "Connection closed" or self._ended.is_set():
            return True
        return said.startswith("SSE stream ended")

    def _http_error(self, data: dict[str, Any], said: str) -> CallError:
        status = data["http_status"]
        kind: ErrorKind = "protocol_error" if status in (400, 422) else "server_unavailable"
        may_retry = status in (408, 425, 429) or status >= 500
        return self._error(kind, f"answered {said}", retryable=may_retry, **data)

    def _malformed(self, tool: str, error: ValidationError) -> CallError:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return self._error(
            "protocol_error", f"gave no valid result of {tool!r}: {place}: {first['msg']}"
        )

    def _error(
        self, kind: ErrorKind, what: str, *, retryable: bool | None = None, **details: Any
    ) -> CallError:
        """An error that says which server, what it was started with, and its last words."""
        server = self.server
        message = f"server {server.name!r} {server.redact(what)}"
        facts: dict[str, Any] = {"server": server.name, **details}
        if server.shown:
            facts["started_with"] = server.shown
            message += f" ({server.shown})"
        lines = [server.redact(line) for line in self._stderr.lines()]
        if lines and kind == "server_unavailable":
            facts["stderr"] = lines
            message += f"; its last words: {lines[-1]}"
        return CallError(kind, message, retryable=retryable, **facts)


def _tool(server: str, tool: McpTool) -> Tool:
    notes = tool.annotations
    return Tool(
        server=server,
        name=tool.name,
        input_schema=tool.input_schema,
        title=tool.title or "",
        description=tool.description or "",
        output_schema=tool.output_schema,
        read_only=notes.read_only_hint if notes else None,
        idempotent=notes.idempotent_hint if notes else None,
        destructive=notes.destructive_hint if notes else None,
        open_world=notes.open_world_hint if notes else None,
    )


def _client_info() -> Implementation:
    try:
        return Implementation(name="orchestrator", version=version("mcp-orchestrator"))
    except PackageNotFoundError:
        return Implementation(name="orchestrator", version="0")


async def _first(*events: anyio.Event) -> None:
    """Wait for the first of some events."""
    async with anyio.create_task_group() as group:

        async def wait_for(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        for event in events:
            group.start_soon(wait_for, event)


def _leaf(error: BaseException) -> Exception:
    """The first exception in a group of groups that says something of its own."""
    leaves = list(_leaves(error))
    telling = [leaf for leaf in leaves if not isinstance(leaf, MCPError)]
    return (telling or leaves)[0]


def _leaves(error: BaseException) -> Iterator[Exception]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif isinstance(error, Exception):
        yield error


def _describe(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return f"there is no program or directory {error.filename!r}"
        case PermissionError():
            return f"{error.filename!r} may not be executed"
        case MCPError():
            return error.message
        case ValidationError():
            return f"what it said is not valid: {error.errors(include_url=False)[0]['msg']}"
    return f"{type(error).__name__}: {error}".rstrip(": ")


class _StderrTail:
    """Drains a program's stderr, so that it never blocks, and keeps its last lines."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._write_end: TextIO | None = None
        self._drained = anyio.Event()
        self._drained.set()

    def lines(self) -> list[str]:
        """The last lines, oldest first."""
        text = b"".join(self._chunks)[-STDERR_TAIL_BYTES:].decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-STDERR_TAIL_LINES:]

    async def finish(self) -> None:
        """Wait a moment for what a program that has just ended still had to say."""
        with anyio.move_on_after(LAST_WORDS_S):
            await self._drained.wait()

    @asynccontextmanager
    async def pipe(self) -> AsyncIterator[Any]:
        """A file for a program's stderr; it is drained until the block ends."""
        self._chunks.clear()
        self._size = 0
        self._drained = anyio.Event()
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        self._write_end = os.fdopen(write_end, "w")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._drain, read_end)
                try:
                    yield self._write_end
                finally:
                    self.release()
                    await self.finish()
                    group.cancel_scope.cancel()
        finally:
            os.close(read_end)

    def release(self) -> None:
        """Close our copy of the writing end: from now on its end is the end of the program."""
        if self._write_end is not None:
            self._write_end.close()

    async def _drain(self, read_end: int) -> None:
        try:
            while True:
                await anyio.wait_readable(read_end)
                with suppress(BlockingIOError):
                    chunk = os.read(read_end, 65536)
                    if not chunk:
                        return
                    self._keep(chunk)
        finally:
            self._drained.set()

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= STDERR_TAIL_BYTES:
            self._size -= len(self._chunks.popleft())


class _Watched:
    """A transport that notes when the server's side of it has ended."""

    def __init__(
        self, transport: Any, ended: anyio.Event, on_open: Callable[[], None] = lambda: None
    ) -> None:
        self._transport = transport
        self._ended = ended
        self._on_open = on_open

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        self._on_open()
        return _WatchedStream(read, self._ended), write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        suppressed: bool | None = await self._transport.__aexit__(kind, error, trace)
        return suppressed


class _WatchedStream:
    def __init__(self, stream: Any, ended: anyio.Event) -> None:
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended.set()
            raise

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except anyio.EndOfStream:
            self._ended.set()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        suppressed: bool | None = await self._stream.__aexit__(kind, error, trace)
        return suppressed
