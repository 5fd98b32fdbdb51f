"""HTTP whose failures stay with their request, as JSON-RPC errors that answer it.

An exception would cancel the whole session: the SDK raises it in the session's own task group. The
answers are read here and kept beside the response: the SDK reads only what conforms to the letter,
and what it is given as JSON could be the server's own. A few lines longer than other files: a
request, its answer and their failures are one exchange.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import AnyStr, Protocol, Self, TypeGuard

import anyio
import httpx2
from mcp.types import (
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCResponse,
)

from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError
from orchestrator.transport.delivery import (
    Answer,
    Facts,
    Parked,
    not_readable,
    our_error,
    too_large,
)
from orchestrator.transport.events import EventStream
from orchestrator.transport.framing import Id
from orchestrator.transport.http_wire import read_whole, retry_after_s
from orchestrator.transport.messages import Unreadable, memory_of, read
from orchestrator.transport.parameters import Notify, nothing

logger = logging.getLogger("orchestrator.http")


class Hide(Protocol):
    """Takes out of what a server sends what it must not give back."""

    def __call__(self, said: AnyStr) -> AnyStr: ...


# Failures before the request was written: nothing was executed.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
MAX_ERROR_BODY = 2000
MAX_ERROR_BYTES = 1_000_000
_CODED = (b"content-encoding", b"content-length", b"transfer-encoding")
# For a notification to get a connection and its answer; meanwhile the SDK writes nothing else.
NOTIFICATION_TIMEOUT_S = 2.0
# For what follows an answer in its body; as a rule, that is the end.
DRAIN_S = 0.1


class ContainedTransport(httpx2.AsyncBaseTransport):
    """Answers a failed request with a JSON-RPC error, whose `data` are `Facts`.

    Args:
        inner: Sends the requests. It is not closed here.
        limit: The longest answer, bytes.
        parked: Takes the answers; the responses have stubs in their place.
        heard: Called whenever anything comes.
        hide: Takes out of what the server sends what was sent to it as a proof of who we are.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        limit: int,
        parked: Parked,
        heard: Notify = nothing,
        hide: Hide | None = None,
    ) -> None:
        self._inner = inner
        self.limit = limit
        self._parked = parked
        self.heard = heard
        self.hide = hide

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; bounded for notifications and for the end of a session."""
        # `aread`, since the body of a redirected request is a stream that was not read yet.
        message = json.loads(await request.aread()) if request.method == "POST" else {}
        # Of a request, not of a notification or of an answer.
        asked: Id | None = message.get("id") if "method" in message else None
        if asked is None and request.method != "GET":
            limit_s = NOTIFICATION_TIMEOUT_S
            bounds = {**request.extensions.get("timeout", {}), "read": limit_s, "pool": limit_s}
            request.extensions["timeout"] = bounds
        try:
            response = await self._inner.handle_async_request(request)
            self.heard()
            response.request = request
            return await self._contained(response, asked)
        except (httpx2.RequestError, NotAuthorizedError) as failure:
            if request.method == "DELETE":  # with its server, the session is over too
                return httpx2.Response(204)
            if asked is None:
                return httpx2.Response(503)
            return self._parking(asked, await self.failed(failure, asked))

    async def failed(
        self, failure: httpx2.RequestError | NotAuthorizedError, asked: Id
    ) -> JSONRPCError:
        """The error of a request that was not sent, or not authorized, or got no answer."""
        if isinstance(failure, httpx2.RequestError):
            said = f"{type(failure).__name__}: {failure}".rstrip(": ")
            unsent = isinstance(failure, _NOT_SENT)
            return _error(asked, our_error(said, Facts(unreachable=unsent, lost=not unsent)))
        if failure.refusal is None:
            error = _error(asked, our_error("", Facts()))
        else:  # with what the server said
            error = await self.refused(failure.refusal, asked)
        assert isinstance(error.error.data, Facts)
        error.error.data = replace(
            error.error.data,
            refused=str(failure),
            needs_login=failure.needs_login,
            may_retry=failure.retryable,
        )
        return error

    async def refused(
        self, response: httpx2.Response, asked: Id, *, had_session: bool = False
    ) -> JSONRPCError:
        """The JSON-RPC error in the body, or else one of ours, with the status."""
        body = b""
        with suppress(httpx2.RequestError):  # the status says enough
            body, _ = await read_whole(response, MAX_ERROR_BYTES)
        if self.hide is not None:
            body = self.hide(body)
        facts = _facts(response)
        facts = replace(facts, had_session=had_session or facts.had_session)
        for found in read(body, asked) if body else ():
            if isinstance(found, JSONRPCError):
                _with_facts(found, facts)
                return found
        text = body.decode(errors="replace").strip()[:MAX_ERROR_BODY]
        if text and "<html" not in text[:200].lower():
            facts = replace(facts, body=text)
        status = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        return _error(asked, our_error(status, facts))

    async def _contained(self, response: httpx2.Response, asked: Id | None) -> httpx2.Response:
        """The response, with a stub in place of the answer to a request."""
        kind = response.headers.get("content-type", "").lower()
        if asked is not None and response.status_code >= 400:
            return self._parking(asked, await self.refused(response, asked), response)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if kind.startswith("text/event-stream") and response.status_code == 200:
            response.stream = _ContainedStream(response.stream, self.heard)
            stream = self.events(response, asked)
            return httpx2.Response(200, headers=plain(response), stream=stream)
        if asked is not None and response.is_success and response.status_code != 202:
            # Read here: where the SDK reads it, a failure ends the session.
            answer, size = await self._whole(response, asked)
            return self._parking(asked, answer, response, size)
        response.stream = _ContainedStream(response.stream, self.heard)
        return response

    def events(self, response: httpx2.Response, asked: Id | None = None) -> EventStream:
        """The events of a response, with stubs in place of the answers."""
        facts = _facts(response)

        def receive(data: str) -> Iterator[str]:
            if self.hide is not None:
                data = self.hide(data)
            for found in read(data, asked):
                match found:
                    case JSONRPCResponse() | JSONRPCError():
                        answer = _with_facts(found, facts)
                    case Unreadable(id=None):
                        logger.debug("ignored an event that is no message: %s", found.why)
                        continue
                    case Unreadable():
                        answer = _error(found.id, not_readable(found))
                    case _:
                        yield found.model_dump_json(by_alias=True, exclude_unset=True)
                        continue
                # The answer in the stream of a request is to that request, whatever its id.
                key = answer.id if asked is None else asked
                if key is not None:
                    answer = self.answered(key, answer)
                    yield self._parked.park(key, answer, memory_of(data)).model_dump_json()

        def too_long() -> str:
            answer = _error(asked, too_large(self.limit + 1, self.limit))
            return "" if asked is None else self._parked.park(asked, answer).model_dump_json()

        return EventStream(response, self.limit, receive, too_long)

    def answered(self, asked: Id, answer: Answer) -> Answer:  # noqa: ARG002
        """What to take for an answer that has come in a stream."""
        return answer

    async def _whole(self, response: httpx2.Response, asked: Id) -> tuple[Answer, int]:
        """What a body answers to the request, and its size in memory: it can answer no other."""
        body, size = await read_whole(response, self.limit, self.heard)
        if size > self.limit:
            return _error(asked, too_large(size, self.limit)), 0
        if self.hide is not None:
            body = self.hide(body)
        answers = [found for found in read(body, asked) if _answers(found)]
        # Of a batch, the one with the right id.
        found = next((each for each in answers if each.id == asked), (*answers, None)[0])
        if isinstance(found, JSONRPCResponse | JSONRPCError):
            return _with_facts(found, _facts(response)), memory_of(body)
        kind = response.headers.get("content-type", "")
        why = "it contains no answer" if found is None else found.why
        if "json" not in kind.lower():
            why += f" (content type {quoted(kind)})"
        start = body[:MAX_ERROR_BODY].decode(errors="replace")
        return _error(asked, not_readable(Unreadable(asked, why, start))), 0

    def _parking(
        self, asked: Id, answer: Answer, original: httpx2.Response | None = None, size: int = 0
    ) -> httpx2.Response:
        """A response with a stub of the answer, in place of another one if there is any."""
        stub = self._parked.park(asked, answer, size)
        headers = [] if original is None else plain(original)
        headers = [(name, value) for name, value in headers if name.lower() != b"content-type"]
        return httpx2.Response(200, headers=headers, json=stub.model_dump())


def plain(response: httpx2.Response) -> list[tuple[bytes, bytes]]:
    """The headers without those of the body; cookies can select the machine of the session."""
    return [(name, value) for name, value in response.headers.raw if name.lower() not in _CODED]


def _facts(response: httpx2.Response) -> Facts:
    return Facts(
        http_status=response.status_code,
        retry_after_s=retry_after_s(response.headers.get("retry-after", ""), datetime.now(UTC)),
        had_session="mcp-session-id" in response.request.headers,
    )


def _answers(found: JSONRPCMessage | Unreadable) -> TypeGuard[Answer | Unreadable]:
    """Whether it can be an answer: no request and no notification."""
    if isinstance(found, Unreadable):
        return not found.asks
    return isinstance(found, JSONRPCResponse | JSONRPCError)


def _with_facts(answer: Answer, facts: Facts) -> Answer:
    # The SDK reads the revisions in the data of this one, and asks again with one of them.
    if isinstance(answer, JSONRPCError) and answer.error.code != UNSUPPORTED_PROTOCOL_VERSION:
        answer.error.data = replace(facts, by_server=True, data=answer.error.data)
    return answer


def _error(asked: Id | None, error: ErrorData) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=asked, error=error)


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
