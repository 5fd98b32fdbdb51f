"""Bytes to and from one server.

Rule: plain parameters in, message streams out; linear time, and a bound on every message and every
wait.

- `base` opens any transport; `stdio`, `process`, `stdin_writer`, `stderr` and `framing` are for
  programs, `http`, `sse`, `http_wire` and `http_client` for URLs.
- `authorization` sends tokens; its caller provides them.
- `delivery` tells whether a request was written; `handshake` watches the first ones.
"""

from __future__ import annotations

__all__ = [
    "authorization",
    "base",
    "delivery",
    "framing",
    "handshake",
    "http_client",
    "http_wire",
    "messages",
    "parameters",
    "process",
    "stderr",
]
