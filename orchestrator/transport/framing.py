"""Lines out of a stream of bytes, in linear time; one that is too long is measured, not kept.

The rule of this file: pure functions and values; it reads nothing by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# Under this name a JSON-RPC error of ours says what a message measured, and what the limit is.
TOO_LARGE = "orchestrator.too_large"
# The same for what happened over HTTP; and the code of those errors that are ours altogether.
HTTP_FACTS = "orchestrator.transport.http"
HTTP_ERROR = -32000
# How much of a message that is too long is kept at either end: enough to see what it answers.
KEPT_BYTES = 4096

_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")'
_FIRST = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*[,}]")
_LAST = re.compile(rb",\s*" + _ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*\Z")
_ASKS = re.compile(rb"\s*\{(?:\s*(?:" + _VERSION + rb"|" + _ID + rb')\s*,){0,2}\s*"method"\s*:')


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was longer than the limit.

    Attributes:
        size: How long it was, bytes.
        head: How it began, and `tail`: how it ended.
    """

    size: int
    head: bytes
    tail: bytes

    @property
    def answers(self) -> int | str | None:
        """The id of the JSON-RPC request that it answers; None if that cannot be seen."""
        if (found := _FIRST.match(self.head) or _LAST.search(self.tail)) is not None:
            with suppress(ValueError):
                answered: int | str = json.loads(found[1])
                return answered
        return None

    @property
    def asks(self) -> bool:
        """Whether it is a request or a notification, and answers nothing."""
        return _ASKS.match(self.head) is not None


def too_large(size: int, limit: int) -> dict[str, Any]:
    """The JSON-RPC error that stands for an answer that was too large."""
    facts = {"bytes": size, "max_result_bytes": limit}
    return {"code": -32000, "message": "the answer is too large", "data": {TOO_LARGE: facts}}


class Lines:
    """Takes bytes as they come and gives the lines that are complete.

    Args:
        limit: How long a line may be, bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """The lines that this chunk completes, without their ends."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            yield self._line()
        self._keep(rest)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            if len(whole) > 2 * KEPT_BYTES:
                self._parts = [whole[:KEPT_BYTES], whole[-KEPT_BYTES:]]

    def _line(self) -> bytes | TooLong:
        whole, size = b"".join(self._parts), self._size
        self._parts, self._size = [], 0
        if size > self._limit:
            return TooLong(size, whole[:KEPT_BYTES], whole[-KEPT_BYTES:])
        return whole
