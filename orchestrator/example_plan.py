"""A short workflow made of the tools at hand, to be read by who is to write one.

The rule of this file: what it makes is valid against the tools that it is made of, and calls none
that declares that it writes; it is the same for the same tools, in whatever order they come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.calls import Tool
from orchestrator.encoding import to_json
from orchestrator.guide import EXAMPLE

_PLAIN = frozenset({"type", "title", "description"})  # nothing that a value could miss
_SCALARS = ("string", "integer", "number", "boolean")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES_OF_TEXTS = ("text", "content", "message", "body", "input", "prompt", "query", "question")


def example_of(tools: Iterable[Tool]) -> dict[str, Any]:
    """A workflow of two of the tools; or of others, if no two of these go together."""
    usable = [tool for tool in tools if tool.read_only is not False and not tool.destructive]
    takers = [tool for tool in usable if _is_taker(tool)]
    givers = [tool for tool in usable if _needed(tool)]
    if not takers or not givers:
        return EXAMPLE
    giver = min(givers, key=_order_of_givers)
    others = [tool for tool in takers if tool.target != giver.target] or takers
    return _workflow(giver, min(others, key=lambda tool: _order_of_takers(tool, giver.server)))


def workflow_text(workflow: Mapping[str, Any]) -> str:
    """A workflow as JSON with a line for each field and each task."""
    lines = [f"  {to_json(name)}: {_field_text(value)}" for name, value in workflow.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _field_text(value: Any) -> str:
    if not isinstance(value, list):
        return to_json(value)
    return "[\n" + ",\n".join(f"    {to_json(item)}" for item in value) + "\n  ]"


def _workflow(giver: Tool, taker: Tool) -> dict[str, Any]:
    """The giver for each item of an input, and the taker for what all of these gave."""
    first, *more = kinds = _needed(giver)
    inputs = {f"{first}_list": {"type": "array", "items": {"type": kinds[first]}}}
    inputs |= {name: {"type": kinds[name]} for name in more}
    (argument,) = _needed(taker)
    field = next(iter(_texts_of(giver)), None)
    joined = (
        f"join(', ', OUTPUT[collected][*].{field})" if field else "to_string(OUTPUT[collected])"
    )
    collected = {
        "id": "collected",
        "tool": giver.target,
        "for_each": f"$INPUT.{first}_list",
        "arguments": {first: "$ITEM", **{name: f"$INPUT.{name}" for name in more}},
        "retry": 2,
        "fallback": {"value": []},
    }
    report = {
        "id": "report",
        "tool": taker.target,
        "arguments": {argument: f"${{{joined}}}"},
        "when": "length(OUTPUT[collected]) > 0",
    }
    return {"inputs": inputs, "tasks": [collected, report], "output": EXAMPLE["output"]}


def _order_of_givers(tool: Tool) -> tuple[Any, ...]:
    """Best is one that says that it only reads, takes one text, and gives several fields."""
    kinds, given = _needed(tool), _texts_of(tool)
    is_simple = list(kinds.values()) == ["string"]
    return tool.read_only is None, not given, not is_simple, -_fields(tool), tool.target


def _order_of_takers(tool: Tool, server: str) -> tuple[Any, ...]:
    """Best is one that says that it only reads, takes a text, and is on another server."""
    (name,) = _needed(tool)
    known = _NAMES_OF_TEXTS.index(name) if name in _NAMES_OF_TEXTS else len(_NAMES_OF_TEXTS)
    return tool.read_only is None, tool.server == server, known, tool.target


def _is_taker(tool: Tool) -> bool:
    return list(_needed(tool).values()) == ["string"]


def _needed(tool: Tool) -> dict[str, str]:
    """The types of what a tool requires; none if it requires something that is no plain scalar."""
    required, listed = tool.input_schema.get("required"), tool.input_schema.get("properties")
    if not isinstance(required, list) or not isinstance(listed, Mapping):
        return {}
    kinds = {str(name): _plain_type(name, listed.get(name)) for name in required}
    return {} if "" in kinds.values() else kinds


def _texts_of(tool: Tool) -> list[str]:
    """The fields of a tool's output that are always there and are texts, what it took last."""
    schema = tool.output_schema or {}
    required, listed = schema.get("required"), schema.get("properties")
    if not isinstance(required, list) or not isinstance(listed, Mapping):
        return []
    taken = _needed(tool)
    texts = [str(name) for name in required if _plain_type(name, listed.get(name)) == "string"]
    return sorted(texts, key=lambda name: name in taken)


def _fields(tool: Tool) -> int:
    listed = (tool.output_schema or {}).get("properties")
    return len(listed) if isinstance(listed, Mapping) else 0


def _plain_type(name: Any, schema: Any) -> str:
    """The type of a field that any value of that type fits; empty if there may be more to it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(schema, Mapping):
        return ""
    kind = schema.get("type")
    return kind if kind in _SCALARS and _PLAIN.issuperset(schema) else ""
