"""HTTP for one server: its own client, whose failures stay with the request they belong to.

The rule of this file: whatever goes wrong on the wire becomes a JSON-RPC error that answers one
request. The SDK would let it cancel the whole session.
"""

from __future__ import annotations

import json
import logging
import ssl
from contextlib import suppress
from functools import cache
from typing import Any, Self

import anyio
import httpx2

from orchestrator.config import Server

logger = logging.getLogger("orchestrator.http")

HTTP_ERROR = -32000
HTTP_FACTS = "orchestrator.http"
MAX_ERROR_BODY = 2000
CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
# How long the answer to a notification may take; the SDK writes nothing else meanwhile.
NOTIFICATION_TIMEOUT_S = 2.0
# How long what follows an answer may take; it is the end of the body as a rule.
DRAIN_S = 0.1


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

    The error's `data` says under `HTTP_FACTS` what happened: `http_status`, `retry_after`, `body`,
    `session_ended`; or `unreachable`.
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
                return await _explained(request, response)
            if _is_json(response):
                await _read(response)  # here: where the SDK reads it, a failure ends the session
        except httpx2.RequestError as failure:
            message = f"{type(failure).__name__}: {failure}".rstrip(": ")
            if request.method == "DELETE":  # with its server, the session is over too
                return httpx2.Response(204)
            return _error_response(503, HTTP_ERROR, message, {"unreachable": True})
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _ContainedStream(response.stream)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


def _is_request(request: httpx2.Request) -> bool:
    """Whether it carries a JSON-RPC request, which has an answer; and not a notification."""
    if request.method != "POST":
        return False
    message = json.loads(request.content)
    return "id" in message and "method" in message


def _is_json(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith("application/json")


async def _read(response: httpx2.Response) -> bytes:
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def _explained(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """The JSON-RPC error in the body, or else one of our own, with the status."""
    body = b""
    with suppress(httpx2.RequestError):  # the status says enough
        body = await _read(response)
    facts: dict[str, Any] = {"http_status": response.status_code}
    if "retry-after" in response.headers:
        facts["retry_after"] = response.headers["retry-after"]
    if response.status_code == 404 and "mcp-session-id" in request.headers:
        facts["session_ended"] = True
    if (said := _json_rpc_error(body)) is not None:
        code, message, data = said
        return _error_response(response.status_code, code, message, facts, data)
    text = body.decode(errors="replace").strip()[:MAX_ERROR_BODY]
    if text and "<html" not in text[:200].lower():
        facts["body"] = text
    message = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    return _error_response(response.status_code, HTTP_ERROR, message, facts)


def _json_rpc_error(body: bytes) -> tuple[int, str, Any] | None:
    """Code, message and data of a JSON-RPC error; None if the body is none."""
    with suppress(ValueError, RecursionError):
        match json.loads(body):
            case {"jsonrpc": "2.0", "error": {"code": int(code), "message": str(said), **rest}}:
                return code, said, rest.get("data")
    return None


def _error_response(
    status: int, code: int, message: str, facts: dict[str, Any], data: Any = None
) -> httpx2.Response:
    theirs = data if isinstance(data, dict) else {} if data is None else {"data": data}
    error = {"code": code, "message": message, "data": {**theirs, HTTP_FACTS: facts}}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})


class _ContainedStream(httpx2.AsyncByteStream):
    """A body that simply ends where the connection broke; the SDK then fails its one request.

    The SDK leaves a stream of events as soon as it has its answer. What remains is read before it
    is closed, so that the connection can be used again.
    """

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self._chunks = aiter(inner)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except httpx2.TransportError as failure:
            logger.debug("a response broke off: %r", failure)
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        try:
            with anyio.move_on_after(DRAIN_S):
                async for _ in self:
                    pass
        finally:
            await self._inner.aclose()
