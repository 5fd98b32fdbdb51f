"""What processes share that know nothing of each other: limits, rates and locks.

Rule: what ends with a process frees what it held, so nobody has to clean up behind one that was
killed, nothing says how long a process may hold what it holds, and no process serves the others.

- `line` is the line in which processes stand for what they share, `window` the last starts under a
  rate, `place` where the files of both are.
- `machine` grants by them what all processes of this user on a machine share: the kernel knows who
  is alive.
- `cluster` grants what all processes share that have the same journal in PostgreSQL: its server
  knows who is alive. `link` is the thread that asks it, for what is `asked`, `tables` what it
  does, and `holders` who holds what.
"""

from __future__ import annotations

__all__ = ["cluster", "holders", "machine", "place", "tables"]
