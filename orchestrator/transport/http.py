"""HTTP whose failures stay with their request, as JSON-RPC errors that answer it.

An exception would cancel the whole session: the SDK raises it in the session's own task group.
"""

from __future__ import annotations

import json
import logging
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import anyio
import httpx2

from orchestrator.transport.framing import HTTP_ERROR, HTTP_FACTS, too_large
from orchestrator.transport.parameters import Notify, nothing

logger = logging.getLogger("orchestrator.http")

# Failures before the request was written: nothing was executed.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
MAX_ERROR_BODY = 2000
MAX_ERROR_BYTES = 1_000_000
LONGEST_RETRY_AFTER_S = 86_400.0
_CODED = (b"content-encoding", b"content-length", b"transfer-encoding")
# For a notification to get a connection and its answer; meanwhile the SDK writes nothing else.
NOTIFICATION_TIMEOUT_S = 2.0
# For what follows an answer in its body; as a rule, that is the end.
DRAIN_S = 0.1


class ContainedTransport(httpx2.AsyncBaseTransport):
    """Answers a failed request with a JSON-RPC error instead of an exception.

    The error's `data` has the facts under `HTTP_FACTS`: `http_status`, `retry_after_s`, `body`,
    `had_session`; or `unreachable` if nothing was sent; or `lost` if the outcome is unknown.

    Args:
        inner: Sends the requests. It is not closed here.
        limit: The longest JSON answer, bytes.
        heard: Called whenever anything comes.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, limit: int, heard: Notify = nothing
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._heard = heard

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; bounded for notifications and for the end of a session."""
        # `aread`, since the body of a redirected request is a stream that was not read yet.
        message = json.loads(await request.aread()) if request.method == "POST" else {}
        asks = "id" in message and "method" in message  # it is a request, not a notification
        if not asks and request.method != "GET":
            limit_s = NOTIFICATION_TIMEOUT_S
            bounds = {**request.extensions.get("timeout", {}), "read": limit_s, "pool": limit_s}
            request.extensions["timeout"] = bounds
        try:
            response = await self._inner.handle_async_request(request)
            self._heard()
            response.request = request
            if asks and response.status_code >= 400:
                return await _explained(response)
            if response.headers.get("content-type", "").lower().startswith("application/json"):
                # Read here: where the SDK reads it, a failure ends the session.
                return await self._whole(response)
        except httpx2.RequestError as failure:
            if request.method == "DELETE":  # with its server, the session is over too
                return httpx2.Response(204)
            said = f"{type(failure).__name__}: {failure}".rstrip(": ")
            facts = {"unreachable" if isinstance(failure, _NOT_SENT) else "lost": True}
            return _error_response(503, _error(HTTP_ERROR, said, facts))
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _ContainedStream(response.stream, self._heard)
        return response

    async def _whole(self, response: httpx2.Response) -> httpx2.Response:
        """The response with its body, or an error in place of one that is too large."""
        body, size = await _read(response, self._limit, self._heard)
        if size > self._limit:
            return _error_response(502, too_large(size, self._limit), response)
        headers = [
            (name, value) for name, value in response.headers.raw if name.lower() not in _CODED
        ]
        return httpx2.Response(response.status_code, headers=headers, content=body)


async def _read(
    response: httpx2.Response, limit: int, heard: Notify = nothing
) -> tuple[bytes, int]:
    """The decoded body and its size; of one over the limit, a part and the least it can be."""
    headers = response.headers
    announced = headers.get("content-length", "")
    parts: list[bytes] = []
    size = 0
    try:
        if "content-encoding" not in headers and announced.isdecimal() and int(announced) > limit:
            return b"", int(announced)
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


async def _explained(response: httpx2.Response) -> httpx2.Response:
    """The JSON-RPC error in the body, or else one of ours, with the status."""
    body, said = b"", None
    with suppress(httpx2.RequestError):  # the status says enough
        body, _ = await _read(response, MAX_ERROR_BYTES)
    with suppress(ValueError, RecursionError):
        said = json.loads(body)
    facts: dict[str, Any] = {"http_status": response.status_code}
    wait_s = retry_after_s(response.headers.get("retry-after", ""), datetime.now(UTC))
    if wait_s is not None:
        facts["retry_after_s"] = wait_s
    if "mcp-session-id" in response.request.headers:
        facts["had_session"] = True
    match said:
        case {"jsonrpc": "2.0", "error": {"code": int(code), "message": str(message), **rest}}:
            error = _error(code, message, facts, rest.get("data"))
        case _:
            text = body.decode(errors="replace").strip()[:MAX_ERROR_BODY]
            if text and "<html" not in text[:200].lower():
                facts["body"] = text
            status = f"HTTP {response.status_code} {response.reason_phrase}".strip()
            error = _error(HTTP_ERROR, status, facts)
    return _error_response(response.status_code, error, response)


def retry_after_s(value: str, now: datetime) -> float | None:
    """`Retry-After` (RFC 9110, section 10.2.3) as seconds from now; None if it is none."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER_S)
    with suppress(ValueError, OverflowError):
        at = parsedate_to_datetime(value)
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
        return min(max(0.0, wait_s.total_seconds()), LONGEST_RETRY_AFTER_S)
    return None


def _error(code: int, message: str, facts: dict[str, Any], data: Any = None) -> dict[str, Any]:
    theirs = data if isinstance(data, dict) else {} if data is None else {"data": data}
    return {"code": code, "message": message, "data": {**theirs, HTTP_FACTS: facts}}


def _error_response(
    status: int, error: dict[str, Any], original: httpx2.Response | None = None
) -> httpx2.Response:
    """A response with a JSON-RPC error, in place of another one if there is any."""
    headers = [] if original is None else original.headers.raw
    # Cookies are kept: they can select the machine of the session.
    cookies = [(name, value) for name, value in headers if name.lower() == b"set-cookie"]
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return httpx2.Response(status, headers=cookies, json=body)


class _ContainedStream(httpx2.AsyncByteStream):
    """A body that ends where the connection broke; the SDK then fails that one request."""

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
        # The SDK leaves a stream of events as soon as it has its answer. The rest is read, so that
        # the connection can be used again.
        try:
            with anyio.move_on_after(DRAIN_S):
                async for _ in self:
                    pass
        finally:
            await self._inner.aclose()
