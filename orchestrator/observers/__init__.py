"""Observers of a run.

Rule: an observer receives events and gives nothing back; each can be deleted without touching the
rest.

- `terminal` shows progress, `jsonl` writes events to a file, `statistics` keeps call times.
"""

from __future__ import annotations

__all__ = [
    "jsonl",
    "statistics",
    "terminal",
]
