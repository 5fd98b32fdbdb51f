"""Text and pictures of a plan, for people and models.

Rule: values in, text out; nothing is called and nothing is printed.

- `forecast` is what a plan will do; `plan_text` puts it in words.
- `diagrams` and `svg` draw it, with the geometry of `layout`.
- `prompt` and `guide` are text for a model.
"""

from __future__ import annotations

__all__ = [
    "diagrams",
    "forecast",
    "plan_text",
    "prompt",
    "svg",
]
