"""Serves a toolset over stdin and stdout."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
from mcp.server.stdio import stdio_server

from orchestrator.client import Orchestrator
from orchestrator.serve.server import ToolsetServer

GRACE_S = 0.5  # servers have so long to end after a signal


async def serve_stdio(
    engine: Orchestrator, serve: Callable[[], ToolsetServer], leave: Callable[[], None]
) -> None:
    """Serve until stdin ends or a signal comes.

    `engine` is opened and closed; `serve` makes the server when it is open; `leave` ends the
    process when all is closed.
    """
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()
                    break
            with anyio.CancelScope(shield=True):
                await anyio.sleep(GRACE_S)
            engine.kill()

        group.start_soon(watch)
        async with stdio_server() as (read, write):
            try:
                async with engine:
                    server = serve()
                    options = server.mcp.create_initialization_options()
                    async with anyio.create_task_group() as serving:  # it ends before the engine
                        serving.start_soon(server.announce)
                        await server.mcp.run(read, write, options)
                        serving.cancel_scope.cancel()
            except BaseException as error:
                if not isinstance(error, anyio.get_cancelled_exc_class()):
                    raise
            # Leaving the block would wait for a line of stdin, and flush what servers printed.
            leave()
