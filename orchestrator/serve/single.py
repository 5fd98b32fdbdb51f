"""The tools of servers as tools of their own: each call is a run of one task.

So approvals, limits, locks and the journal hold for it as for any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.documents.text import visible
from orchestrator.schema.tool import HINTS, Tool
from orchestrator.serve.answers import ServedTool
from orchestrator.serve.shapes import output_schema
from orchestrator.workflow.model import Workflow


def single_tool(name: str, tool: Tool) -> ServedTool:
    """The tool of a server, as it is offered."""
    hints = {hint: getattr(tool, field) for hint, field in HINTS.items()}
    return ServedTool(
        name,
        tool.title or tool.annotated_title or tool.target,
        visible(tool.description, keep="\n") or f"The tool {tool.target}.",
        {**tool.asks_for, "type": "object"},
        output_schema(tool.output_type),
        {hint: value for hint, value in hints.items() if value is not None},
    )


def single_plan(tool: Tool, arguments: Mapping[str, Any]) -> tuple[Workflow, dict[str, Any]]:
    """The workflow that makes one call, and its inputs: no argument is read as a reference."""
    inputs = {f"a{index}": value for index, value in enumerate(arguments.values())}
    given = {name.replace("$", "$$"): f"$INPUT.a{index}" for index, name in enumerate(arguments)}
    task = {"id": "call", "tool": tool.target, "arguments": given}
    # In braces: the error of a call that failed is that of the task, and none of the output.
    plan = {"name": tool.target, "tasks": [task], "output": "${OUTPUT[call]}"}
    return Workflow.load({**plan, "inputs": dict.fromkeys(inputs, True)}), inputs
