"""Finds the offsets of the values in the text of a JSON or YAML document.

A container is only scanned when its children are asked for, so finding one place in a big file
costs little more than skipping what is before it.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import yaml

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)  # only to find where a value ends
_SPACE = re.compile(r"[ \t\n\r]*")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_UNIT = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.", re.DOTALL)


class Span(NamedTuple):
    """A piece of a text."""

    start: int
    end: int  # the offset after its last character


@dataclass
class Node:
    """A value in a document."""

    span: Span
    name: Span | None  # of its property name, quotes included; None if it is not in an object
    scan: Callable[[], dict[str, Node]]  # finds its children

    @cached_property
    def children(self) -> dict[str, Node]:
        """The values in it, by property name or by index as a string."""
        return self.scan()


def lookup(root: Node, steps: Sequence[str]) -> tuple[Node, bool]:
    """The value that some steps lead to, and True; or the last one on the way, and False."""
    here = root
    for step in steps:
        if step not in here.children:
            return here, False
        here = here.children[step]
    return here, True


def json_tree(text: str) -> Node:
    """The root of a JSON document; raises a ValueError, here or in a scan, if it is malformed."""
    start = _skip(text, 0)
    return _json_node(text, start, _end(text, start), None)


def _json_node(text: str, start: int, end: int, name: Span | None) -> Node:
    return Node(Span(start, end), name, lambda: dict(_json_children(text, start)))


def _json_children(text: str, start: int) -> Iterator[tuple[str, Node]]:
    opening, here, count = text[start], _skip(text, start + 1), 0
    while opening in "{[" and text[here] not in "}]":
        step, name = str(count), None
        if opening == "{":
            name = Span(here, _end(text, here))
            step = json.loads(text[name.start : name.end])
            here = _skip(text, _skip(text, name.end) + 1)  # past the colon
        end = _end(text, here)
        yield step, _json_node(text, here, end, name)
        count += 1
        here = _skip(text, end)
        if text[here] == ",":
            here = _skip(text, here + 1)


def _skip(text: str, offset: int) -> int:
    space = _SPACE.match(text, offset)
    return space.end() if space else offset


def _end(text: str, start: int) -> int:
    try:
        return int(_DECODER.raw_decode(text, start)[1])
    except RecursionError:
        return _end_of_deep(text, start)


def _end_of_deep(text: str, start: int) -> int:
    # Counting brackets is slower than the decoder, but has no limit of depth.
    depth = 0
    for token in TOKEN.finditer(text, start):
        depth += (token[0] in ("{", "[")) - (token[0] in ("}", "]"))
        if not depth:
            return token.end()
    raise ValueError("unclosed container")


def yaml_tree(text: str) -> Node | None:
    """The root of a YAML document; None if it is empty, a ValueError if it is malformed."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as failure:
        raise ValueError(str(failure)) from None
    return None if root is None else _yaml_node(root, None)


def _yaml_node(node: yaml.Node, name: Span | None) -> Node:
    return Node(_marked(node), name, lambda: dict(_yaml_children(node)))


def _merges(name: yaml.Node) -> bool:
    return bool(name.tag.endswith(":merge"))


def _marked(node: yaml.Node) -> Span:
    return Span(node.start_mark.index, node.end_mark.index)


def _yaml_children(node: yaml.Node) -> Iterator[tuple[str, Node]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        # The properties of the object itself come last, as they count.
        for name, value in sorted(node.value, key=lambda pair: not _merges(pair[0])):
            if _merges(name):
                several = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for each in reversed(several):
                    yield from _yaml_children(each)
            else:
                yield str(name.value), _yaml_node(value, _marked(name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), _yaml_node(value, None)


def within(text: str, string: Span, piece: str) -> Span | None:
    """The place of a piece of a string's value, despite escapes; None if it is not there."""
    raw = text[string.start : string.end]
    if not raw.startswith('"') or "\\" not in raw:
        offset = raw.find(piece)
        begin = string.start + offset
        return Span(begin, begin + len(piece)) if offset >= 0 else None
    units = list(_UNIT.finditer(raw, 1, len(raw) - 1))
    offset = "".join(map(_meant, units)).find(piece)
    if offset < 0:
        return None
    last = units[offset + len(piece) - 1]
    return Span(string.start + units[offset].start(), string.start + last.end())


def _meant(unit: re.Match[str]) -> str:
    try:
        return str(json.loads(f'"{unit[0]}"'))
    except ValueError:  # an escape that only YAML has: one character, whichever
        return "\0"


def token_at(text: str, offset: int) -> Span:
    """The JSON token at an offset, in YAML too as far as it looks alike."""
    token = TOKEN.match(text, offset)
    return Span(offset, token.end() if token else offset + 1)


class LineIndex:
    """The lines of a text. Lines and columns count from 1."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = list(accumulate((len(line) + 1 for line in self._lines), initial=0))

    def place(self, offset: int) -> tuple[int, int]:
        """The line and the column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The offset of a character; the end of the text if it has no such line."""
        return min(self._starts[min(line, len(self._starts)) - 1] + column, self._starts[-1]) - 1

    def line(self, number: int) -> str:
        """A line without its newline; empty if the text has fewer."""
        return self._lines[number - 1] if number <= len(self._lines) else ""

    def end(self, offset: int) -> int:
        """The offset of the end of a character's line."""
        return self._starts[self.place(offset)[0]] - 1
