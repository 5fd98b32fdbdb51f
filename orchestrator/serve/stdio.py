"""Serves a toolset over stdin and stdout."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from typing import Any, Self

import anyio
import mcp_types as types
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from orchestrator.client import Orchestrator
from orchestrator.serve.server import ToolsetServer

logger = logging.getLogger("orchestrator")

GRACE_S = 0.5  # servers have so long to end after a signal


class Answering:
    """What the SDK reads from stdin; what it cannot parse is answered, as it would just drop that.

    Args:
        read: The messages, and an exception in place of each that cannot be parsed.
        write: Where the answers go.
        warn: Is called with a sentence about each.
    """

    def __init__(self, read: Any, write: Any, warn: Callable[[str], None]) -> None:
        self._read, self._write, self._warn = read, write, warn

    @property
    def last_context(self) -> Any:
        """The context in which the last message was sent, as the SDK wants it."""
        return getattr(self._read, "last_context", None)

    async def receive(self) -> Any:
        """The next message."""
        while isinstance(item := await self._read.receive(), Exception):
            await self._refuse(item)
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Read nothing more."""
        await self._read.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _refuse(self, wrong: Exception) -> None:
        found: Any = wrong.errors()[0] if isinstance(wrong, ValidationError) else {"msg": wrong}
        text, is_text = found.get("input"), found.get("type") == "json_invalid"
        if is_text and not text.strip():
            return  # an empty line
        message = f"a message on stdin cannot be read: {found['msg']}"
        self._warn(message)
        code = types.PARSE_ERROR if is_text else types.INVALID_REQUEST
        error = types.ErrorData(code=code, message=message)
        answer = types.JSONRPCError(jsonrpc="2.0", id=_id_in(text), error=error)
        await self._write.send(SessionMessage(answer))


def _id_in(text: Any) -> str | int | None:
    """The id of a request that the SDK cannot parse, if a more lenient parser can."""
    try:
        request = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    given = request.get("id") if isinstance(request, dict) and "method" in request else None
    is_id = isinstance(given, str | int) and not isinstance(given, bool)
    return given if is_id and str(given).isascii() else None


async def serve_stdio(
    engine: Orchestrator,
    serve: Callable[[], ToolsetServer],
    leave: Callable[[], None],
    warn: Callable[[str], None] = logger.warning,
) -> None:
    """Serve until stdin ends or a signal comes.

    `engine` is opened and closed; `serve` makes the server when it is open; `leave` ends the
    process when all is closed; `warn` is called with a sentence about what cannot be read.
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
                        await server.mcp.run(Answering(read, write, warn), write, options)
                        serving.cancel_scope.cancel()
            except BaseException as error:
                if not isinstance(error, anyio.get_cancelled_exc_class()):
                    raise
            # Leaving the block would wait for a line of stdin, and flush what servers printed.
            leave()
