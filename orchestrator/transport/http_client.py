"""The one HTTP client of a server, which all its sessions share.

The rule of this file: one pool of connections a server, and no time limit for whoever waits for one
of them: the deadlines of calls are the engine's. What belongs to one session stays with it: its
cookies, and who is told that something has come.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import httpx2

from orchestrator.transport.http import SESSION, ContainedTransport, HttpSession, Notify
from orchestrator.transport.parameters import HttpParameters

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
KEPT_CONNECTIONS = 100
"""Connections that stay open while nothing is in flight."""


@cache
def _tls() -> ssl.SSLContext:
    """One TLS context for all clients: making one takes 28 ms, using one 0.6 ms."""
    return httpx2.create_ssl_context()


def most_connections() -> int | None:
    """How many connections a server may have: half of the files that this process may open.

    With more, each further call would fail for want of a file; so it waits until one is free. None,
    no limit, where the system does not tell.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if files == resource.RLIM_INFINITY else max(files // 2, 1)


def http_client(parameters: HttpParameters) -> httpx2.AsyncClient:
    """A client for a server, without limits of its own for what takes long, and without cookies."""
    limits = httpx2.Limits(
        max_connections=most_connections(), max_keepalive_connections=KEPT_CONNECTIONS
    )
    transport = httpx2.AsyncHTTPTransport(verify=_tls(), limits=limits)
    client = httpx2.AsyncClient(
        headers=dict(parameters.headers),
        timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S),
        transport=ContainedTransport(transport, parameters.max_message_bytes),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


class HttpClient:
    """The client of a server: opened for its first session, closed after its last.

    Args:
        parameters: How to reach it.
    """

    def __init__(self, parameters: HttpParameters) -> None:
        self._parameters = parameters
        self._client: httpx2.AsyncClient | None = None
        self._sessions = 0

    @asynccontextmanager
    async def session(self, heard: Notify) -> AsyncIterator[httpx2.AsyncClient]:
        """The client as one session uses it, while the block lasts.

        Args:
            heard: Is told whenever anything comes for this session.
        """
        if self._client is None:
            self._client = http_client(self._parameters)
        self._sessions += 1
        try:
            yield cast(httpx2.AsyncClient, _Shared(self._client, HttpSession(heard)))
        finally:
            self._sessions -= 1
            if not self._sessions:
                client, self._client = self._client, None
                await client.aclose()


class _Shared:
    """A client that notes in each request for which session it is."""

    def __init__(self, client: httpx2.AsyncClient, session: HttpSession) -> None:
        self._client = client
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def build_request(self, *args: Any, **settings: Any) -> httpx2.Request:
        request = self._client.build_request(*args, **settings)
        request.extensions = {**request.extensions, SESSION: self._session}
        return request
