"""The parameters of a transport, from the configuration of a server."""

from __future__ import annotations

from orchestrator.servers.config import Server
from orchestrator.transport.parameters import HttpParameters, StdioParameters


def parameters_of(server: Server) -> StdioParameters | HttpParameters | None:
    """How to reach a server; None for one that is given as an object, in memory."""
    if server.command is not None:
        return StdioParameters(
            server.command,
            server.args,
            server.env,
            server.cwd,
            server.max_result_bytes,
            label=server.name,
        )
    if server.url is not None:
        return HttpParameters(server.url, server.headers, server.max_result_bytes)
    return None
