"""One call and the middleware around it.

Rule: a caller makes a `Call` and returns its output or raises `CallError`; it knows no graph and no
server.

- `call`: a `Call` is a frozen value, an `Attempt` the run state of its attempts.
- `middleware`: functions from caller to caller, one for each policy; `timeouts` and `repeat` have
  those that limit the time of a call, and that make it until something is so.
- `causes`: what a call waits for.
- `limits`: slots; `rates`: starts in a span of time; `adaptive`: slots whose number adapts.
- `grants`: limits, rates and locks that something outside of the process grants.
- `locks`: named locks; `waits`: the calls that wait for them.
- `tracing`: what an attempt is traced as.
- `retry`: whether a call is made again, and after how long.
- `worker_pool`: carries out queued calls without a task of the event loop for each.
"""

from __future__ import annotations

__all__ = [
    "adaptive",
    "call",
    "causes",
    "grants",
    "limits",
    "locks",
    "middleware",
    "policy",
    "rates",
    "repeat",
    "retry",
    "timeouts",
    "tracing",
    "waits",
    "worker_pool",
]
