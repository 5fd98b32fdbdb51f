"""How to reach a server: what `mcp.Client` is given for a program, a URL or an object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from orchestrator.transport.delivery import Deliveries, Parked
from orchestrator.transport.handshake import Handshake
from orchestrator.transport.parameters import HttpParameters, Notify, StdioParameters, nothing
from orchestrator.transport.process import Started, kept, kill, start
from orchestrator.transport.stderr import StderrTail
from orchestrator.transport.stdio import program_streams

if TYPE_CHECKING:
    from orchestrator.transport.http_client import HttpConnections

# For telling a server that a call was cancelled.
COURTESY_S = 1.0
# What may wait to be written in answers to a server's own requests, and what each takes besides its
# text: a server that asks and does not read would fill the memory.
MAX_ANSWERS_BYTES = 1_000_000
ANSWER_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a server."""

    target: Any  # what `mcp.Client` takes
    deliveries: Deliveries
    kill: Notify = nothing  # ends the program at once, if there is one


@asynccontextmanager
async def endpoint_of(
    target: StdioParameters | HttpParameters | Any,
    heard: Notify,
    ended: Notify,
    tail: StderrTail,
    started: Started | None = None,
    http: HttpConnections | None = None,
    overrun: Notify = nothing,
    handshake: Handshake | None = None,
) -> AsyncIterator[Endpoint]:
    """Reach a server while the block lasts; a program is started, and ends with it.

    Args:
        target: The parameters of a transport, or a server object, or a transport of the user's own.
        heard: Called whenever anything comes from the server.
        ended: Called when the server has ended the connection and all it sent was read.
        tail: Takes what a program writes to its stderr.
        started: The program, if it was started already.
        http: The connections to a URL, which several sessions share.
        overrun: Called when the server does not read the answers to its own requests.
        handshake: Watches the first requests of the session.

    Raises:
        OSError: The program cannot be started.
    """
    deliveries = Deliveries()
    observe = partial(
        _observed, ended=ended, deliveries=deliveries, overrun=overrun, handshake=handshake
    )
    if isinstance(target, StdioParameters):
        async with (
            kept(started or await start(target)) as program,
            tail.reading(program.stderr),
        ):
            streams = program_streams(target, program, heard, tail)
            yield Endpoint(observe(streams), deliveries, partial(kill, program.process))
    elif isinstance(target, HttpParameters):
        from mcp.client.streamable_http import streamable_http_client

        assert http is not None
        parked = Parked()
        if target.is_sse:
            async with http.streams(heard, parked) as events:
                yield Endpoint(observe(events, parked=parked), deliveries)
            return
        async with http.client(heard, parked) as client:
            # Events arrive here bounded already.
            web = streamable_http_client(target.url, http_client=client, max_sse_event_size=None)
            yield Endpoint(observe(web, parked=parked), deliveries)
    elif hasattr(target, "__aenter__"):
        yield Endpoint(observe(target, heard=heard), deliveries)
    else:  # a server in memory has no streams, and would see the tickets
        yield Endpoint(target, Deliveries(observed=False))


@asynccontextmanager
async def _observed(
    streams: AbstractAsyncContextManager[Any],
    ended: Notify,
    deliveries: Deliveries,
    heard: Notify = nothing,
    parked: Parked | None = None,
    overrun: Notify = nothing,
    handshake: Handshake | None = None,
) -> AsyncIterator[tuple[_Incoming, _Outgoing]]:
    async with streams as (read, write):
        yield (
            _Incoming(read, heard, ended, deliveries, parked, handshake),
            _Outgoing(write, deliveries, parked, overrun, handshake),
        )


@dataclass(eq=False)
class _Incoming(ObjectReceiveStream[Any]):
    """The messages of a server; reports each and their end, and notes what they answer."""

    inner: Any
    heard: Notify
    ended: Notify
    deliveries: Deliveries
    parked: Parked | None
    handshake: Handshake | None

    @property
    def last_context(self) -> Any:
        """The context in which the SDK handles the last message; None for its own."""
        return getattr(self.inner, "last_context", None)

    async def receive(self) -> Any:
        first = self.handshake
        try:
            if first is None:
                item = await self.inner.receive()
            else:
                item = await first.receive(self.inner)
        except anyio.EndOfStream:
            self.ended()
            raise
        self.heard()
        message = getattr(item, "message", None)
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            size = getattr(item, "size", 0)
            if self.parked is not None:
                message, size = self.parked.answer_for(message)
                item.message = message
            if first is not None:
                item.message = message = first.answered(message)
            self.deliveries.arrived(message, size)
        if first is not None and first.is_over:
            self.handshake = None
        return item

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(eq=False)
class _Outgoing(ObjectSendStream[SessionMessage]):
    """The messages to a server; notes which requests were written."""

    inner: Any
    deliveries: Deliveries
    parked: Parked | None
    overrun: Notify
    handshake: Handshake | None
    answers_bytes: int = 0  # waiting to be written

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            delivery = self.deliveries.take(message)
            if self.handshake is not None:
                self.handshake.sent(message)
                if self.handshake.is_over:
                    self.handshake = None
            await self.inner.send(item)
            if delivery is not None:
                delivery.written = True
        elif getattr(message, "method", "") == "notifications/cancelled":
            # The SDK tries for 5 s, shielded from cancellation: where a server has stopped reading,
            # every timeout would take that much longer.
            if self.parked is not None:
                self.parked.forget((getattr(message, "params", None) or {}).get("requestId"))
            with anyio.move_on_after(COURTESY_S):
                await self.inner.send(item)
        elif isinstance(message, JSONRPCResponse | JSONRPCError):
            await self._answer(item, ANSWER_BYTES + len(message.model_dump_json()))
        else:
            await self.inner.send(item)

    async def _answer(self, item: SessionMessage, size: int) -> None:
        if self.answers_bytes > MAX_ANSWERS_BYTES:
            self.overrun()
            return
        self.answers_bytes += size
        try:
            await self.inner.send(item)
        finally:
            self.answers_bytes -= size

    async def aclose(self) -> None:
        await self.inner.aclose()
