"""Tools and types in one line, for people and models.

The rule of this file: text out of a JSON Schema; nothing is checked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.notation import LIMIT, Writer, fitted
from orchestrator.wording import visible

if TYPE_CHECKING:
    from orchestrator.calls import Tool

__all__ = ["signature", "tool_text", "type_text"]


def type_text(schema: Any, limit: int = LIMIT) -> str:
    """A JSON Schema as a type: `{title: string, url: string, score?: number}[]`.

    Args:
        schema: The schema; it may be wrong in any way, and what it does not say is `any`.
        limit: The length, characters: what is longer is shown to fewer levels, and then cut.
    """
    return fitted(lambda writer, level: writer.type(schema, level), schema, limit)


def signature(tool: Tool, limit: int = LIMIT) -> str:
    """The arguments of a tool in short: `city: string, days: integer = 3`.

    What has a default or a question mark may be left out. `limit` is the length, characters.
    """
    schema = tool.input_schema

    def write(writer: Writer, level: int) -> str:
        return writer.arguments(schema, level)

    return fitted(write, schema, limit)


def tool_text(tool: Tool) -> str:
    """A tool in one line: `weather:forecast(city: string) -> {city: string, wind_kmh: integer}`.

    A tool that does not describe its output has no arrow.
    """
    called = f"{visible(tool.target)}({signature(tool)})"
    if tool.output_schema is None:
        return called
    return f"{called} -> {type_text(tool.output_schema)}"
