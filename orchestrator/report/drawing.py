"""What pictures of plans and of runs have in common: text of a known width, and edges."""

from __future__ import annotations

import unicodedata
from html import escape
from itertools import pairwise

from orchestrator.documents.text import MAX_NAME, visible
from orchestrator.report.layout import Point

LETTER = 7.3  # the assumed width of one of 12 px: the font is only known to be monospaced


def curve(points: tuple[Point, ...]) -> str:
    """Curves between columns, straight lines through them."""
    x, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        end = to_x - 7 if number == len(points) - 2 else to_x  # leaves room for the tip
        half = (x + to_x) / 2
        bend = f"C{half:.1f} {y:.1f} {half:.1f} {to_y:.1f} {end:.1f} {to_y:.1f}"
        path += f"L{end:.1f} {to_y:.1f}" if number % 2 else bend
    return path


def letters(text: str) -> int:
    """How many columns a text takes."""
    # Wide letters of East Asia count twice.
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten(text: str, limit: int) -> str:
    """A name, cut to so many columns."""
    text = visible(text[:MAX_NAME])
    if letters(text) <= limit:
        return text
    kept = text[: limit - 3]
    while letters(kept) > limit - 3:
        kept = kept[:-1]
    return f"{kept}..."


def content(text: str) -> str:
    """The same as the content of an element only: quotes stay, of which JSON has many."""
    return escape(visible(text, keep="\n"), quote=False)


def xml(text: str) -> str:
    """Text as HTML and SVG have it: never markup, and each character visible."""
    return escape(visible(text, keep="\n"))
