"""What became of each request: whether it was written, what answered it, and what we know of that.

The SDK has no way to ask a stream what became of a request. So a request carries a ticket in its
`_meta`, and the stream that writes it takes the ticket off and notes the delivery. The answer is
kept beside the message that the SDK sees, since the SDK refuses results that can be used. What the
transport knows of an error is in `Facts`: JSON makes no such object, so no server can forge one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse

from orchestrator.transport.framing import Id
from orchestrator.transport.messages import Unreadable

TICKET = "io.orchestrator/ticket"
# The code of errors that the server did not send.
OUR_CODE = -32000

Answer = JSONRPCResponse | JSONRPCError
# What the SDK sees of a result.
Show = Callable[[dict[str, Any]], dict[str, Any]]
# Receives about what an answer takes in memory, bytes.
OnSize = Callable[[int], None]


class NoConnectionError(Exception):
    """The server cannot be spoken with; the message continues `it ...`."""


@dataclass
class Sized(SessionMessage):
    """A message with about what it takes in memory, bytes."""

    size: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the transport knows of an error, as its `data`; the server's own is in `data` here.

    Attributes:
        http_status: The status of the response that it came with; None if it came otherwise.
        retry_after_s: How long the server asks to wait.
        body: What the response said, if that is no page and no JSON-RPC error.
        had_session: Whether the request named a session.
        unreachable: Nothing was sent.
        lost: The connection broke before the answer was there.
        size: The bytes of an answer over `limit`, or the least they can be.
        unreadable: An answer that is no JSON-RPC response.
        by_server: Whether code and message are the server's.
        refused: Why the request was not authorized; empty if it was.
        needs_login: A person has to log in; `may_retry`: it may be authorized later without.
    """

    http_status: int | None = None
    retry_after_s: float | None = None
    body: str = ""
    had_session: bool = False
    unreachable: bool = False
    lost: bool = False
    size: int = 0
    limit: int = 0
    unreadable: Unreadable | None = None
    by_server: bool = False
    refused: str = ""
    needs_login: bool = False
    may_retry: bool = False
    data: Any = None


def our_error(message: str, facts: Facts, code: int = OUR_CODE) -> ErrorData:
    """An error that the transport makes in place of an answer."""
    return ErrorData(code=code, message=message, data=facts)


def too_large(size: int, limit: int) -> ErrorData:
    """The error in place of an answer that was too large."""
    return our_error("the answer is too large", Facts(size=size, limit=limit))


def not_readable(answer: Unreadable) -> ErrorData:
    """The error in place of an answer that cannot be read."""
    return our_error(answer.why, Facts(unreadable=answer), PARSE_ERROR)


@dataclass(slots=True, eq=False)
class Delivery:
    """What became of one request."""

    meta: dict[str, int] | None  # of the request; None if no stream looks for tickets
    show: Show
    on_size: OnSize | None = None
    written: bool = False  # from then on the server may have executed it
    request: Id | None = None  # its id on the wire
    result: dict[str, Any] | None = None  # as the server sent it
    answered: bool = False  # by the server, or by the transport in its place


class Deliveries:
    """The deliveries of one session; if they are not `observed`, no stream takes tickets off."""

    def __init__(self, *, observed: bool = True) -> None:
        self.latest = ""  # the method of the last request
        self._observed = observed
        self._expected: dict[int, Delivery] = {}
        self._asked: dict[Id, Delivery] = {}
        self._last = 0

    @contextmanager
    def expect(self, show: Show, on_size: OnSize | None = None) -> Iterator[Delivery]:
        """The delivery of the request that is sent in the block, in one round or several."""
        self._last = ticket = self._last + 1
        meta = {TICKET: ticket} if self._observed else None
        self._expected[ticket] = delivery = Delivery(meta, show, on_size)
        try:
            yield delivery
        finally:
            del self._expected[ticket]
            if delivery.request is not None:
                self._asked.pop(delivery.request, None)

    def take(self, request: JSONRPCRequest) -> Delivery | None:
        """The delivery of a request, whose ticket is removed."""
        self.latest = request.method
        params = request.params
        meta = (params or {}).get("_meta")
        if params is None or not meta or TICKET not in meta:
            return None
        ticket = meta.pop(TICKET)
        if not meta:
            del params["_meta"]
        delivery = self._expected.get(ticket)
        if delivery is not None:
            delivery.request, delivery.result, delivery.answered = request.id, None, False
            self._asked[request.id] = delivery
        return delivery

    def arrived(self, answer: Answer, size: int = 0) -> None:
        """Keep what answers a request, and leave in the message what the SDK is to see of it."""
        number = answer.id
        delivery = None if number is None else self._asked.pop(coerce_request_id(number), None)
        if delivery is not None:
            delivery.answered = True
            if delivery.on_size is not None:
                delivery.on_size(size)
        if isinstance(answer, JSONRPCResponse):
            if delivery is not None:
                delivery.result = answer.result
                answer.result = delivery.show(answer.result)
            # Protocol 2026-07-28 tells clients to take a missing one for "complete"; the SDK
            # refuses the result. Before 2026-07-28 the field means nothing.
            answer.result.setdefault("resultType", "complete")
        elif answer.error.data is None:
            # Else it could be the SDK's own, which says that the connection was closed.
            answer.error.data = Facts(by_server=True)


class Parked:
    """The answers that came over HTTP, while the SDK handles a stub in place of each."""

    def __init__(self) -> None:
        self._answers: dict[Id, tuple[Answer, int]] = {}

    def park(self, request: Id, answer: Answer, size: int = 0) -> JSONRPCResponse:
        """Keep an answer and its size; what is returned stands for it."""
        self._answers[request] = answer, size
        return JSONRPCResponse(jsonrpc="2.0", id=request, result={})

    def forget(self, request: Any) -> None:
        """A request was cancelled."""
        self._answers.pop(request, None)

    def answer_for(self, stub: Answer) -> tuple[Answer, int]:
        """The answer that a stub stands for, and its size; an error alone is the SDK's own."""
        parked = None if stub.id is None else self._answers.pop(stub.id, None)
        if parked is not None and stub.id is not None:
            parked[0].id = stub.id
            return parked
        if isinstance(stub, JSONRPCError):
            # The SDK gives this code where a stream of events ended before the answer.
            stub.error.data = Facts(lost=stub.error.code == OUR_CODE)
            return stub, 0
        unreadable = Unreadable(stub.id, "it has the id of another request", "")
        return JSONRPCError(jsonrpc="2.0", id=stub.id, error=not_readable(unreadable)), 0
