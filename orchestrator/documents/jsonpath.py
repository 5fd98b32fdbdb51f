"""Singular paths: one place in a JSON value, as in RFC 9535 (JSONPath)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from orchestrator.documents.text import counted, cut, joined, listed, quoted, visible

Path = tuple[str | int, ...]

# RFC 9535, section 2.5.1.1: member-name-shorthand.
_LETTER = r"A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff"
_NAME = re.compile(rf"[{_LETTER}][0-9{_LETTER}]*")
_DOT_NAME = re.compile(rf"\.({_NAME.pattern})")
_LOOKALIKE = re.compile(rf"\.(?:\.(?:\[|{_NAME.pattern})|(?P<digit>[0-9]))")
# Section 2.3.3.1: no leading zeros, no minus zero; and section 2.1: I-JSON's range.
_INDEX = re.compile(r"0|-?[1-9][0-9]*")
MAX_INDEX = 2**53 - 1
_OPENING = re.compile(r"\[[ \t\n\r]*")
_CLOSING = re.compile(r"[ \t\n\r]*\]")
_CHARACTER = re.compile(r"\\u(?P<unit>[0-9A-Fa-f]{4})|\\(?P<letter>.?)|.", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
IN_BRACES = "; wildcards, slices and filters need ${...}"


class PathSyntaxError(ValueError):
    """A malformed path."""


class PlaceMissingError(LookupError):
    """A path leads to no place in a value: only `found` of its segments exist."""

    def __init__(self, path: Path, found: int, value: Any) -> None:
        self.found = found
        self.keys = sorted(map(str, value)) if isinstance(value, dict) else None
        self._path, self.value = path, value  # `value`: what the segments found lead to
        super().__init__(self.message("the value"))

    @property
    def before(self) -> Path:
        """The segments that exist."""
        return self._path[: self.found]

    def message(self, root: str) -> str:
        """What is missing and what is there instead, for a value that messages call `root`."""
        step, value = self._path[self.found], self.value
        there = f"it is {describe(value)}"
        if isinstance(step, int):
            lacks = f"has no index {step}"
            if isinstance(value, list):
                there = f"length {len(value):,}"
        else:
            lacks = f"has no property {quoted(step)}"
            if value and isinstance(value, dict):
                there = f"it has: {_names(value)}"
        return f"{root}{format_path(self._path[: self.found])} {lacks} ({there})"


def parse_path(text: str, start: int = 0) -> tuple[Path, int]:
    """The longest path in `text` from `start` on, and the position after it.

    Raises:
        PathSyntaxError: A `[` that opens no segment, a `..name`, a name that starts with a digit.
    """
    segments: list[str | int] = []
    position = start
    while True:
        if opening := _OPENING.match(text, position):
            segment, position = _in_brackets(text, opening)
            segments.append(segment)
        elif name := _DOT_NAME.match(text, position):
            segments.append(name[1])
            position = name.end()
        else:  # a dot that no name follows is punctuation
            break
    if lookalike := _LOOKALIKE.match(text, position):
        if lookalike["digit"]:
            raise PathSyntaxError('unexpected digit after "."; write an index as [0]')
        raise PathSyntaxError('unexpected "..": a path names one place')
    return tuple(segments), position


def _in_brackets(text: str, opening: re.Match[str]) -> tuple[str | int, int]:
    segment: str | int
    if text[opening.end() : opening.end() + 1] in ("'", '"'):
        segment, position = _quoted(text, opening.end())
    elif index := _INDEX.match(text, opening.end()):
        # Python refuses to convert more than 4,300 digits; 20 are enough to be out of range.
        segment, position = int(index[0][:20]), index.end()
        if abs(segment) > MAX_INDEX:
            raise PathSyntaxError(f"index {index[0][:20]} is out of range (limit 2^53 - 1)")
    else:
        raise PathSyntaxError(
            f'expected an index such as [0], or a name such as ["a b"], after "["{IN_BRACES}'
        )
    if closing := _CLOSING.match(text, position):
        return segment, closing.end()
    hint = IN_BRACES if text[position:].lstrip().startswith((":", ",")) else ""
    raise PathSyntaxError(f'expected "]" after {quoted(text[opening.start() : position])}{hint}')


def _quoted(text: str, start: int) -> tuple[str, int]:
    quote, position = text[start], start + 1
    characters: list[str] = []
    while character := _CHARACTER.match(text, position):
        position = character.end()
        if character[0] == quote:
            try:
                return joined("".join(characters)), position
            except UnicodeDecodeError:
                raise PathSyntaxError("lone surrogate in a name") from None
        characters.append(_unescaped(character, quote))
    raise PathSyntaxError(f"unclosed {quote} in {quoted(text[start:], 20)}")


def _unescaped(character: re.Match[str], quote: str) -> str:
    unit, letter, plain = character["unit"], character["letter"], character[0]
    if unit:
        return chr(int(unit, 16))
    if letter is None:
        if plain < " " or "\ud800" <= plain <= "\udfff":
            raise PathSyntaxError(f"unescaped character {quoted(plain)} in a name")
        return plain
    if letter == "u":
        raise PathSyntaxError("expected four hexadecimal digits after \\u")
    if letter == quote:
        return quote
    if letter not in _ESCAPES:
        raise PathSyntaxError(f"unknown escape \\{visible(letter)} in a name")
    return _ESCAPES[letter]


def follow(value: Any, path: Path) -> Any:
    """The value at `path` in `value`; a PlaceMissingError if there is none."""
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
    if isinstance(segment, str) and _NAME.fullmatch(segment):
        return f".{segment}"
    return f"[{json.dumps(segment, ensure_ascii=False)}]"


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
