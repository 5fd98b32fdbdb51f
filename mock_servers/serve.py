"""The command line that the servers built on the SDK share; it knows no tool."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import Sequence

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
"""For tools that change nothing: a call may be repeated, and may run beside any other."""


def run(server: MCPServer, argv: Sequence[str] | None = None) -> None:
    """Serve over stdin and stdout, or over HTTP with `--http` or `--sse`.

    Args:
        server: The server to run.
        argv: Command-line arguments; those of the process by default.
    """
    options = _parser(server).parse_args(argv)
    with contextlib.suppress(KeyboardInterrupt):
        if options.http or options.sse:
            anyio.run(_serve_http, server, options)
        else:
            server.run("stdio")


def _parser(server: MCPServer) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m mock_servers.{server.name}", description=server.instructions
    )
    parser.add_argument("--http", action="store_true", help="serve streamable HTTP, not stdio")
    parser.add_argument("--sse", action="store_true", help="serve the HTTP+SSE of 2024-11-05")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="port; 0 takes a free one (%(default)s)"
    )
    parser.add_argument(
        "--json-response", action="store_true", help="answer with plain JSON, not an event stream"
    )
    parser.add_argument("--stateless", action="store_true", help="keep no session between requests")
    return parser


async def _serve_http(server: MCPServer, options: argparse.Namespace) -> None:
    import uvicorn  # not needed over stdio

    if options.sse:
        app = server.sse_app(host=options.host)
    else:
        app = server.streamable_http_app(
            host=options.host, json_response=options.json_response, stateless_http=options.stateless
        )
    config = uvicorn.Config(app, log_level="warning")
    with socket.create_server((options.host, options.port)) as listener:
        # asyncio leaves it out for sockets of others: a call on a used connection took 40 ms
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The socket listens already: a client that connects now is served once uvicorn is up.
        port = listener.getsockname()[1]
        print(
            f"listening on http://{options.host}:{port}/{'sse' if options.sse else 'mcp'}",
            file=sys.stderr,
            flush=True,
        )
        await uvicorn.Server(config).serve(sockets=[listener])
