"""HTTP: failures that stay with the request they belong to.

The rule of this file: whatever goes wrong on the wire becomes a JSON-RPC error that answers one
request. The SDK would let it cancel the whole session.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import anyio
import httpx2

from orchestrator.transport.framing import HTTP_ERROR, HTTP_FACTS, too_large

logger = logging.getLogger("orchestrator.http")

# What came before the request was written: nothing was executed.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
MAX_ERROR_BODY = 2000
MAX_ERROR_BYTES = 1_000_000
LONGEST_RETRY_AFTER_S = 86_400.0
_CODED = (b"content-encoding", b"content-length", b"transfer-encoding")
# How long a notification may wait for a connection, and for its answer; the SDK writes nothing else
# meanwhile.
NOTIFICATION_TIMEOUT_S = 2.0
# How long what follows an answer may take; it is the end of the body as a rule.
DRAIN_S = 0.1
# The extension of a request that says for which session it is.
SESSION = "orchestrator.session"

Notify = Callable[[], None]


def _nothing() -> None:
    """What is told where nobody listens."""


@dataclass(frozen=True, slots=True)
class HttpSession:
    """What belongs to one session of a client that several share.

    Attributes:
        heard: Is told whenever anything comes for it.
        cookies: What the server has given it; they may say which of many machines knows it.
    """

    heard: Notify = _nothing
    cookies: httpx2.Cookies = field(default_factory=httpx2.Cookies)


class ContainedTransport(httpx2.AsyncBaseTransport):
    """Answers a failed request with a JSON-RPC error instead of an exception.

    The error's `data` says under `HTTP_FACTS` what happened: `http_status`, `retry_after_s`,
    `body`, `had_session`; or `unreachable`, if nothing was sent; or `lost`, if nobody knows what
    became of it.

    Args:
        inner: Sends the requests.
        limit: How long a JSON answer may be, bytes.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; bounded for notifications and for the end of a session."""
        asks = _is_request(request)
        if not asks and request.method != "GET":
            limit_s = NOTIFICATION_TIMEOUT_S
            bounds = {**request.extensions.get("timeout", {}), "read": limit_s, "pool": limit_s}
            request.extensions["timeout"] = bounds
        session: HttpSession = request.extensions.get(SESSION) or HttpSession()
        try:
            response = await self._sent(request, session)
            if asks and response.status_code >= 400:
                return await _explained(request, response)
            if _is_json(response):  # here: where the SDK reads it, a failure ends the session
                return await self._whole(response, session.heard)
        except httpx2.RequestError as failure:
            message = f"{type(failure).__name__}: {failure}".rstrip(": ")
            if request.method == "DELETE":  # with its server, the session is over too
                return httpx2.Response(204)
            facts = {"unreachable" if isinstance(failure, _NOT_SENT) else "lost": True}
            return _error_response(503, HTTP_ERROR, message, facts)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _ContainedStream(response.stream, session.heard)
        return response

    async def _sent(self, request: httpx2.Request, session: HttpSession) -> httpx2.Response:
        """The response to a request, which takes and brings the cookies of its session."""
        session.cookies.set_cookie_header(request)
        response = await self._inner.handle_async_request(request)
        session.heard()
        response.request = request
        session.cookies.extract_cookies(response)
        return response

    async def _whole(self, response: httpx2.Response, heard: Notify) -> httpx2.Response:
        """The response with its body, or an error in the place of one that is too large."""
        body, size = await _read(response, self._limit, heard)
        if size > self._limit:
            error = too_large(size, self._limit)
            return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})
        headers = [
            (name, value) for name, value in response.headers.raw if name.lower() not in _CODED
        ]
        return httpx2.Response(response.status_code, headers=headers, content=body)

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


async def _read(
    response: httpx2.Response, limit: int, heard: Notify = _nothing
) -> tuple[bytes, int]:
    """The body, decoded; and its size, or of one that is larger than the limit what it is at least.

    Of one that is larger, no more is kept than the limit.
    """
    announced = response.headers.get("content-length", "")
    size = (
        int(announced)
        if announced.isdecimal() and "content-encoding" not in response.headers
        else 0
    )
    parts: list[bytes] = []
    try:
        if size <= limit:
            size = 0
            async with aclosing(response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    heard()
                    parts.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        break
    finally:
        await response.aclose()
    return b"".join(parts), size


async def _explained(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """The JSON-RPC error in the body, or else one of our own, with the status."""
    body = b""
    with suppress(httpx2.RequestError):  # the status says enough
        body, _ = await _read(response, MAX_ERROR_BYTES)
    facts: dict[str, Any] = {"http_status": response.status_code}
    wait_s = retry_after_s(response.headers.get("retry-after", ""), datetime.now(UTC))
    if wait_s is not None:
        facts["retry_after_s"] = wait_s
    if "mcp-session-id" in request.headers:
        facts["had_session"] = True
    if (said := _json_rpc_error(body)) is not None:
        code, message, data = said
        return _error_response(response.status_code, code, message, facts, data)
    text = body.decode(errors="replace").strip()[:MAX_ERROR_BODY]
    if text and "<html" not in text[:200].lower():
        facts["body"] = text
    message = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    return _error_response(response.status_code, HTTP_ERROR, message, facts)


def retry_after_s(value: str, now: datetime) -> float | None:
    """`Retry-After` (RFC 9110, section 10.2.3) as seconds from now; None if it is none."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER_S)
    with suppress(ValueError, OverflowError):
        at = parsedate_to_datetime(value)
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
        return min(max(0.0, wait_s.total_seconds()), LONGEST_RETRY_AFTER_S)
    return None


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

    def __init__(self, inner: httpx2.AsyncByteStream, heard: Notify) -> None:
        self._inner = inner
        self._heard = heard
        self._chunks = aiter(inner)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
            self._heard()
            return chunk
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
