"""Singular paths: one place in a JSON value, as in RFC 9535 (JSONPath)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from orchestrator.documents.text import counted, cut, listed, quoted, visible

Path = tuple[str | int, ...]

# RFC 9535, section 2.5.1.1: member-name-shorthand.
_NAME = re.compile(
    r"[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][0-9A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff]*"
)
# Section 2.3.3.1: no leading zeros, no minus zero; and section 2.1: I-JSON's range.
_INDEX = re.compile(r"0|-?[1-9][0-9]*")
MAX_INDEX = 2**53 - 1
_BLANK = re.compile(r"[ \t\n\r]*")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_IN_BRACES = "; wildcards, slices and filters need ${...}"
_HEX = re.compile(r"[0-9A-Fa-f]{4}")


class PathSyntaxError(ValueError):
    """A malformed path."""


class PlaceMissingError(LookupError):
    """A path leads to no place in a value.

    Args:
        path: The path.
        found: How many segments of it exist.
        value: The value that those lead to.

    Attributes:
        found, value: As above.
        keys: The property names of that value, sorted; None if it is no object.
    """

    def __init__(self, path: Path, found: int, value: Any) -> None:
        self.found = found
        self.keys = sorted(map(str, value)) if isinstance(value, dict) else None
        self.value = value
        self._path = path
        super().__init__(self.message("the value"))

    def message(self, root: str) -> str:
        """What is missing and what is there instead, for a value that messages call `root`."""
        step, value = self._path[self.found], self.value
        lacks = (
            f"has no index {step}" if isinstance(step, int) else f"has no property {quoted(step)}"
        )
        if isinstance(step, str) and value and isinstance(value, dict):
            there = f"it has: {_names(value)}"
        elif isinstance(step, int) and isinstance(value, list):
            there = f"length {len(value):,}"
        else:
            there = f"it is {describe(value)}"
        return f"{root}{format_path(self._path[: self.found])} {lacks} ({there})"


def parse_path(text: str, start: int = 0) -> tuple[Path, int]:
    """Take the longest path in `text` from `start` on.

    A dot that no name follows is punctuation and ends the path.

    Returns:
        The segments, and the position after the last of them.

    Raises:
        PathSyntaxError: A `[` that opens no segment, a `..name`, a name that starts with a digit.
    """
    segments: list[str | int] = []
    position = start
    while True:
        character = text[position : position + 1]
        if character == "[":
            segment, position = _bracket(text, position)
            segments.append(segment)
        elif character == "." and (name := _NAME.match(text, position + 1)):
            segments.append(name[0])
            position = name.end()
        else:
            _refuse_lookalikes(text, position)
            return tuple(segments), position


def _refuse_lookalikes(text: str, position: int) -> None:
    if text.startswith("..", position):
        after = position + 2
        if text[after : after + 1] == "[" or _NAME.match(text, after):
            raise PathSyntaxError('unexpected "..": a path names one place')
    elif text[position : position + 1] == "." and text[position + 1 : position + 2].isdigit():
        raise PathSyntaxError('unexpected digit after "."; write an index as [0]')


def _bracket(text: str, start: int) -> tuple[str | int, int]:
    position = _skip_blank(text, start + 1)
    quote = text[position : position + 1]
    segment: str | int
    if quote in ("'", '"'):
        segment, position = _quoted(text, position, quote)
    elif index := _INDEX.match(text, position):
        segment, position = int(index[0][:20]), index.end()
        if abs(segment) > MAX_INDEX:
            raise PathSyntaxError(f"index {index[0][:20]} is out of range (limit 2^53 - 1)")
    else:
        raise PathSyntaxError(
            f'expected an index such as [0], or a name such as ["a b"], after "["{_IN_BRACES}'
        )
    position = _skip_blank(text, position)
    if text[position : position + 1] != "]":
        hint = _IN_BRACES if text[position : position + 1] in (":", ",") else ""
        raise PathSyntaxError(f'expected "]" after {quoted(text[start:position])}{hint}')
    return segment, position + 1


def _skip_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _quoted(text: str, start: int, quote: str) -> tuple[str, int]:
    characters: list[str] = []
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return "".join(characters), position + 1
        if character == "\\":
            character, position = _escape(text, position + 1, quote)
        elif character < " " or "\ud800" <= character <= "\udfff":
            raise PathSyntaxError(f"unescaped character {quoted(character)} in a name")
        else:
            position += 1
        characters.append(character)
    raise PathSyntaxError(f"unclosed {quote} in {quoted(text[start:], 20)}")


def _escape(text: str, position: int, quote: str) -> tuple[str, int]:
    letter = text[position : position + 1]
    if letter == "u":
        return _unicode_escape(text, position + 1)
    if letter == quote:
        return quote, position + 1
    if letter not in _ESCAPES or not letter:
        raise PathSyntaxError(f"unknown escape \\{visible(letter)} in a name")
    return _ESCAPES[letter], position + 1


def _unicode_escape(text: str, position: int) -> tuple[str, int]:
    high = _code_unit(text, position)
    position += 4
    if not 0xD800 <= high <= 0xDFFF:
        return chr(high), position
    if high > 0xDBFF or text[position : position + 2] != "\\u":
        raise PathSyntaxError("lone surrogate in a name")
    low = _code_unit(text, position + 2)
    if not 0xDC00 <= low <= 0xDFFF:
        raise PathSyntaxError("lone surrogate in a name")
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), position + 6


def _code_unit(text: str, position: int) -> int:
    digits = _HEX.match(text, position)
    if not digits:
        raise PathSyntaxError("expected four hexadecimal digits after \\u")
    return int(digits[0], 16)


def follow(value: Any, path: Path) -> Any:
    """The value at `path` in `value`.

    Raises:
        PlaceMissingError: There is no such place.
    """
    here = value
    for found, segment in enumerate(path):
        if isinstance(segment, str):
            present = isinstance(here, dict) and segment in here
        else:
            present = isinstance(here, list) and -len(here) <= segment < len(here)
        if not present:
            raise PlaceMissingError(path, found, here)
        here = here[segment]
    return here


def format_path(path: Sequence[str | int]) -> str:
    """The path in its shortest spelling, such as `.items[0]["odd key"]`."""
    return "".join(map(_format_segment, path))


def _format_segment(segment: str | int) -> str:
    if isinstance(segment, int):
        return f"[{segment}]"
    if _NAME.fullmatch(segment):
        return f".{segment}"
    escaped = "".join(_format_character(character) for character in segment)
    return f'["{escaped}"]'


def _format_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return f"\\u{ord(character):04x}" if character < " " else character


def describe(value: Any) -> str:
    """A value in a few words, for messages: its JSON type, and its properties or its length."""
    match value:
        case dict():
            noun = "property" if len(value) == 1 else "properties"
            return f"object with {noun} {_names(value)}" if value else "empty object"
        case list():
            return f"array of {counted(len(value), 'item')}" if value else "empty array"
        case str():
            return f"string {quoted(value, 40)}"
        case None:
            return "null"
        case bool():
            return f"boolean {str(value).lower()}"
        case int() if value.bit_length() > 128:
            return f"integer of {value.bit_length():,} bits"
        case int():
            return f"integer {value}"
        case float():
            return f"number {value}"
        case _:
            return f"Python {type(value).__name__}"


def _names(value: dict[Any, Any]) -> str:
    return visible(listed((cut(name, 40) for name in sorted(map(str, value))), 12))
