"""The warm pool: a process that keeps servers running, and those that use it.

Rule: a run stays in the process that began it; only its calls, and what limits them, go through the
socket.

- `place` is where a pool is found: files that nobody else can reach.
- `configuration` is what a pool is given of servers, and how two of them are compared.
- `wire` moves messages, `connection` is the side that asks.
- `host` is the side that answers: it keeps the servers; `guest` is one client there.
- `warm_pool` is a pool whose servers are elsewhere, `warm_server` one of them, `lease` its limits.
- `process` is the life of the process.
- `fork_server` forks commands, with all that they import loaded; `fork_client` is the command that
  the shell started; `where` is what that needs to find the other, and loads next to nothing.
"""

from __future__ import annotations

__all__ = [
    "configuration",
    "connection",
    "fork_client",
    "fork_server",
    "place",
    "process",
    "warm_pool",
    "where",
]
