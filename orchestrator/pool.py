"""The sessions to all servers, and the catalogue of their tools.

The rule of this file: one owner task a session, so that a server that fails takes nothing with it;
the pool starts what is asked for, all at once, and closes everything it started.
"""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls import Call, ServerPolicy, Tool
from orchestrator.config import Server
from orchestrator.errors import CallError, TaskError
from orchestrator.events import Event, ServerFailed, ServerReady, ServerStarting
from orchestrator.limits import AdaptiveSlots, Rate, Slots

if TYPE_CHECKING:
    from orchestrator.connection import Connection

logger = logging.getLogger("orchestrator")

# A program that starts waits much of the time, so that one a core leaves the cores idle (five took
# 1.7 times as long as all at once); too many are all so slow that they run into their limits.
STARTS_PER_CORE = 4
# A program that has not answered by then is waiting for something and no longer costs a core.
STARTING_S = 3.0

Announce = Callable[[Event], None]
Work = Callable[[], Coroutine[Any, Any, None]]


class ServerPool:
    """Sessions to servers, opened when first asked for and reused until the pool is closed.

    Args:
        servers: The servers by name.
    """

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self.servers = {
            name: server if server.name == name else server.model_copy(update={"name": name})
            for name, server in servers.items()
        }
        self.policies = {name: _policy(server) for name, server in self.servers.items()}
        self._group: TaskGroup | None = None
        self._closing = False
        self._live: set[Connection] = set()
        self._working: set[anyio.CancelScope] = set()
        self._connections: dict[str, list[Connection]] = {}
        self._catalogue: dict[str, dict[str, Tool]] = {}
        self._opening: dict[str, anyio.Lock] = {}
        self._starting = Slots(STARTS_PER_CORE * (os.cpu_count() or 1))

    def __repr__(self) -> str:
        ready = [name for name in self.servers if self.usable(name)]
        return f"ServerPool({len(ready)} of {len(self.servers)} servers ready)"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("it is open already: use one 'async with' at a time")
        self._opening = {name: anyio.Lock() for name in self.servers}
        self._closing = False
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._group is not None
        self._closing = True
        for scope in self._working:
            scope.cancel()
        for connection in self._live:
            connection.close()
        # An exception of the block is not the group's: handed over, it would come out in an
        # exception group. Cancellation is, and has to be.
        ours = isinstance(error, anyio.get_cancelled_exc_class())
        try:
            await self._group.__aexit__(*((kind, error, trace) if ours else (None, None, None)))
        finally:
            self._group = None

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
            kept = [each for each in self._connections.get(name, ()) if _is_good(each)]
            missing = self.servers[name].sessions - len(kept)
            if not missing:
                return
            announce(ServerStarting(0.0, name))
            began_at = anyio.current_time()
            connections = [*kept, *await self._connect(self.servers[name], missing)]
            took_ms = (anyio.current_time() - began_at) * 1000
            self._replace(name, connections)
            announce(self._result(name, connections, round(took_ms, 3)))

    async def _connect(self, server: Server, count: int) -> list[Connection]:
        from orchestrator.connection import Connection

        connections = [Connection(server) for _ in range(count)]
        async with anyio.create_task_group() as group:
            for connection in connections:
                group.start_soon(self._start, connection)
        return connections

    def _replace(self, name: str, connections: list[Connection]) -> None:
        for old in set(self._connections.get(name, ())) - set(connections):
            old.close()
        self._connections[name] = connections

    def _result(self, name: str, connections: list[Connection], took_ms: float) -> Event:
        usable = [connection for connection in connections if connection.usable]
        if not usable:
            return ServerFailed(0.0, name, connections[0].unavailable().error)
        tools = {tool.name: tool for tool in usable[0].tools}
        self._catalogue[name] = tools
        return ServerReady(0.0, name, usable[0].protocol, len(tools), took_ms)

    async def _start(self, connection: Connection) -> None:
        """Start a session; so many programs at a time as the cores can take, each for a while."""
        limit_s = connection.server.start_timeout_s
        gated_s = min(STARTING_S, limit_s)
        try:
            async with AsyncExitStack() as gate:
                if connection.server.command is not None:
                    await gate.enter_async_context(self._starting.slot())
                self._own(connection)
                await connection.started_within(gated_s)
            if not await connection.started_within(limit_s - gated_s):
                connection.give_up()
        except BaseException:
            connection.close()
            raise

    def _own(self, connection: Connection) -> None:
        assert self._group is not None
        self._live.add(connection)
        self._group.start_soon(self._owned, connection)
        if self._closing:
            connection.close()

    async def _owned(self, connection: Connection) -> None:
        try:
            await connection.own()
        finally:
            self._live.discard(connection)

    def start_soon(self, work: Work) -> None:
        """Run something in the background; it is cancelled when the pool is closed."""
        assert self._group is not None
        self._group.start_soon(self._work, work)

    async def _work(self, work: Work) -> None:
        with anyio.CancelScope() as scope:
            self._working.add(scope)
            if self._closing:
                scope.cancel()
            try:
                await work()
            except Exception:
                logger.exception("a bug in what runs in the background")
            finally:
                self._working.discard(scope)

    def failure(self, server: str) -> TaskError | None:
        """Why a server that was to be opened is not usable; None if it is, or never was to be."""
        connections = self._connections.get(server)
        return connections[0].failure if connections and not self.usable(server) else None

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
        if not connections:
            raise CallError("server_unavailable", f"server {call.server!r} was never opened")
        usable = [connection for connection in connections if connection.usable]
        connection = min(usable or connections, key=lambda connection: connection.in_flight)
        return await connection.call(call.tool, call.arguments)


def _is_good(connection: Connection) -> bool:
    """Whether a session can serve another run; one that is in use is not taken away."""
    return connection.usable and not (connection.doubtful and connection.in_flight == 0)


def is_allowed(server: Server, tool: str) -> bool:
    """Whether `allow` and `deny` of a server let a tool be called; `deny` is the stronger."""
    allowed = server.allow is None or any(fnmatch.fnmatchcase(tool, p) for p in server.allow)
    return allowed and not any(fnmatch.fnmatchcase(tool, pattern) for pattern in server.deny)


def _policy(server: Server) -> ServerPolicy:
    name = server.name
    return ServerPolicy(
        server.timeout_s,
        _slots(server.max_concurrency, f"a slot of server {name!r}"),
        Slots(1, f"its turn among the writers of server {name!r}")
        if server.writes == "serial"
        else None,
        Rate(*server.starts, f"the rate of server {name!r}") if server.starts else None,
        {
            pattern: Slots(settings.max_concurrency, f"a slot of {name}:{pattern}")
            for pattern, settings in server.tools.items()
        }
        or None,
    )


def _slots(limit: int | Literal["auto"] | None, name: str) -> Slots | None:
    if limit is None:
        return None
    return AdaptiveSlots(name) if limit == "auto" else Slots(limit, name)
