"""Splits a stream of bytes into lines, in linear time; a line that is too long is not kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

Id = int | str

# How much of a message that is too long is kept at either end: enough to find its id.
KEPT_BYTES = 4096

_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
# Some programs write an id as 7.0, or a message as a batch of one.
_ID = rb'"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")(?:\.0+)?'
_FIRST = re.compile(rb"\s*\[?\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*[,}]")
_EARLY = re.compile(rb"\s*\[?\s*\{[^{}]*?\"jsonrpc\"[^{}]*?,\s*" + _ID + rb"\s*[,}]")
_LAST = re.compile(rb",\s*" + _ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*\]?\s*\Z")
_ASKS = re.compile(
    rb"\s*\[?\s*\{(?:\s*(?:" + _VERSION + rb"|" + _ID + rb')\s*,){0,2}\s*"method"\s*:'
)


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was longer than the limit: its length in bytes, its beginning and its end."""

    size: int
    head: bytes
    tail: bytes

    @property
    def answers(self) -> Id | None:
        """The id of the JSON-RPC request that it answers; None if that cannot be found."""
        first = _FIRST.match(self.head) or _EARLY.match(self.head)
        if (found := first or _LAST.search(self.tail)) is not None:
            with suppress(ValueError):  # not UTF-8, or too many digits
                answered: Id = json.loads(found[1])
                return answered
        return None

    @property
    def asks(self) -> bool:
        """Whether it is a request or a notification."""
        return _ASKS.match(self.head) is not None


class Lines:
    """Collects chunks of bytes into lines of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """The lines that this chunk completes, without their ends."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            whole, size = b"".join(self._parts), self._size
            self._parts, self._size = [], 0
            is_kept = size <= self._limit
            yield whole if is_kept else TooLong(size, whole[:KEPT_BYTES], whole[-KEPT_BYTES:])
        self._keep(rest)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            if len(whole) > 2 * KEPT_BYTES:
                self._parts = [whole[:KEPT_BYTES], whole[-KEPT_BYTES:]]
