"""How the SDK's client is set up for a server.

The rule of this file: it decides, and opens nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Protocol, Self

from mcp import Client, MCPError
from mcp.client.session import ClientSession, LoggingFnT, MessageHandlerFnT
from mcp.client.subscriptions import Subscription
from mcp.types import (
    CallToolRequest,
    CallToolRequestParams,
    Implementation,
    LoggingLevel,
    PaginatedRequestParams,
)
from mcp.types import Tool as McpTool
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.calls.call import OnProgress
from orchestrator.errors import CallError
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.elicitation import elicitation_callback
from orchestrator.servers.sdk_errors import METHOD_NOT_FOUND

# What servers of 2026-07-28 are asked to log; those before it decide by themselves.
LOG_LEVEL: LoggingLevel = "info"


def client_of(
    target: Any, server: Server, mode: str, on_log: LoggingFnT, on_message: MessageHandlerFnT
) -> Client:
    """A client that keeps no answers, and passes on what the server says by itself."""
    return Client(
        target,
        mode=mode,
        client_info=client_info(),
        logging_callback=on_log,
        log_level=LOG_LEVEL,
        message_handler=on_message,
        elicitation_callback=elicitation_callback(server),
        cache=None,
    )


def modes_of(server: Server) -> list[str]:
    """What to try, one after the other, each with a fresh process."""
    fallback = server.protocol == "auto" and server.command is not None
    return ["auto", "legacy"] if fallback else [server.protocol]


def changes_of(client: Client) -> Callable[[], AbstractAsyncContextManager[Subscription]] | None:
    """Opens a stream of notices that tools have changed, if only those who ask are told."""
    tools = client.server_capabilities.tools
    modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
    if modern and tools is not None and tools.list_changed:
        return partial(client.listen, tools_list_changed=True)
    return None


@cache
def client_info() -> Implementation:
    """What the client calls itself."""
    try:
        return Implementation(name="orchestrator", version=version("mcp-orchestrator"))
    except PackageNotFoundError:
        return Implementation(name="orchestrator", version="0")


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


class ProgressCallback(Protocol):
    """What the SDK calls."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class ProgressRelay:
    """Passes on what a server says of a call's progress, until the block ends.

    Args:
        tell: Is told; None if nobody wants to hear of it.
        redact: Takes secrets out of a message.
    """

    def __init__(self, tell: OnProgress | None, redact: Callable[[Any], Any]) -> None:
        self._tell = tell
        self._redact = redact

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell = None

    @property
    def callback(self) -> ProgressCallback | None:
        """What the SDK is to call; None has it ask for no progress."""
        return None if self._tell is None else self._on_progress

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._tell is not None:
            self._tell(progress, total, self._redact(message or ""))


def tool_request(
    tool: str, arguments: dict[str, Any], meta: Mapping[str, Any] | None = None
) -> CallToolRequest:
    """The request, if it can be sent: one that cannot would break the session for all others.

    Raises:
        CallError: The arguments are no JSON.
    """
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        params = CallToolRequestParams(name=tool, arguments=arguments, _meta=meta)
        return CallToolRequest(params=params)
    except (ValueError, TypeError, RecursionError) as error:
        raise not_json(tool, error) from None


def not_json(tool: str, error: Exception) -> CallError:
    """The error of a call whose arguments are no JSON."""
    message = f"the arguments of {tool!r} cannot be sent as JSON: {error}"
    return CallError("invalid_arguments", message, tool=tool)
