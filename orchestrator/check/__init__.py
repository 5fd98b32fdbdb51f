"""Static analysis: everything schemas tell about a plan before the first call.

Rule: pure; an error is a value that fails whatever it turns out to be, and unknown is never an
error.

- `checker` checks a plan against tools, with `infer` for types of references and `assignable` for
  arguments.
- `lint` finds what is allowed and most likely unintended.
"""

from __future__ import annotations

__all__ = [
    "checker",
    "lint",
    "wishes",
]
