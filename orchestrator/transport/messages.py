"""Reads JSON-RPC messages as other programs write them: half characters, bad ids, odd shapes.

An answer whose id can be seen always ends its request, even if nothing else in it can be used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pydantic_core
from mcp.types import JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

from orchestrator.documents.collector import paused
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import MAX_DIGITS, whole_characters
from orchestrator.transport.framing import KEPT_BYTES, MAX_CONTAINERS, Id, TooLong, containers

# A longer message is not read a second time to find out what is wrong with it.
MAX_REREAD = 1_000_000
# The messages of a batch that are read.
MAX_BATCH = 1000
# While a longer message is parsed, the collector would look at all that is made, again and again.
LARGE_BYTES = 100_000
# What a value takes in memory besides its text: about as much as an empty list.
VALUE_BYTES = 60
# How much of an answer that cannot be read is kept.
KEPT_CHARACTERS = 4096

_MANY_DIGITS = re.compile(rf"\d{{{MAX_DIGITS + 1},}}")
_BLANKS = re.compile(r"\s*")
_LENIENT = json.JSONDecoder(strict=False)
# What the parser says, in our words; the first that occurs.
_REASONS = {
    "recursion limit": "it is nested deeper than 200 levels",
    "control character": "it is not JSON: a string contains an unescaped control character",
    "out of range": f"it contains a number of more than {MAX_DIGITS:,} digits",
    "EOF": "it is not JSON: it breaks off",
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is no JSON-RPC message.

    Attributes:
        id: Of the request that it answers; None if it answers none, or that cannot be seen.
        why: What is wrong.
        start: How it begins.
        asks: Whether it is a request or a notification.
    """

    id: Id | None
    why: str
    start: str
    asks: bool = False

    @property
    def breaks_off(self) -> bool:
        """Whether more could follow that makes it readable."""
        return self.why == _REASONS["EOF"]

    @property
    def is_too_deep(self) -> bool:
        """Whether it would be readable if it were nested less deep."""
        return self.why == _REASONS["recursion limit"]


def read(data: bytes | str, to: Id | None = None) -> Iterator[JSONRPCMessage | Unreadable]:
    """The messages in a line or a body: one, or each of a batch.

    Bytes that are no UTF-8, and halves of surrogate pairs, become U+FFFD.

    Args:
        data: JSON text.
        to: The request that an answer without a usable id answers, where it can be no other.
    """
    if len(data) > MAX_CONTAINERS and containers(data) > MAX_CONTAINERS:
        whole = data.encode(errors="replace") if isinstance(data, str) else data
        yield crowded(TooLong(len(whole), whole[:KEPT_BYTES], whole[-KEPT_BYTES:]))
        return
    try:
        # Not `validate_json`, which parses once for each kind of message.
        message = _message(_parsed(data))
    except ValueError:
        text = data if isinstance(data, str) else data.decode(errors="replace")
        # Programs on Windows begin their output with a byte order mark.
        yield from _read_again(whole_characters(text.removeprefix("\ufeff")), to)
    else:
        yield message


def crowded(line: TooLong) -> Unreadable:
    """A message that is not parsed, for what it would take in memory."""
    return _seen(line, f"it contains more than {MAX_CONTAINERS:,} arrays and objects")


def _parsed(data: bytes | str) -> Any:
    with paused() if len(data) > LARGE_BYTES else nullcontext():
        # Short strings other than names are seldom the same: to look for them takes twice as long.
        return pydantic_core.from_json(data, cache_strings="keys")


def _message(value: Any) -> JSONRPCMessage:
    return jsonrpc_message_adapter.validate_python(value, by_name=False)


def memory_of(data: bytes | str) -> int:
    """About how many bytes the values in a text take in memory.

    Each value follows a comma or a bracket. Those in strings count too: text is often JSON itself.
    """
    commas = data.count(",") if isinstance(data, str) else data.count(b",")
    return len(data) + VALUE_BYTES * (commas + containers(data))


def _read_again(text: str, to: Id | None) -> Iterator[JSONRPCMessage | Unreadable]:
    try:
        value = _parsed(text)
    except ValueError as failure:
        if pieces := _pieces(text) if "trailing" in str(failure) else []:
            for piece in pieces:
                yield from read(piece, to)
            return
        found = (why for part, why in _REASONS.items() if part in str(failure))
        yield _unreadable(text, next(found, "it is not JSON"), to)
    else:
        yield from _each(value, text[:KEPT_CHARACTERS], to)


def _pieces(text: str) -> list[str]:
    """The objects in a text that has nothing else, as threads write that share one stdout."""
    pieces: list[str] = []
    at = 0
    with suppress(ValueError, RecursionError):
        while text.startswith("{", at) and len(text) <= MAX_REREAD and len(pieces) < MAX_BATCH:
            _, end = _LENIENT.raw_decode(text, at)
            pieces.append(text[at:end])
            at = _BLANKS.match(text, end).end()  # type: ignore[union-attr]  # it always matches
    return pieces if at == len(text) or len(pieces) == MAX_BATCH else []


def _unreadable(text: str, why: str, to: Id | None) -> Unreadable:
    """A text that is not JSON; its id is looked for nonetheless."""
    start = text[:KEPT_CHARACTERS]
    if len(text) <= MAX_REREAD:
        try:
            value = _LENIENT.decode(_MANY_DIGITS.sub("0", text))
        except (ValueError, RecursionError):
            pass
        else:
            if isinstance(value, list) and len(value) == 1:  # a batch of one
                value = value[0]
            return Unreadable(_answered(value, to), why, start, _asks(value))
    return _seen(TooLong(len(text), *_ends(text)), why)


def _seen(data: TooLong, why: str) -> Unreadable:
    """A text of which only the ends are looked at."""
    start = data.head.decode(errors="replace")
    return Unreadable(None if data.asks else data.answers, why, start, data.asks)


def _ends(text: str) -> tuple[bytes, bytes]:
    return text[:KEPT_BYTES].encode(errors="replace"), text[-KEPT_BYTES:].encode(errors="replace")


def _each(value: Any, start: str, to: Id | None) -> Iterator[JSONRPCMessage | Unreadable]:
    """The message that a value is, or each of a batch."""
    for item in value[:MAX_BATCH] if isinstance(value, list) else [value]:
        answered = _answered(item, to)
        try:
            yield _message(item if answered is None else {**item, "id": answered})
        except ValidationError:
            yield Unreadable(answered, _fault(item), start, _asks(item))


def _asks(value: Any) -> bool:
    return isinstance(value, dict) and "method" in value


def _answered(value: Any, to: Id | None) -> Id | None:
    """The id of the request that a value answers; None for a log line with an id of its own."""
    if not isinstance(value, dict) or "method" in value:
        return None
    if not value.keys() & {"jsonrpc", "result", "error"}:
        return None
    match value.get("id"):
        case bool():
            return to
        case int() | str() as number:
            return number
        case float() as number if number.is_integer():  # as languages without integers write it
            return int(number)
    return to


def _fault(value: Any) -> str:
    """What keeps a value from being a JSON-RPC response."""
    if not isinstance(value, dict):
        return f"expected object, got {describe(value)}"
    if value.get("jsonrpc") != "2.0":
        return _expected('"2.0"', "jsonrpc", value)
    if (error := value.get("error")) is None:
        return _expected("object", "result", value)
    if not isinstance(error, dict):
        return _expected("object", "error", value)
    if not isinstance(error.get("code"), int):
        return _expected("integer", "code", error, "error.")
    return _expected("string", "message", error, "error.")


def _expected(what: str, name: str, value: dict[str, Any], place: str = "") -> str:
    got = describe(value[name]) if name in value else "nothing"
    return f'expected {what} as "{place}{name}", got {got}'
