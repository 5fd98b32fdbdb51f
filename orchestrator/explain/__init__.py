"""What a run that is over tells: where its time went, and what it would have taken otherwise.

Rule: computed from the workflow and its results alone; no server is known, and nothing is printed.

- `story` is what happened: each call with its time, its waits, and what it had to come after;
  reports and pages show its `Span`s.
- `path` is what decided how long the run took, and who held what was waited for.
- `what_if` runs the recorded times through the engine again, with other settings, on a clock that
  jumps; `changes` are the settings that it tries, and `sessions` says
  which servers more sessions may help.
- `sentences` puts all of it in words.
"""

from __future__ import annotations

__all__ = ["changes", "path", "sentences", "sessions", "story", "what_if"]
