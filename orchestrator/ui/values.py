"""Values of any size in parts: what is deep or long is folded, and fetched when it is opened.

A part is a JSON object: `t` is the type, `n` the number of members or characters, `v` the value of
a scalar, `e` the members (pairs for an object) from `from` on. Without `e` or with a short one the
rest is fetched by the place of the value, a JSON Pointer, and an offset.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.pointer import value_at

PAGE = 100  # members of one value
LETTERS = 4000  # characters of one string
NODES = 600  # parts of an answer
DEPTH = 6
MAX_KEY = 500


def part_at(value: Any, place: str = "", offset: int = 0) -> dict[str, Any] | None:
    """The part of a value at a place, its members or characters from an offset on.

    None if there is no such place.
    """
    try:
        found = value_at(value, place)
    except (LookupError, TypeError, ValueError):
        return None
    return _Parts().part(found, 0, offset)


class _Parts:
    """Makes parts until there are enough of them."""

    def __init__(self) -> None:
        self._left = NODES

    def part(self, value: Any, depth: int, offset: int = 0) -> dict[str, Any]:
        self._left -= 1
        match value:
            case str():
                return _text(value, LETTERS if depth == 0 else LETTERS // 4, offset)
            case None | bool() | int() | float():
                return _scalar(value)
            case dict():
                return self._members(value, "object", depth, offset)
            case _:
                return self._members(list(value), "array", depth, offset)

    def _members(self, value: Any, kind: str, depth: int, offset: int) -> dict[str, Any]:
        part: dict[str, Any] = {"t": kind, "n": len(value)}
        if depth >= DEPTH or (self._left <= 0 and depth):
            return part
        found: list[Any] = []
        items = value.items() if kind == "object" else value
        for each in islice(items, offset, offset + PAGE):
            if self._left <= 0 and found:
                break
            if kind == "object":
                found.append([each[0][:MAX_KEY], self.part(each[1], depth + 1)])
            else:
                found.append(self.part(each, depth + 1))
        return part | {"e": found} | ({"from": offset} if offset else {})


def _scalar(value: Any) -> dict[str, Any]:
    # As text: JavaScript has no integers beyond 2**53.
    kind = "null" if value is None else "boolean" if isinstance(value, bool) else "number"
    return {"t": kind, "v": to_json(value).strip('"')}


def _text(value: str, most: int, offset: int) -> dict[str, Any]:
    part = {"t": "string", "n": len(value), "v": value[offset : offset + most]}
    return part | ({"from": offset} if offset else {})
