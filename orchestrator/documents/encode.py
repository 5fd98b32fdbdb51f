"""Writes values as JSON text that is always valid (RFC 8259)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.text import escaped, visible

TextOf = Callable[[Any, int | None], str]

# How many values make a part of a document, or so many characters for each of them.
_PART = 10_000
_CHARACTERS = 100
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text; NaN and Infinity become strings of their names, as in protobuf."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except (ValueError, TypeError):
        value = _plain(value)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot hold
        return json.dumps(value, allow_nan=False, indent=indent)
    return text


def shown_json(value: Any, indent: int | None = None, *, ascii_only: bool = False) -> str:
    """A value as JSON text for people and files: no character in it is invisible or active."""
    text = to_json(value, indent)
    # JSON escapes all other ASCII that nobody can see, and looking at each character takes time.
    if text.isascii() and "\x7f" not in text:
        return text
    if ascii_only and not text.isascii():
        text = _NOT_ASCII.sub(lambda found: escaped(found[0]), text)
    return visible(text, keep="\n")


def folded_json(value: Any, width: int, depth: int = 0) -> str:
    """A value as JSON text, with a line for each object or array that fits into this width."""
    is_object = isinstance(value, dict)
    inside = value.values() if is_object else value if isinstance(value, list) else ()
    room = width - 2 * depth
    if not any(isinstance(item, dict | list) for item in inside):
        text = to_json(value)
        return text if len(text) <= room or not inside else _moved(to_json(value, 2), 2, depth)
    items = [folded_json(item, width, depth + 1) for item in inside]
    if is_object:
        items = [f"{to_json(str(name))}: {item}" for name, item in zip(value, items, strict=True)]
    begin, end = "{}" if is_object else "[]"
    text = f"{begin}{', '.join(items)}{end}"
    if len(text) <= room and "\n" not in text:
        return text
    line = "\n" + "  " * (depth + 1)
    return begin + line + f",{line}".join(items) + line[:-2] + end


def json_parts(
    value: Any, text_of: TextOf = to_json, indent: int | None = None, depth: int = 0
) -> Iterator[str]:
    """The text of a value piece by piece, so that a large document never exists as one text.

    Args:
        value: The value.
        text_of: Makes the text of a part of it, at this indent; `to_json` or the like.
        indent: As for `to_json`.
        depth: How deep the value stands in its document.
    """
    is_object = isinstance(value, dict)
    if not (is_object or isinstance(value, list)) or _left(value, _PART) >= 0:
        yield _moved(text_of(value, indent), indent, depth)
        return
    begin, end = "{}" if is_object else "[]"
    inside = "" if indent is None else _moved("\n", indent, depth + 1)
    for part in _parts(value.items() if is_object else value, is_object=is_object):
        yield begin
        begin = ", " if indent is None else ","
        if isinstance(part, _Large):
            name = text_of({part.name: 0}, None)[1:-2] if is_object else ""
            yield inside + name
            yield from json_parts(part.value, text_of, indent, depth + 1)
        else:
            text = text_of(dict(part) if is_object else part, indent)
            yield _moved(text[1:-1] if indent is None else text[1:-2], indent, depth)
    yield ("" if indent is None else _moved("\n", indent, depth)) + end


def _moved(text: str, indent: int | None, depth: int) -> str:
    """A text further to the right. No string has a line break in it: JSON escapes them."""
    return text.replace("\n", "\n" + " " * (indent * depth)) if indent and depth else text


@dataclass(frozen=True, slots=True)
class _Large:
    """A value to be taken apart, with its name in an object."""

    name: Any
    value: Any


def _parts(items: Iterable[Any], *, is_object: bool) -> Iterator[_Large | list[Any]]:
    """The items, as many together as make a text of moderate length; a large one alone."""
    together: list[Any] = []
    left = _PART
    for item in items:
        name, value = item if is_object else ("", item)
        after = _left(value, left)
        if after < 0 and together:
            yield together
            together, after = [], _left(value, _PART)
        if after < 0:
            yield _Large(name, value)
            left = _PART
            continue
        together.append(item)
        left = after
    if together:
        yield together


def _left(value: Any, room: int) -> int:
    """What a value leaves of a room for values and text; negative if it does not fit."""
    if isinstance(value, str):
        return room - 1 - len(value) // _CHARACTERS
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        room = _left(part, room)
        if room < 0:
            break
    return room - 1


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case None | bool() | int() | float() | str():
            return value
    return str(value)  # a custom caller can return any Python object
