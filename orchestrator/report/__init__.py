"""Text and pictures of a plan, for people and models.

Rule: values in, text out; nothing is called and nothing is printed.

- `forecast` says what a plan will do, `plan_text` in words.
- `diagrams` and `svg` draw it, on the geometry of `layout`.
- `prompt` and `guide` are what a model is given.
"""

from __future__ import annotations

__all__ = [
    "diagrams",
    "forecast",
    "plan_text",
    "prompt",
    "svg",
]
