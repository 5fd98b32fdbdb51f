"""Listens on this machine until a signal comes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn

from orchestrator.errors import Problem, WorkflowError
from orchestrator.ui.app import Page, app_of
from orchestrator.ui.guard import Keys

HOST, MAX_PORT = "127.0.0.1", 65_535
MAX_CONNECTIONS = 200
GRACE_S = 1


class _Server(uvicorn.Server):
    """Leaves signals to us: streams have to be ended first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(port: int) -> socket.socket:
    """A socket on this machine alone; port 0 is any that is free.

    Raises:
        WorkflowError: The port is taken.
    """
    try:
        if port > MAX_PORT:
            raise OSError(0, f"expected 0 to {MAX_PORT}")
        return socket.create_server((HOST, port), backlog=256)
    except OSError as error:
        why = error.strerror or error
        message = f"cannot listen on port {port}: {why}; --port takes another, 0 any that is free"
        raise WorkflowError("usage", [Problem("usage", message)]) from None


class PageServer:
    """Serves the page on a socket.

    Args:
        page: What is shown.
        keys: What opens it.
    """

    def __init__(self, page: Page, keys: Keys) -> None:
        self._page = page
        self._server = _Server(
            uvicorn.Config(
                app_of(page, keys),
                log_level="error",
                access_log=False,
                lifespan="off",
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=GRACE_S,
                server_header=False,
            )
        )

    async def run(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until `end`; runs that were begun in the page are cancelled then."""
        async with self._page.actions.open():
            ready()
            await self._server.serve(sockets=[listening])

    def end(self) -> bool:
        """End it; whether that was not asked for before."""
        is_first = not self._page.closing.is_set()
        self._page.closing.set()
        self._server.should_exit = True
        self._server.force_exit = not is_first
        return is_first


async def serve(
    page: Page, keys: Keys, listening: socket.socket, ready: Callable[[], None]
) -> None:
    """Serve the page until SIGINT or SIGTERM."""
    server = PageServer(page, keys)
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, server, group.cancel_scope)
        await server.run(listening, ready)
        group.cancel_scope.cancel()


async def _watch(server: PageServer, all_of_it: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if not server.end():  # the second one
                all_of_it.cancel()
