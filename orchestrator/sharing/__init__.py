"""What all processes of this user on a machine share: limits, rates and locks.

Rule: the kernel knows who is alive. Nothing says how long a process may hold what it holds, nobody
has to clean up behind one that was killed, and no process serves the others.

- `line` is the line in which processes stand for what they share, `window` the last starts under a
  rate, `place` where the files of both are.
- `machine` grants by them.
"""

from __future__ import annotations

__all__ = ["machine", "place"]
