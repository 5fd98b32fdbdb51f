"""How to reach a server: what `mcp.Client` is given for a program, a URL or a server in memory.

The rule of this file: a program is started, and nothing else is opened; a transport tells when
anything has come from the server, and when the server's side of it has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from orchestrator.transport import delivery as receipts
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import Started, kept, start
from orchestrator.transport.stderr import StderrTail
from orchestrator.transport.stdio import Program

if TYPE_CHECKING:
    from orchestrator.transport.http_client import HttpClient

COURTESY_S = 1.0

Notify = Callable[[], None]


def _nothing() -> None:
    """What a server without a process of its own is killed by."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a server.

    Attributes:
        server: What `mcp.Client` is to be given.
        kill: Ends the program behind it, if there is one, at once.
    """

    server: Any
    kill: Notify = _nothing


async def endpoint_of(
    target: StdioParameters | HttpParameters | Any,
    stack: AsyncExitStack,
    tail: StderrTail,
    http: HttpClient | None,
    heard: Notify,
    on_end: Notify,
    started: Started | None = None,
) -> Endpoint:
    """How to reach a server.

    Args:
        target: The parameters of a transport, or what else `mcp.Client` takes.
        stack: Closes what has to outlive the session.
        tail: Takes what a program says on its stderr.
        http: The client for it, if it is a URL; None makes one.
        heard: Is told whenever anything comes from the server.
        on_end: Is told when the server has ended the connection.
        started: Its program, if that was started already.

    Raises:
        OSError: Its program cannot be started.
    """
    if isinstance(target, StdioParameters):
        its = await stack.enter_async_context(kept(started or await start(target)))
        await stack.enter_async_context(tail.reading(its.stderr))
        program = Program(target, its, heard)
        return Endpoint(Watched(program, heard, on_end), program.kill)
    if isinstance(target, HttpParameters):
        from mcp.client.streamable_http import streamable_http_client

        from orchestrator.transport.http_client import HttpClient

        client = await stack.enter_async_context((http or HttpClient(target)).session(heard))
        limit = target.max_message_bytes
        transport = streamable_http_client(target.url, http_client=client, max_sse_event_size=limit)
        return Endpoint(Watched(transport, heard, on_end))
    if hasattr(target, "__aenter__"):
        return Endpoint(Watched(target, heard, on_end))
    return Endpoint(target)


class Watched:
    """A transport that tells when it hears, and when it has ended."""

    def __init__(self, transport: Any, heard: Notify, on_end: Notify) -> None:
        self._transport = transport
        self._heard = heard
        self._on_end = on_end

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        return _WatchedStream(read, self._heard, self._on_end), _PromptStream(write)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        suppressed: bool | None = await self._transport.__aexit__(kind, error, trace)
        return suppressed


class _WatchedStream:
    """The stream of what the server says."""

    def __init__(self, stream: Any, heard: Notify, on_end: Notify) -> None:
        self._stream = stream
        self._heard = heard
        self._on_end = on_end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            message = _with_result_type(await self._stream.__anext__())
        except StopAsyncIteration:
            self._on_end()
            raise
        self._heard()
        return message

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)


def _with_result_type(item: Any) -> Any:
    """What a server says, and if it is a result without a `resultType`, with the one it means.

    Protocol 2026-07-28 wants the field of servers, and of clients that they take a missing one for
    "complete"; the SDK refuses the result. Before 2026-07-28 the field means nothing.
    """
    message = getattr(item, "message", None)
    if isinstance(message, JSONRPCResponse):
        message.result.setdefault("resultType", "complete")
    return item


class _PromptStream:
    """The stream of what the server is told; to tell it that a call was cancelled is tried briefly.

    The SDK tries for 5 s, shielded from cancellation, and holds the caller up for as long: a server
    that has stopped reading would make every timeout that much longer.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, item: SessionMessage) -> None:
        if isinstance(item.message, JSONRPCRequest):
            await self._stream.send(item)
            receipts.sign()
        elif getattr(item.message, "method", "") == "notifications/cancelled":
            with anyio.move_on_after(COURTESY_S):
                await self._stream.send(item)
        else:
            await self._stream.send(item)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)
