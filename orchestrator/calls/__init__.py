"""One call and the middleware around it.

Rule: a caller takes a `Call` and returns an output or raises `CallError`; it knows no graph and no
server.

- `call` is the call, `middleware` the policies around it (a policy is a function from caller to
  caller).
- `limits` are slots, rates and locks; `adaptive` slots find their own number.
- `retry` decides whether a call is repeated, and when.
- `worker_pool` runs queued calls without a task of the event loop for each.
"""

from __future__ import annotations

__all__ = [
    "adaptive",
    "call",
    "limits",
    "middleware",
    "retry",
    "worker_pool",
]
