"""Finds the offsets of the values in the text of a TOML document that `tomllib` accepts.

No maintained parser of TOML gives positions. As the document is valid, one pass over its tokens is
enough: keys, table headers and where values begin and end.
"""

from __future__ import annotations

import re
import tomllib

from orchestrator.documents.positions import Node, Span

_GAP = re.compile(r"(?:\s|#[^\n]*)*")
_STRING = (
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    + r"|'''.*?'''(?:'{0,2})|"
    + r'"(?:\\.|[^"\\])*"|'
    + "'[^']*'"
)
_KEY = re.compile(rf"(?:{_STRING}|[A-Za-z0-9_-]+)", re.DOTALL)
# A date and a time may be separated by a blank.
_VALUE = re.compile(rf"{_STRING}|\d{{4}}-\d\d-\d\d [^,\]}}\s#]+|[^,\]}}\s#]+", re.DOTALL)

Key = list[tuple[str, Span]]


def toml_tree(text: str) -> Node:
    """The root of a TOML document; raises a ValueError if it is malformed.

    The place of a table is the name in its header.
    """
    tomllib.loads(text)
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Node:
        root = here = _table(Span(0, len(self._text)), None)
        while self._skip() < len(self._text):
            if self._accept("[["):
                here = _enter(root, self._key(), is_array=True)
                self._accept("]]")
            elif self._accept("["):
                here = _enter(root, self._key())
                self._accept("]")
            else:
                self._property(here)
        return root

    def _property(self, table: Node) -> None:
        *above, (name, span) = self._key()
        holder = _enter(table, above) if above else table
        self._accept("=")
        holder.children[name] = self._value(span)

    def _key(self) -> Key:
        key: Key = []
        while not key or self._accept("."):
            span = self._take(_KEY)
            raw = self._text[span.start : span.end]
            key.append((tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw, span))
        return key

    def _value(self, name: Span | None) -> Node:
        start = self._skip()
        if self._accept("["):
            node = _table(Span(start, start), name)
            while not self._accept("]"):
                node.children[str(len(node.children))] = self._value(None)
                self._accept(",")
        elif self._accept("{"):
            node = _table(Span(start, start), name)
            while not self._accept("}"):
                self._property(node)
                self._accept(",")
        else:
            return _table(self._take(_VALUE), name)
        node.span = Span(start, self._at)
        return node

    def _skip(self) -> int:
        gap = _GAP.match(self._text, self._at)
        self._at = gap.end() if gap else self._at
        return self._at

    def _accept(self, token: str) -> bool:
        """Whether a token is next, which is then passed."""
        found = self._text.startswith(token, self._skip())
        self._at += len(token) if found else 0
        return found

    def _take(self, pattern: re.Pattern[str]) -> Span:
        found = pattern.match(self._text, self._skip())
        if found is None:  # only if tomllib accepts what this module does not know
            raise ValueError(f"unexpected TOML at offset {self._at}")
        self._at = found.end()
        return Span(found.start(), found.end())


def _table(span: Span, name: Span | None) -> Node:
    return Node(span, name, dict)  # its children are added as they are found


def _enter(table: Node, key: Key, *, is_array: bool = False) -> Node:
    """The table with a key below another one; it is made if it is new."""
    start = key[0][1].start
    for index, (name, span) in enumerate(key):
        is_last = index + 1 == len(key)
        table = table.children.setdefault(name, _table(Span(start, span.end), span))
        if is_array and is_last:
            position = str(len(table.children))
            table = table.children.setdefault(position, _table(Span(start, span.end), None))
        elif "0" in table.children and not is_last and _is_array(table):
            table = table.children[str(len(table.children) - 1)]
    return table


def _is_array(table: Node) -> bool:
    return all(child.name is None for child in table.children.values())
