"""How to reach a server: what `mcp.Client` is given for a program, a URL or an object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from orchestrator.transport.delivery import Deliveries
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import Started, kept, kill, start
from orchestrator.transport.signals import Notify, Signals, nothing
from orchestrator.transport.stderr import StderrTail
from orchestrator.transport.stdio import Program

if TYPE_CHECKING:
    from orchestrator.transport.http_client import HttpConnections

# For telling a server that a call was cancelled.
COURTESY_S = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a server.

    Attributes:
        target: What `mcp.Client` takes.
        deliveries: Which requests were written to it.
        kill: Ends the program behind it at once, if there is one.
    """

    target: Any
    deliveries: Deliveries
    kill: Notify = nothing


def endpoint_of(
    target: StdioParameters | HttpParameters | Any,
    signals: Signals,
    tail: StderrTail,
    started: Started | None = None,
    http: HttpConnections | None = None,
) -> AbstractAsyncContextManager[Endpoint]:
    """Reach a server while the block lasts; a program is started, and ends with it.

    Args:
        target: The parameters of a transport, or a server object, or a transport of the user's own.
        signals: Who receives its reports.
        tail: Takes what a program writes to its stderr.
        started: The program, if it was started already.
        http: The connections to a URL, which several sessions share.

    Raises:
        OSError: The program cannot be started.
    """
    if isinstance(target, StdioParameters):
        return _stdio_endpoint(target, signals, tail, started)
    if isinstance(target, HttpParameters):
        assert http is not None
        return _http_endpoint(http, signals)
    if hasattr(target, "__aenter__"):
        return nullcontext(_endpoint(target, signals.ended, heard=signals.heard))
    return nullcontext(Endpoint(target, Deliveries(observed=False)))


@asynccontextmanager
async def _stdio_endpoint(
    parameters: StdioParameters, signals: Signals, tail: StderrTail, started: Started | None
) -> AsyncIterator[Endpoint]:
    async with (
        kept(started or await start(parameters)) as program,
        tail.reading(program.stderr),
    ):
        streams = Program(parameters, program, signals.heard).streams()
        yield _endpoint(streams, signals.ended, kill=partial(kill, program.process))


@asynccontextmanager
async def _http_endpoint(connections: HttpConnections, signals: Signals) -> AsyncIterator[Endpoint]:
    from mcp.client.streamable_http import streamable_http_client

    async with connections.client(signals.heard) as client:
        parameters = connections.parameters
        streams = streamable_http_client(
            parameters.url, http_client=client, max_sse_event_size=parameters.max_message_bytes
        )
        yield _endpoint(streams, signals.ended)


def _endpoint(
    streams: AbstractAsyncContextManager[Any],
    ended: Notify,
    *,
    heard: Notify = nothing,
    kill: Notify = nothing,
) -> Endpoint:
    deliveries = Deliveries()

    @asynccontextmanager
    async def observed() -> AsyncIterator[tuple[_Incoming, _Outgoing]]:
        async with streams as (read, write):
            yield _Incoming(read, heard, ended), _Outgoing(write, deliveries)

    return Endpoint(observed(), deliveries, kill)


class _Incoming(ObjectReceiveStream[Any]):
    """The messages of a server; reports each and their end."""

    def __init__(self, inner: Any, heard: Notify, ended: Notify) -> None:
        self._inner = inner
        self._heard = heard
        self._ended = ended

    @property
    def last_context(self) -> Any:
        """The context in which the SDK handles the last message; None for its own."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        try:
            item = await self._inner.receive()
        except anyio.EndOfStream:
            self._ended()
            raise
        self._heard()
        message = getattr(item, "message", None)
        if isinstance(message, JSONRPCResponse):
            # Protocol 2026-07-28 tells clients to take a missing one for "complete"; the SDK
            # refuses the result. Before 2026-07-28 the field means nothing.
            message.result.setdefault("resultType", "complete")
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Outgoing(ObjectSendStream[SessionMessage]):
    """The messages to a server; notes which requests were written."""

    def __init__(self, inner: Any, deliveries: Deliveries) -> None:
        self._inner = inner
        self._deliveries = deliveries

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            delivery = self._deliveries.take(message.params)
            await self._inner.send(item)
            if delivery is not None:
                delivery.written = True
        elif getattr(message, "method", "") == "notifications/cancelled":
            # The SDK tries for 5 s, shielded from cancellation: where a server has stopped reading,
            # every timeout would take that much longer.
            with anyio.move_on_after(COURTESY_S):
                await self._inner.send(item)
        else:
            await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()
