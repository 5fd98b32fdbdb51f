"""Workflows made from what was done by hand.

Rule: what is written is proved by running it against what was recorded; what is a guess is said.

- `transcript` reads recorded tool calls.
- `kept_runs` reads those of runs in a journal.
- `reads` says what the plan of such a run reads where.
- `origins` finds where the values in their arguments came from.
- `loops` finds calls that do the same for each item of a list.
- `learn` writes the workflow, and proves it.
"""

from __future__ import annotations

__all__ = ["kept_runs", "learn", "transcript"]
