"""HTTP for one server: its own client, whose failures stay with the request they belong to.

The rule of this file: whatever goes wrong on the wire becomes a JSON-RPC error that answers one
request. The SDK would let it cancel the whole session.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httpx2

from orchestrator.config import Server

logger = logging.getLogger("orchestrator.http")

UNREACHABLE = -32000
MAX_ERROR_BODY = 2000
CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
NOTIFICATION_TIMEOUT_S = 5.0


@cache
def _tls() -> ssl.SSLContext:
    """One TLS context for all clients: making one takes 28 ms, using one 0.6 ms."""
    return httpx2.create_ssl_context()


def http_client(server: Server) -> httpx2.AsyncClient:
    """A client for a server, without limits of its own: the deadlines of calls are the engine's."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    transport = httpx2.AsyncHTTPTransport(verify=_tls(), limits=limits)
    return httpx2.AsyncClient(
        headers=dict(server.headers),
        timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S),
        transport=ContainedTransport(transport),
    )


class ContainedTransport(httpx2.AsyncBaseTransport):
    """Answers a failed request with a JSON-RPC error instead of an exception.

    The error's `data` says what happened: `http_status`, `retry_after`, or `unreachable`.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; bounded for notifications and for the end of a session."""
        asks = _is_request(request)
        if not asks and request.method != "GET":
            request.extensions["timeout"] = {
                **request.extensions.get("timeout", {}),
                "read": NOTIFICATION_TIMEOUT_S,
            }
        try:
            response = await self._inner.handle_async_request(request)
            if asks and response.status_code >= 400:
                return await _explained(response)
        except httpx2.TransportError as failure:
            message = f"{type(failure).__name__}: {failure}".rstrip(": ")
            return _error_response(503, message, {"unreachable": True})
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _ContainedStream(response.stream)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


def _is_request(request: httpx2.Request) -> bool:
    """Whether it carries a JSON-RPC request, which has an answer; and not a notification."""
    if request.method != "POST":
        return False
    try:
        message = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return False
    return isinstance(message, dict) and "id" in message and "method" in message


async def _explained(response: httpx2.Response) -> httpx2.Response:
    """The response as it is if its body is a JSON-RPC error, else such an error with the status."""
    body = await response.aread()
    try:
        if "code" in json.loads(body)["error"]:
            return response
    except (ValueError, KeyError, TypeError):
        pass
    finally:
        await response.aclose()
    text = body.decode(errors="replace").strip()[:MAX_ERROR_BODY]
    data: dict[str, Any] = {"http_status": response.status_code}
    if "retry-after" in response.headers:
        data["retry_after"] = response.headers["retry-after"]
    if text and "<html" not in text[:200].lower():
        data["body"] = text
    message = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    return _error_response(response.status_code, message, data)


def _error_response(status: int, message: str, data: dict[str, Any]) -> httpx2.Response:
    error = {"code": UNREACHABLE, "message": message, "data": data}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})


class _ContainedStream(httpx2.AsyncByteStream):
    """A body that simply ends where the connection broke; the SDK then fails its one request."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except httpx2.TransportError as failure:
            logger.debug("a response broke off: %r", failure)

    async def aclose(self) -> None:
        await self._inner.aclose()
