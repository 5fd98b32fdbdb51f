"""Writes values as JSON text that is always valid (RFC 8259)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.documents.text import escaped, visible

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
    if ascii_only and not text.isascii():
        text = _NOT_ASCII.sub(lambda found: escaped(found[0]), text)
    return visible(text, keep="\n")


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
