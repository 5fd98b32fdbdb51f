"""The engine as an MCP server in the process of the Claude Agent SDK."""

from __future__ import annotations

from typing import Any, Unpack

from claude_agent_sdk import SdkMcpTool, create_sdk_mcp_server

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Offered, ToolOptions, text_of
from orchestrator.serve.answers import ServedTool

__all__ = ["sdk_server"]


async def sdk_server(
    engine: Orchestrator, *, name: str = "orchestrator", **options: Unpack[ToolOptions]
) -> Any:
    """The tools of an open engine, for `ClaudeAgentOptions(mcp_servers={"orchestrator": ...})`.

    Claude asks before each call that `allowed_tools` does not name, such as
    `mcp__orchestrator__parallel_execute`; leave `answer_question` out there.
    """
    offered = Offered(engine, gated=True, **options)
    return create_sdk_mcp_server(name, tools=[_tool(offered, t) for t in await offered.tools()])


def _tool(offered: Offered, served: ServedTool) -> Any:
    async def run(arguments: dict[str, Any]) -> dict[str, Any]:
        answer = await offered.call(served.name, arguments)
        content = [{"type": "text", "text": text_of(answer)}]
        return {"content": content, "is_error": answer.is_error}

    return SdkMcpTool(served.name, served.description, dict(served.input_schema), run)
