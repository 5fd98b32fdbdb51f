"""JSON text out of values.

The rule of this file: what comes out is valid JSON (RFC 8259), and any UTF-8 stream takes it.
"""

from __future__ import annotations

import json
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text.

    Raises:
        ValueError: It holds NaN or Infinity, which outputs and arguments never do.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value, allow_nan=False, indent=indent)
    return text
