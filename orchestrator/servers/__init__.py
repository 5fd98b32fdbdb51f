"""Sessions to servers: which are alive and what they list.

Rule: besides `transport`, the only room that knows the SDK; each session lives in a task of its
own.

- `config` reads servers.toml.
- `pool` holds all sessions, `supervisor` starts and replaces those of one server, `session` is one
  and `health` watches it.
- `catalog` is the live list of tools, `lockfile` the accepted one; `problems` reports names that
  neither has.
- `sdk_client`, `sdk_errors` and `sdk_results` translate to and from the SDK.
"""

from __future__ import annotations

__all__ = [
    "catalog",
    "config",
    "lockfile",
    "pool",
    "problems",
    "supervisor",
]
