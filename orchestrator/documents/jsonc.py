"""JSON with comments, as editors write it."""

from __future__ import annotations

import re
from pathlib import Path

_SUFFIXES = (".json", ".jsonc")
_GAP = r"(?:\s|//[^\n]*|/\*.*?\*/)"
_EXTRA = re.compile(rf'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?={_GAP}*[\]}}])', re.DOTALL)
_VISIBLE = re.compile(r"\S")


def is_json(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def without_comments(text: str) -> str:
    """The text with comments and trailing commas as blanks, so that every place stays the same."""
    return _EXTRA.sub(lambda found: found[0] if found[0][0] == '"' else _blank(found[0]), text)


def _blank(text: str) -> str:
    return _VISIBLE.sub(" ", text)
