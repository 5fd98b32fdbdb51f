"""The request that calls a tool.

The rule of this file: one that cannot be sent is found out before it is.
"""

from __future__ import annotations

import json
from typing import Any

from mcp.types import CallToolRequest, CallToolRequestParams

from orchestrator.errors import CallError


def tool_request(tool: str, arguments: dict[str, Any]) -> CallToolRequest:
    """The request, if it can be sent: one that cannot would break the session for all others.

    Raises:
        CallError: The arguments are no JSON.
    """
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        return CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
    except (ValueError, TypeError, RecursionError) as error:
        raise not_json(tool, error) from None


def not_json(tool: str, error: Exception) -> CallError:
    """The error of a call whose arguments are no JSON."""
    message = f"the arguments of {tool!r} cannot be sent as JSON: {error}"
    return CallError("invalid_arguments", message, tool=tool)
