"""A stream of server-sent events, whose messages pass through our hands before the SDK's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

import httpx2


class EventStream(httpx2.AsyncByteStream):
    """The body of a response, with other data in its events.

    Args:
        response: Its body is read here; it is closed with this stream.
        limit: The longest event, bytes.
        receive: From the data of a message to that of each event in its place.
        too_long: The data of the last event, in place of one over the limit; it may be empty.
    """

    def __init__(
        self,
        response: httpx2.Response,
        limit: int,
        receive: Callable[[str], Iterator[str]],
        too_long: Callable[[], str],
    ) -> None:
        self._response = response
        self._events = httpx2.EventSource(response, limit).__aiter__()
        self._receive = receive
        self._too_long = too_long
        self._has_ended = False

    def __aiter__(self) -> Self:
        return self

    async def first(self) -> httpx2.ServerSentEvent | None:
        """The next event as it came, which is not passed on; None if there is none."""
        with suppress(httpx2.SSEError):
            return await anext(self._events, None)
        return None

    async def __anext__(self) -> bytes:
        if self._has_ended:
            raise StopAsyncIteration
        try:
            event = await anext(self._events)
        except httpx2.SSEError:
            self._has_ended = True
            return _encoded(httpx2.ServerSentEvent(data=self._too_long()))
        if event.event != "message" or not event.data:
            return _encoded(event)
        # An event that is ignored still tells its id, from which the stream can be resumed.
        found = list(self._receive(event.data)) or [""]
        return b"".join(
            _encoded(httpx2.ServerSentEvent(event.event, data, event.id, event.retry))
            for data in found
        )

    async def aclose(self) -> None:
        try:
            await self._events.aclose()  # type: ignore[attr-defined]  # it is a generator
        finally:
            await self._response.aclose()


def encoded(kind: str, data: str) -> bytes:
    """An event as it is sent."""
    return _encoded(httpx2.ServerSentEvent(kind, data))


def _encoded(event: httpx2.ServerSentEvent) -> bytes:
    lines = [f"event: {event.event}"]
    lines += [f"id: {event.id}"] if event.id else []
    lines += [] if event.retry is None else [f"retry: {event.retry}"]
    lines += [f"data: {line}" for line in event.data.split("\n")] if event.data else []
    return ("\n".join(lines) + "\n\n").encode()
