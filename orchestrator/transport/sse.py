"""HTTP+SSE of protocol 2024-11-05: one stream with all that a server says, and a POST a message.

The SDK's client waits for the answer to one POST before it sends the next, and ends at the first
that fails. So a request is posted in the background here, and a failure becomes the answer to it,
in the stream.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from urllib.parse import urljoin

import anyio
import httpx2
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import MCPError
from mcp.types import JSONRPCError, JSONRPCResponse

from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError
from orchestrator.transport.delivery import (
    OUR_CODE,
    Answer,
    Facts,
    NoConnectionError,
    Parked,
    not_readable,
    too_large,
)
from orchestrator.transport.events import EventStream, encoded
from orchestrator.transport.framing import Id, Lines, TooLong
from orchestrator.transport.http import ContainedTransport, Hide, plain
from orchestrator.transport.http_wire import within_origin, without_body
from orchestrator.transport.messages import crowded
from orchestrator.transport.parameters import Notify, nothing

MAX_REDIRECTS = 5
# For the answer to a POST once its request is answered in the stream, or is cancelled.
ACCEPT_S = 5.0
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class SseTransport(ContainedTransport):
    """Opens the stream of one session, and posts its messages.

    Args:
        inner: Sends the requests. It is not closed here.
        limit: The longest answer, bytes.
        parked: Takes the answers; the stream has stubs in their place.
        group: Its tasks read the stream and post requests.
        heard: Called whenever anything comes.
        hide: Takes out of what the server sends what was sent to it as a proof of who we are.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        limit: int,
        parked: Parked,
        group: TaskGroup,
        heard: Notify = nothing,
        hide: Hide | None = None,
    ) -> None:
        super().__init__(inner, limit, parked, heard, hide)
        self._group = group
        self._said: MemoryObjectSendStream[bytes] | None = None  # what the SDK is to read
        self._posting: dict[Id, anyio.CancelScope] = {}
        self._too_long: dict[Id, Answer] = {}  # what to make of the next answers to requests

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Open the stream, or post a message, which is always accepted.

        Raises:
            MCPError: The stream cannot be opened; its data are `Facts`.
            NoConnectionError: The answer is not a stream of this protocol.
        """
        if request.method == "GET":
            return await self._open(request)
        message = json.loads(await request.aread())
        asked: Id | None = message.get("id") if "method" in message else None
        if message.get("method") == "notifications/cancelled":
            self._let_go(message["params"]["requestId"])
        if asked is not None:
            scope = self._posting[asked] = anyio.CancelScope()
            self._group.start_soon(self._post, request, asked, scope)
        else:  # bounded, and before what follows it
            response = await super().handle_async_request(request)
            await response.aclose()
        return httpx2.Response(202)

    async def _open(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._sent(request)
        except (httpx2.RequestError, NotAuthorizedError) as failure:
            error = (await self.failed(failure, 0)).error
            raise MCPError(error.code, error.message, error.data) from None
        self.heard()
        if response.status_code != 200:
            error, status = (await self.refused(response, 0)).error, response.status_code
            # It answers no request, so that its code says nothing, and the status counts.
            known = Facts(http_status=status, by_server=True)
            facts = error.data if isinstance(error.data, Facts) else known
            said = f"HTTP {status}: {error.message}" if facts.by_server else error.message
            raise MCPError(OUR_CODE, said, replace(facts, by_server=False))
        kind = response.headers.get("content-type", "")
        if not kind.lower().startswith("text/event-stream"):
            await response.aclose()
            what = f"answered with content type {quoted(kind)}, not with a stream of events"
            raise NoConnectionError(what)
        bounded = httpx2.Response(200, headers=plain(response), stream=_Short(self, response))
        bounded.request = request
        stream = self.events(bounded)
        try:
            place = await _endpoint(stream, request.url)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        self._said, read = anyio.create_memory_object_stream[bytes]()
        self._group.start_soon(self._read, stream, self._said, encoded("endpoint", place))
        return httpx2.Response(200, headers=plain(response), stream=_Said(read))

    async def _read(
        self, stream: EventStream, say: MemoryObjectSendStream[bytes], first: bytes
    ) -> None:
        with suppress(*_GONE):  # the SDK has left the stream
            async with say, aclosing(stream):
                await say.send(first)
                async for event in stream:
                    # Each event of another kind would be a line in the log.
                    if event.startswith(b"event: message\n"):
                        await say.send(event)

    async def _post(self, request: httpx2.Request, asked: Id, scope: anyio.CancelScope) -> None:
        """Post a request; whatever keeps it from being accepted is its answer."""
        with scope:
            await self._accepted(request, asked)
        del self._posting[asked]

    def answered(self, asked: Id, answer: Answer) -> Answer:
        self._let_go(asked)
        return self._too_long.pop(asked, answer)

    def _let_go(self, asked: Id) -> None:
        """Do not wait for long for a server that does not accept a request."""
        if (scope := self._posting.get(asked)) is not None:
            scope.deadline = anyio.current_time() + ACCEPT_S

    async def _accepted(self, request: httpx2.Request, asked: Id) -> None:
        try:
            response = await self._sent(request)
            self.heard()
            if response.is_success:
                await without_body(response)
                return
            # Its session is in the URL.
            answer = await self.refused(response, asked, had_session=True)
        except (httpx2.RequestError, NotAuthorizedError) as failure:
            answer = await self.failed(failure, asked)
        stub = self._parked.park(asked, answer)
        with suppress(*_GONE):  # the session is over
            assert self._said is not None
            await self._said.send(encoded("message", stub.model_dump_json()))

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        """What answers a request, after redirects within its origin that keep its method."""
        for _ in range(MAX_REDIRECTS):
            response = await self._inner.handle_async_request(request)
            response.request = request
            target = within_origin(response)
            if target is None:
                break
            await response.aclose()
            request = httpx2.Request(
                request.method,
                target,
                headers=request.headers,
                content=await request.aread(),
                extensions=request.extensions,
            )
        return response

    def short(self, line: bytes | TooLong) -> bytes:
        """A line; in place of an answer that is too long, an error."""
        if isinstance(line, bytes):
            return line
        data = replace(line, head=line.head.removeprefix(b"data:"))
        if data.asks or (asked := data.answers) is None:
            return b": too long"
        error = not_readable(crowded(data)) if line.is_crowded else too_large(line.size, self.limit)
        self._too_long[asked] = JSONRPCError(jsonrpc="2.0", id=asked, error=error)
        stub = JSONRPCResponse(jsonrpc="2.0", id=asked, result={})
        return b"data: " + stub.model_dump_json().encode()


async def _endpoint(stream: EventStream, url: httpx2.URL) -> str:
    """Where messages are to be posted, without the origin.

    Raises:
        NoConnectionError: The server does not say it, or it is at another origin.
    """
    while (event := await stream.first()) is not None and event.event != "endpoint":
        pass
    if event is None:
        raise NoConnectionError('ended its stream of events before the event "endpoint"')
    named = quoted(event.data, 200)
    try:
        place = httpx2.URL(urljoin(str(url), event.data))
    except (ValueError, httpx2.InvalidURL):
        raise NoConnectionError(f"named an endpoint that is no URL: {named}") from None
    path = place.raw_path.decode()
    if (place.scheme, place.netloc) != (url.scheme, url.netloc) or path.startswith("//"):
        raise NoConnectionError(f"named an endpoint at another origin than its url: {named}")
    return path  # the SDK compares origins as they are written


class _Short(httpx2.AsyncByteStream):
    """The body of a response in which no line is longer than the limit."""

    def __init__(self, transport: SseTransport, response: httpx2.Response) -> None:
        self._transport = transport
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        lines = Lines(self._transport.limit)
        with suppress(httpx2.RequestError):  # it ends where the connection broke
            async with aclosing(self._response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    self._transport.heard()
                    for line in lines.feed(chunk):
                        yield self._transport.short(line) + b"\n"

    async def aclose(self) -> None:
        await self._response.aclose()


class _Said(httpx2.AsyncByteStream):
    """What the SDK reads."""

    def __init__(self, read: MemoryObjectReceiveStream[bytes]) -> None:
        self._read = read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._read:
            yield chunk

    async def aclose(self) -> None:
        await self._read.aclose()
