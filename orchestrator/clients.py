"""How the SDK's client is set up for a server.

The rule of this file: it decides, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mcp import Client
from mcp.client.session import LoggingFnT, MessageHandlerFnT
from mcp.client.subscriptions import Subscription
from mcp.types import Implementation, LoggingLevel
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.config import Server
from orchestrator.elicitation import elicitation_callback

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
