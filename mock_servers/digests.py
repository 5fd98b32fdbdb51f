"""What a delay answers besides its label: proof of what it was given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def digest(label: str, inputs: Sequence[str]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of `[label, inputs]` as compact JSON."""
    text = json.dumps([label, list(inputs)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
