"""The definition of a tool as JSON, in the names that MCP has for its parts, and its hash.

The rule of this file: a definition is all of a tool that its user or a model may be led by; two of
them are the same if their canonical JSON is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.calls import Tool
from orchestrator.encoding import to_json

HINTS = {
    "readOnlyHint": "read_only",
    "destructiveHint": "destructive",
    "idempotentHint": "idempotent",
    "openWorldHint": "open_world",
}


def definition_of(tool: Tool) -> dict[str, Any]:
    """The definition of a tool; what it does not have, or leaves empty, is not there.

    Values that JSON does not have, such as Infinity, are text, as in `orchestrator.encoding`.
    """
    hints = {hint: getattr(tool, field) for hint, field in HINTS.items()}
    annotations = {"title": tool.annotated_title or None, **hints}
    parts = {
        "title": tool.title or None,
        "description": tool.description or None,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": _given(annotations) or None,
    }
    made: dict[str, Any] = json.loads(to_json(_given(parts)))
    return made


def _given(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value is not None}


def tool_of(server: str, name: str, definition: Mapping[str, Any]) -> Tool:
    """The tool of a definition, whose parts have the types that MCP says."""
    annotations = definition.get("annotations", {})
    return Tool(
        server,
        name,
        definition["inputSchema"],
        title=definition.get("title", ""),
        description=definition.get("description", ""),
        output_schema=definition.get("outputSchema"),
        annotated_title=annotations.get("title", ""),
        **{field: annotations.get(hint) for hint, field in HINTS.items()},
    )


def canonical_json(value: Any) -> bytes:
    """A JSON value in its one form: names sorted, no blanks, UTF-8 without escapes."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # half of a surrogate pair as JSON escapes it


def hash_of(name: str, definition: Mapping[str, Any]) -> str:
    """The SHA-256 of a definition and its tool's name, as `sha256:` and 64 hexadecimal digits."""
    digest = hashlib.sha256(canonical_json({"name": name, **definition}))
    return f"sha256:{digest.hexdigest()}"
