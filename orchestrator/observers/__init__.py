"""Observers of a run.

Rule: an observer receives events and returns nothing; deleting one touches nothing else. The
`Observer` protocol is in `engine.events`: `start`, `on_event`, `stop`.

- `time_left` foresees how long a run still takes.
- `terminal` shows progress, `progress_lines` writes it to a log.
- `jsonl` writes events to a file.
"""

from __future__ import annotations

__all__ = [
    "jsonl",
    "progress_lines",
    "terminal",
    "time_left",
]
