"""Calls and their answers in a file: noted around the servers, or played in place of them.

Rule: the engine knows nothing of it; a recording is a pool of sessions like any other.

- `recording` is the file, read and written; `form` is its form, and what calls are found by.
- `record` notes the calls that a pool makes; `replay` is a pool that makes none and starts no
  server.
- `case` is a test of a workflow, `*.test.json`; `expect` compares it with a result.
- `schemas` are the JSON Schemas of both files.
- `people` are those who answer the questions of a replay.
- `clock` is an event loop that does not wait, for runs without servers.
"""

from __future__ import annotations

__all__ = ["case", "clock", "expect", "record", "recording", "replay", "schemas"]
