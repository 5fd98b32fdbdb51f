"""Tools and types in one line, for people and models.

The rule of this file: text out of a JSON Schema; nothing is checked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.calls import Tool


def signature(tool: Tool) -> str:
    """The arguments of a tool in short: `city: string, days: integer = 3`."""
    required = tool.input_schema.get("required", ())
    properties = tool.input_schema.get("properties", {})
    return ", ".join(
        _argument(name, schema, name in required) for name, schema in properties.items()
    )


def _argument(name: str, schema: Any, required: bool) -> str:
    described = schema if isinstance(schema, dict) else {}
    kind = described.get("type", "any")
    kind = "|".join(kind) if isinstance(kind, list) else kind
    if "default" in described:
        return f"{name}: {kind} = {described['default']!r}"
    return f"{name}: {kind}" if required else f"{name}?: {kind}"
