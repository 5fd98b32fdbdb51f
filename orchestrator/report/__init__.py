"""Text and pictures of a plan, for people and models.

Rule: values in, text out; nothing is called and nothing is printed.

- `forecast` is what a plan will do, with the times of `timing`; `plan_text` puts it in words.
- `diagrams` and `svg` draw it, with the geometry of `layout`.
- `run_history` is what happened in a run; `run_page` shows it as one HTML file, with the words of
  `run_text` and the pictures of `run_pictures`, and `perfetto` as a trace.
- `prompt` and `guide` are text for a model.
"""

from __future__ import annotations

__all__ = [
    "diagrams",
    "drawing",
    "forecast",
    "layout",
    "perfetto",
    "plan_text",
    "prompt",
    "run_failure",
    "run_history",
    "run_page",
    "run_pictures",
    "svg",
    "timing",
]
