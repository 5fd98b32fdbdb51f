"""Finds the line and column of a problem in a servers' file, and shows no secret of that line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonc import is_json, without_comments
from orchestrator.documents.parse import parse_json
from orchestrator.documents.positions import Node, Span, json_tree
from orchestrator.documents.toml_positions import toml_tree
from orchestrator.servers.config import FIELDS
from orchestrator.servers.redaction import HIDDEN, shown_fields
from orchestrator.workflow.source_map import LineSpan, Source, Tree

_MAY_BE_SECRET = frozenset({"args", "env", "headers", "oauth", "url"})
_PLAIN_FIELDS = frozenset(FIELDS) - _MAY_BE_SECRET
_PLAIN_TABLES = ("defaults", "budget")  # numbers and words, no secrets
_ASSIGNED = re.compile(r"""\s*["']?([\w-]*)["']?\s*[=:]\s*""")
_HEADER = re.compile(r"\s*(\[[^=]*|[{}]*|#.*)\s*")


class ConfigSource(Source):
    """The text of a servers' file: servers.toml, or JSON."""

    @staticmethod
    def _tree_of(path: Path) -> Tree:
        return _json_tree if is_json(path) else toml_tree

    def shown(self, span: LineSpan) -> tuple[str, LineSpan]:
        """The line of a span without secrets, with the span in it."""
        line = self.line(span.line)
        if self._secrets is None:
            return _shown_malformed(line, span)
        start = self._lines.offset(span.line, 1)
        for secret, text in reversed(self._secrets):  # from the end: places before stay the same
            begin, end = max(secret.start - start, 0), min(secret.end - start, len(line))
            if begin < end:
                line = line[:begin] + text + line[end:]
                span = _moved(span, begin, end, len(text))
        return line, span

    @cached_property
    def _secrets(self) -> list[tuple[Span, str]] | None:
        """What is not shown, by its places, and what is shown instead; None if it is unknown."""
        for parse in (_json_data, tomllib.loads):
            with suppress(ValueError, RecursionError):
                data = parse(self._text)
                return None if self._root is None else sorted(_secrets_in(self._root, data))
        return None


def _json_data(text: str) -> Any:
    return parse_json(without_comments(text))


def _json_tree(text: str) -> Node:
    return json_tree(without_comments(text))


def _secrets_in(root: Node, data: Any) -> Iterator[tuple[Span, str]]:
    for name, node in root.children.items():
        table = data[name]
        if name in ("servers", "mcpServers") and isinstance(table, dict):
            for server, fields in table.items():
                shown = shown_fields(fields, FIELDS) if isinstance(fields, dict) else {}
                for field, text in shown.items():
                    place = node.children[server].children[field]
                    hides_numbers = field in ("env", "headers", "oauth")
                    yield from _differences(place, fields[field], text, hides_numbers)
        elif name not in _PLAIN_TABLES:
            yield from _differences(node, table, shown_fields({name: table}, ())[name], True)


def _differences(
    node: Node, value: Any, shown: Any, hides_numbers: bool
) -> Iterator[tuple[Span, str]]:
    """What differs between a value and what may be shown of it."""
    if isinstance(value, dict | list):
        for step, child in node.children.items():
            key: Any = step if isinstance(value, dict) else int(step)
            yield from _differences(child, value[key], shown[key], hides_numbers)
    elif value != shown:
        yield node.span, to_json(shown)
    elif hides_numbers and not isinstance(value, str | bool | None):
        yield node.span, HIDDEN


def _moved(span: LineSpan, begin: int, end: int, length: int) -> LineSpan:
    """A span after the characters from `begin` to `end` of its line became `length` others."""
    start, stop = span.column - 1, span.column - 1 + span.length
    change = length - (end - begin)
    if begin >= stop:
        return span
    if end <= start:
        return replace(span, column=span.column + change)
    # The span holds the secret, or is in it.
    first, last = min(start, begin), max(stop, end) + change
    return replace(span, column=first + 1, length=max(last - first, 1))


def _shown_malformed(line: str, span: LineSpan) -> tuple[str, LineSpan]:
    """A line of a file that cannot be read, with a value only of a field without secrets."""
    assigned = _ASSIGNED.match(line)
    if _HEADER.fullmatch(line) or (assigned and assigned[1] in _PLAIN_FIELDS):
        return line, span
    shown = (assigned[0] if assigned else "") + HIDDEN
    column = min(span.column, len(shown) - len(HIDDEN) + 1)
    return shown, replace(span, column=column, length=1)
