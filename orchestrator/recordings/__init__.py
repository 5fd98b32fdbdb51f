"""Calls and their answers in a file: noted around the servers, or played in place of them.

Rule: the engine knows nothing of it; a recording is a pool of sessions like any other.

- `recording` is the file, read and written; `form` is its form, and what calls are found by.
- `record` notes the calls that a pool makes; `replay` is a pool that makes none and starts no
  server.
- `clock` is an event loop that does not wait, for runs without servers.
"""

from __future__ import annotations

__all__ = ["clock", "record", "recording", "replay"]
