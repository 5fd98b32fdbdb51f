"""The connections to a URL, shared by all sessions with its server.

No time limit applies to waiting for a connection: the deadlines of calls are the engine's.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import anyio
import httpx2

from orchestrator.transport.authorization import Authorization, AuthorizedTransport
from orchestrator.transport.delivery import Parked
from orchestrator.transport.http import ContainedTransport
from orchestrator.transport.http_wire import WireTransport, proxy_for
from orchestrator.transport.parameters import HttpParameters, Notify
from orchestrator.transport.sse import SseTransport

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
# Connections that stay open while nothing is in flight.
KEPT_CONNECTIONS = 100


@cache
def tls() -> ssl.SSLContext:
    """One TLS context for all: making one takes 28 ms, using one 0.6 ms."""
    return httpx2.create_ssl_context()


def most_connections() -> int | None:
    """How many connections a server may have; None if the system sets no limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    # Half of the files that this process may open: with more, each further call would fail for want
    # of a file; now it waits for a connection.
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if files == resource.RLIM_INFINITY else max(files // 2, 1)


def _transport(limits: httpx2.Limits, proxy: httpx2.Proxy | None) -> httpx2.AsyncHTTPTransport:
    try:
        return httpx2.AsyncHTTPTransport(verify=tls(), limits=limits, proxy=proxy)
    except ImportError:
        what = 'a SOCKS proxy needs a library: run pip install "httpx2[socks]"'
        raise httpx2.ProxyError(what) from None


class HttpConnections:
    """The connections to a URL: opened for its first session, closed after its last.

    Args:
        parameters: The URL, and what is sent with each request.
        authorization: Has the tokens; None: no request gets one, and none is asked for.
    """

    def __init__(
        self, parameters: HttpParameters, authorization: Authorization | None = None
    ) -> None:
        self._parameters, self._authorization = parameters, authorization
        self._hide = None if authorization is None else authorization.hide
        self._connections: httpx2.AsyncHTTPTransport | None = None
        self._proxy = ""  # for messages: without its user and password
        self._sessions = 0

    @asynccontextmanager
    async def client(self, heard: Notify, parked: Parked) -> AsyncIterator[httpx2.AsyncClient]:
        """A client for one session, with cookies of its own; reports and keeps what comes."""
        async with self._wire() as wire:
            limit = self._parameters.max_message_bytes
            transport = ContainedTransport(wire, limit, parked, heard, self._hide)
            async with self._client(transport) as client:
                yield client

    @asynccontextmanager
    async def streams(
        self, heard: Notify, parked: Parked
    ) -> AsyncIterator[AbstractAsyncContextManager[Any]]:
        """What opens the streams of one session over HTTP+SSE."""
        from mcp.client.sse import sse_client

        async with self._wire() as wire, anyio.create_task_group() as group:
            limit = self._parameters.max_message_bytes
            transport = SseTransport(wire, limit, parked, group, heard, self._hide)

            def client(*_: Any, **__: Any) -> httpx2.AsyncClient:
                return self._client(transport)

            yield sse_client(self._parameters.url, httpx_client_factory=client)
            group.cancel_scope.cancel()

    def _client(self, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=dict(self._parameters.headers),
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S),
            transport=transport,
        )

    @asynccontextmanager
    async def _wire(self) -> AsyncIterator[httpx2.AsyncBaseTransport]:
        if self._connections is None:
            limits = httpx2.Limits(
                max_connections=most_connections(), max_keepalive_connections=KEPT_CONNECTIONS
            )
            proxy = proxy_for(self._parameters.url)
            self._proxy = "" if proxy is None else str(proxy.url)
            self._connections = _transport(limits, proxy)
        self._sessions += 1
        try:
            wire = WireTransport(self._connections, self._proxy)
            if self._authorization is None:
                yield wire
            else:
                yield AuthorizedTransport(wire, self._parameters.url, self._authorization)
        finally:
            self._sessions -= 1
            if not self._sessions:
                connections, self._connections = self._connections, None
                await connections.aclose()
