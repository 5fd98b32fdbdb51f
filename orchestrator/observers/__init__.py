"""Observers of a run.

Rule: an observer receives events and returns nothing; deleting one touches nothing else. The
`Observer` protocol is in `engine.events`: `start`, `on_event`, `stop`.

- `terminal` shows progress, `jsonl` writes events to a file, `statistics` keeps call times.
"""

from __future__ import annotations

__all__ = [
    "jsonl",
    "statistics",
    "terminal",
]
