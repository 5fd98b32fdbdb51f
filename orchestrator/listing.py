"""What a server says of its tools.

The rule of this file: it asks, page by page, and translates; whoever asks handles the errors.
"""

from __future__ import annotations

from mcp import MCPError
from mcp.client.session import ClientSession
from mcp.types import PaginatedRequestParams
from mcp.types import Tool as McpTool

from orchestrator.calls import Tool
from orchestrator.faults import METHOD_NOT_FOUND

MAX_TOOL_PAGES = 1000


async def list_tools(session: ClientSession, server: str) -> list[Tool]:
    """All tools of a server; none, if it is one of prompts or resources.

    Raises:
        MCPError: It answered with an error.
        ValidationError: What it said is not what the protocol says.
    """
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(MAX_TOOL_PAGES):
        try:
            page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND:
                break
            raise
        tools += (_tool(server, tool) for tool in page.tools)
        cursor = page.next_cursor
        if not cursor:
            break
    return tools


def _tool(server: str, tool: McpTool) -> Tool:
    notes = tool.annotations
    return Tool(
        server=server,
        name=tool.name,
        input_schema=tool.input_schema,
        title=tool.title or "",
        description=tool.description or "",
        output_schema=tool.output_schema,
        read_only=notes.read_only_hint if notes else None,
        idempotent=notes.idempotent_hint if notes else None,
        destructive=notes.destructive_hint if notes else None,
        open_world=notes.open_world_hint if notes else None,
        annotated_title=(notes.title or "") if notes else "",
    )
