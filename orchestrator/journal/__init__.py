"""Runs that survive their process: what a run has come to, in one SQLite file.

The room's one rule: what was acknowledged is never lost, and nothing is recorded twice.
"""

from __future__ import annotations

__all__ = ["database", "history", "journal", "kept_run", "recorder", "records"]
