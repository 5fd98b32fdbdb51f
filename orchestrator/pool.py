"""The sessions to all servers, and the catalogue of their tools.

The rule of this file: one owner task a session, so that a server that fails takes nothing with it; the
pool starts what is asked for, all at once, and closes everything it started.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from orchestrator.calls import Call, ServerPolicy, Slots, Tool
from orchestrator.config import Server
from orchestrator.errors import CallError, TaskError
from orchestrator.events import Event, ServerFailed, ServerReady, ServerStarting

if TYPE_CHECKING:
    from orchestrator.connection import Connection

# A program that has not answered by then is waiting for something and no longer costs a core.
STARTING_S = 3.0

Announce = Callable[[Event], None]


class ServerPool:
    """Sessions to servers, opened when first asked for and reused until the pool is closed.

    Args:
        servers: The servers by name.
    """

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self.servers = dict(servers)
        self.policies = {name: _policy(server) for name, server in servers.items()}
        self._connections: dict[str, list[Connection]] = {}
        self._failures: dict[str, TaskError] = {}
        self._catalogue: dict[str, dict[str, Tool]] = {}
        self._opening: dict[str, anyio.Lock] = {name: anyio.Lock() for name in servers}
        self._starting = Slots(os.cpu_count() or 1)

    def __repr__(self) -> str:
        ready = [name for name in self.servers if self.usable(name)]
        return f"ServerPool({len(ready)} of {len(self.servers)} servers ready)"

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connections in self._connections.values():
            for connection in connections:
                connection.close()
        # An exception of the block is not this group's: handed over, it would come out in an
        # exception group. Cancellation is, and has to be.
        ours = not isinstance(error, Exception)
        given = (kind, error, trace) if ours else (None, None, None)
        await self._group.__aexit__(*given)

    def usable(self, server: str) -> bool:
        """Whether a session with the server is open."""
        return any(connection.usable for connection in self._connections.get(server, ()))

    async def open(self, names: Iterable[str], announce: Announce = lambda _: None) -> None:
        """See to it that these servers are open, all at once; a server that fails is not an error.

        Args:
            names: The servers.
            announce: Is told which start, which are ready and which failed.
        """
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(self._open, name, announce)

    async def _open(self, name: str, announce: Announce) -> None:
        async with self._opening[name]:
            if self.usable(name):
                return
            announce(ServerStarting(0.0, name))
            began_at = anyio.current_time()
            connections = await self._connect(self.servers[name])
            usable = [connection for connection in connections if connection.usable]
            if not usable:
                failure = next(filter(None, (connection.failure for connection in connections)))
                self._failures[name] = failure
                announce(ServerFailed(0.0, name, failure))
                return
            tools = {tool.name: tool for tool in usable[0].tools}
            self._catalogue[name] = tools
            took_ms = (anyio.current_time() - began_at) * 1000
            announce(ServerReady(0.0, name, usable[0].protocol, len(tools), round(took_ms, 3)))

    async def _connect(self, server: Server) -> list[Connection]:
        from orchestrator.connection import Connection

        connections = [Connection(server) for _ in range(server.sessions)]
        self._connections[server.name] = connections  # from now on they will be closed
        async with anyio.create_task_group() as group:
            for connection in connections:
                group.start_soon(self._start, connection)
        return connections

    async def _start(self, connection: Connection) -> None:
        """Start a session; as many programs at a time as there are cores, each for a while."""
        try:
            if connection.server.command is None:
                self._group.start_soon(connection.own)
            else:
                async with self._starting.slot():
                    self._group.start_soon(connection.own)
                    with anyio.move_on_after(STARTING_S):
                        await connection.started.wait()
            await connection.started.wait()
        except BaseException:
            connection.close()
            raise

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something in the background for as long as the pool is open."""
        self._group.start_soon(work)

    def failure(self, server: str) -> TaskError | None:
        """Why a server that was to be opened is not usable; None if it is."""
        return None if self.usable(server) else self._failures.get(server)

    def tools(self, server: str) -> dict[str, Tool]:
        """The tools of an open server that its configuration allows, by name."""
        settings = self.servers[server]
        return {
            name: tool
            for name, tool in self._catalogue.get(server, {}).items()
            if is_allowed(settings, name)
        }

    def is_denied(self, server: str, tool: str) -> bool:
        """Whether a server has a tool that its configuration does not allow."""
        return tool in self._catalogue.get(server, {}) and not is_allowed(
            self.servers[server], tool
        )

    def catalogue(self, servers: Iterable[str]) -> dict[str, Tool]:
        """The tools of these servers, by `server:tool`."""
        return {tool.target: tool for server in servers for tool in self.tools(server).values()}

    async def call(self, call: Call) -> Any:
        """Make a call on the least busy session of its server. This is the engine's caller.

        Raises:
            CallError: The call failed, or the server is not there.
        """
        connections = self._connections.get(call.server, ())
        usable = [connection for connection in connections if connection.usable]
        if usable:
            connection = min(usable, key=lambda connection: connection.in_flight)
            return await connection.call(call.tool, call.arguments)
        if connections:
            raise connections[0].unavailable()
        failure = self._failures.get(call.server)
        if failure is None:
            raise CallError("server_unavailable", f"server {call.server!r} was never opened")
        raise CallError(failure.kind, failure.message, **failure.details)


def is_allowed(server: Server, tool: str) -> bool:
    """Whether `allow` and `deny` of a server let a tool be called; `deny` is the stronger."""
    allowed = server.allow is None or any(fnmatch.fnmatchcase(tool, p) for p in server.allow)
    return allowed and not any(fnmatch.fnmatchcase(tool, pattern) for pattern in server.deny)


def _policy(server: Server) -> ServerPolicy:
    return ServerPolicy(
        server.timeout_s,
        Slots(server.max_concurrency) if server.max_concurrency else None,
        Slots(1) if server.writes == "serial" else None,
    )
