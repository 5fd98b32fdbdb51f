"""Splits a stream of bytes into lines, in linear time; a line that is too long is not kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

Id = int | str

# How much of a message that is too long is kept at either end: enough to find its id.
KEPT_BYTES = 4096
# Arrays and objects in a message: each takes up to a hundred times its text in memory.
MAX_CONTAINERS = 250_000

# A string, a bracket, a comma or colon, or a number or name; and the same read backwards.
_TOKEN = re.compile(rb'\s*("(?:[^"\\]|\\.)*"|[][{},:]|[-+.\w]+)', re.DOTALL)
_NEKOT = re.compile(rb'\s*("(?:[^"]|"(?=\\))*"(?!\\)|[][{},:]|[-+.\w]+)', re.DOTALL)
# Some programs write an id as 7.0.
_ID = re.compile(rb'(-?\d+)(?:\.0+)?|".*"', re.DOTALL)
_OF_ANSWERS = {b'"jsonrpc"', b'"result"', b'"error"'}
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that is not kept: its length in bytes, its beginning and its end.

    It was longer than the limit, or `is_crowded`: it contains too many arrays and objects.
    """

    size: int
    head: bytes
    tail: bytes
    is_crowded: bool = False

    @property
    def answers(self) -> Id | None:
        """The id of the JSON-RPC request that it answers; None if that cannot be found."""
        if self.head.lstrip()[:1] not in (b"{", b"["):  # a line of a log may quote an answer
            return None
        members = self._members()
        ids = {value for name, value in members if name == b'"id"'}
        if not _OF_ANSWERS & {name.lower() for name, _ in members} or len(ids) != 1:
            return None
        found = _ID.fullmatch(ids.pop())
        with suppress(ValueError):  # not UTF-8, or too many digits
            answered: Id | None = found and json.loads(found[1] or found[0])
            return answered
        return None

    @property
    def asks(self) -> bool:
        """Whether it is a request or a notification."""
        return b'"method"' in {name for name, _ in self._members()}

    def _members(self) -> set[tuple[bytes, bytes]]:
        """The names in the outermost object, with what follows; an inner value does not."""
        first = _outermost(self.head, _TOKEN, b"[{", b"]}")
        last = _outermost(self.tail[::-1], _NEKOT, b"]}", b"[{")
        last = [token[::-1] for token in reversed(last)]
        return {
            (name, value)
            for tokens in (first, last)
            for name, colon, value in zip(tokens, tokens[1:], [*tokens[2:], b""], strict=False)
            if colon == b":"
        }


def _outermost(
    data: bytes, token: re.Pattern[bytes], opening: bytes, closing: bytes
) -> list[bytes]:
    """The tokens of the outermost object or of a batch of one, as far as brackets match."""
    found: list[bytes] = []
    stack: list[int] = []  # where the brackets that are open are in `opening`
    depth, at = 1, 0
    while (match := token.match(data, at)) is not None:
        text, at = match[1], match.end()
        if at == len(data) and text[-1:].isdigit():  # the rest of the number may be missing
            break
        if text in (opening[:1], opening[1:]):
            if text in b"[]" and not stack and depth == 1:
                depth = 2
            stack.append(opening.index(text))
        elif text in (closing[:1], closing[1:]):
            if not stack or stack.pop() != closing.index(text):
                break
        elif len(stack) == depth:
            found.append(text)
    return found


def containers(data: bytes | str) -> int:
    """How many arrays and objects a text contains at the most: brackets in strings count too."""
    if isinstance(data, str):
        return data.count("[") + data.count("{")
    return data.count(b"[") + data.count(b"{")


class Lines:
    """Collects chunks of bytes into lines of at most `limit` bytes, and not too many containers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._start()

    def _start(self) -> None:
        self._parts: list[bytes] = []
        self._size = self._containers = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """The lines that this chunk completes, without their ends."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            whole, size = b"".join(self._parts), self._size
            is_short, is_crowded = size <= self._limit, self._is_crowded
            self._start()
            head, tail = whole[:KEPT_BYTES], whole[-KEPT_BYTES:]
            is_kept = is_short and not is_crowded
            yield whole if is_kept else TooLong(size, head, tail, is_short)
        self._keep(rest)

    def _keep(self, part: bytes) -> None:
        before = self._size
        self._size += len(part)
        self._parts.append(part)
        # Counted as it comes: where all is there, counting holds up the event loop.
        if self._size > MAX_CONTAINERS and not self._is_crowded:
            fresh = self._parts if before <= MAX_CONTAINERS else (part,)
            self._containers += sum(map(containers, fresh))
        if self._size > self._limit or self._is_crowded:
            whole = b"".join(self._parts)
            if len(whole) > 2 * KEPT_BYTES:
                self._parts = [whole[:KEPT_BYTES], whole[-KEPT_BYTES:]]

    @property
    def _is_crowded(self) -> bool:
        return self._containers > MAX_CONTAINERS


class Block:
    """The lines of one message, which is written over several; MCP wants it on one."""

    def __init__(self, first: bytes) -> None:
        self._parts: list[bytes] = []
        self._open = 0  # brackets that are not closed yet
        self.size = 0
        self.add(first)

    def add(self, line: bytes) -> None:
        """Take the next line."""
        self._parts.append(line)
        self.size += len(line) + 1
        rest = _STRING.sub(b"", line)
        self._open += containers(rest) - rest.count(b"]") - rest.count(b"}")

    def may_go_on(self, line: bytes | TooLong) -> TypeGuard[bytes]:
        """Whether a line can belong to it: where lines are indented, no other object begins."""
        if isinstance(line, TooLong):
            return False
        is_flat = len(self._parts) > 1 and self._parts[1][:1] not in (b" ", b"\t")
        return is_flat or not line.startswith(b"{")

    @property
    def is_whole(self) -> bool:
        """Whether all brackets are closed."""
        return self._open <= 0

    @property
    def text(self) -> bytes:
        """All lines."""
        return b"\n".join(self._parts)
