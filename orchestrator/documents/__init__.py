"""JSON and YAML as text, values and places in them.

Rule: nothing here knows of workflows, tools or servers.

- `files` reads and writes text, `file_lock` is a lock that the kernel frees with its process,
  `parse` reads JSON strictly and `yaml_document` YAML, `jsonc` drops
  comments from JSON, `encode` writes valid JSON.
- `differences` finds where two values differ.
- `jsonpath` names a place in a value (RFC 9535), `pointer` a place in a file (RFC 6901).
- `collector` and `threads` keep long work from stopping all else.
- `positions` and `toml_positions` find the line and column of a place.
- `validation` turns pydantic's errors into problems; `suggest` finds the nearest valid names.
- `uris` compares names with patterns, a URI in all forms in which it can be written.
"""

from __future__ import annotations

__all__ = [
    "collector",
    "differences",
    "encode",
    "file_lock",
    "files",
    "jsonc",
    "jsonpath",
    "parse",
    "pointer",
    "positions",
    "suggest",
    "text",
    "threads",
    "toml_positions",
    "uris",
    "validation",
]
