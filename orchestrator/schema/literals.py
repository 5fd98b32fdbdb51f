"""Names, values and bounds of a JSON Schema as short text.

The rule of this file: a value of any kind becomes one line of a bounded length, and nothing raises;
what cannot be seen is escaped, so that text from a server stays where it is put.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, visible

MAX_LITERAL = 60
_MAX_PATTERN = 30
_BEYOND_ANY_BOUND = 2**53 - 1


def literal(value: Any) -> str:
    """A value as JSON on one line, cut if it is long."""
    try:
        text = to_json(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        return "..."
    return cut(visible(text[: MAX_LITERAL + 1]), MAX_LITERAL)


def named(name: Any) -> str:
    """The name of a field as it is, or in quotes where it is no plain name."""
    text = str(name)
    return text if text.isidentifier() and len(text) <= MAX_LITERAL else literal(text)


def details(schema: Mapping[str, Any]) -> str:
    """What a text has to be, in brackets: its format or else its pattern, and its length."""
    form, pattern = schema.get("format") or schema.get("contentEncoding"), schema.get("pattern")
    longest, found = _number(schema.get("maxLength")), []
    if isinstance(form, str):
        found.append(cut(visible(form), MAX_LITERAL))
    elif isinstance(pattern, str) and 0 < len(pattern) <= _MAX_PATTERN:
        found.append(f"/{visible(pattern)}/")
    if longest:
        found.append(f"at most {longest}")
    return f"({', '.join(found)})" if found else ""


def bounds(schema: Mapping[str, Any]) -> str:
    """The bounds of a number: ` 1..100`, ` 1..`, ` ..100`, ` >0`, ` >0 <1`; empty without any.

    Draft 4 wrote `exclusiveMinimum: true` beside the `minimum`.
    """
    low = _bound(schema.get("minimum"), schema.get("exclusiveMinimum"), ">")
    high = _bound(schema.get("maximum"), schema.get("exclusiveMaximum"), "<")
    if low.startswith(">") or high.startswith("<"):
        low, high = _as_sign(low, ">="), _as_sign(high, "<=")
        return f" {f'{low} {high}'.strip()}"
    return f" {low}..{high}" if low or high else ""


def _bound(bound: Any, beyond: Any, sign: str) -> str:
    inclusive, exclusive = _number(bound), _number(beyond)
    if beyond is True and inclusive:
        return f"{sign}{inclusive}"
    return f"{sign}{exclusive}" if exclusive else inclusive


def _as_sign(bound: str, sign: str) -> str:
    return bound if not bound or bound[0] in "<>" else f"{sign}{bound}"


def size(schema: Mapping[str, Any]) -> str:
    """How many items a list has: `2`, `1..`, `..5`, `1..5`; empty if any number."""
    low, high = _number(schema.get("minItems")), _number(schema.get("maxItems"))
    low = "" if low == "0" else low
    return low if low == high else f"{low}..{high}"


def _number(value: Any) -> str:
    """A bound as text; empty if it is none, or so large that it bounds nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not -_BEYOND_ANY_BOUND < value < _BEYOND_ANY_BOUND:
        return ""
    return str(int(value)) if value == math.floor(value) else str(value)
