"""The engine as an MCP server in the process of the Claude Agent SDK: what `serve` serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.client import Orchestrator
from orchestrator.serve.server import NAME, ToolsetServer
from orchestrator.serve.toolset import MAX_INLINE_KB, Toolset

__all__ = ["sdk_server"]


def sdk_server(
    engine: Orchestrator,
    *,
    workflows: str | Path | None = None,
    single_tools: bool = False,
    max_inline_kb: float = MAX_INLINE_KB,
) -> dict[str, Any]:
    """The tools of an open engine, for `ClaudeAgentOptions(mcp_servers={"orchestrator": ...})`.

    Claude asks before each call that `allowed_tools` does not name, such as
    `mcp__orchestrator__parallel_execute`; leave `answer_question` out there.

    Args:
        engine: The engine.
        workflows: A directory whose workflows are tools.
        single_tools: Whether the tools of the servers are tools of their own, too.
        max_inline_kb: How large a result may be for the model, kilobytes of JSON.
    """
    toolset = Toolset(
        engine, workflows=workflows, single_tools=single_tools, max_inline_kb=max_inline_kb
    )
    return {"type": "sdk", "name": NAME, "instance": ToolsetServer(toolset).mcp}
