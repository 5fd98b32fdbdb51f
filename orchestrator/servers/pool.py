"""The sessions to all servers, and who is told of them.

The rule of this file: one owner task a session, so that a server that fails takes nothing with it;
the pool closes everything that was started in it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.call import Attempt, Call, ServerPolicy
from orchestrator.calls.limits import FIRST, Priority, Rate, Slots
from orchestrator.engine.events import Event, ServerEvent
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.tool import Tool
from orchestrator.servers.catalog import Catalog, is_allowed
from orchestrator.servers.config import Server
from orchestrator.servers.listener import Listener
from orchestrator.servers.loading import connection_class, is_loaded
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.parameters import parameters_of
from orchestrator.servers.supervisor import Announce, Supervisor, Work
from orchestrator.transport.delivery import NotExecutedError
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import Started, start

if TYPE_CHECKING:
    from orchestrator.servers.session import Session
    from orchestrator.transport.http_client import HttpConnections

__all__ = ["ServerPool", "is_allowed"]

logger = logging.getLogger("orchestrator")

# A program that starts waits much of the time, so that one a core leaves the cores idle (five took
# 1.7 times as long as all at once); too many are all so slow that they run into their limits.
STARTS_PER_CORE = 4
# A program that has not answered by then is waiting for something and no longer costs a core.
STARTING_S = 3.0


class ServerPool:
    """Sessions to servers, opened when first asked for and reused until the pool is closed.

    Args:
        servers: The servers by name.
        lock: What their tools have to be like; a call of another is refused. None if nobody has
            said so.
    """

    def __init__(self, servers: Mapping[str, Server], lock: Lockfile | None = None) -> None:
        self.servers = {
            name: server if server.name == name else server.model_copy(update={"name": name})
            for name, server in servers.items()
        }
        self.policies = {name: _policy(server) for name, server in self.servers.items()}
        self.lock = lock
        self._catalog = Catalog(self.servers, lock)
        self._group: TaskGroup | None = None
        self._closing = False
        self._live: set[Session] = set()
        self._http: dict[str, HttpConnections] = {}
        self._working: set[anyio.CancelScope] = set()
        self._subscribers: list[tuple[Announce, frozenset[str]]] = []
        self._starting = Slots(STARTS_PER_CORE * (os.cpu_count() or 1))
        self._keepers = self._new_keepers()

    def __repr__(self) -> str:
        ready = [name for name in self.servers if self.usable(name)]
        return f"ServerPool({len(ready)} of {len(self.servers)} servers ready)"

    def _new_keepers(self) -> dict[str, Supervisor]:
        return {
            name: Supervisor(server, self._catalog, self._start, self.start_soon, self._tell)
            for name, server in self.servers.items()
        }

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("it is open already: use one 'async with' at a time")
        self._keepers = self._new_keepers()
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
        for keeper in self._keepers.values():
            keeper.close()
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

    def kill(self) -> None:
        """End every program at once. Nothing is waited for."""
        for connection in self._live:
            connection.kill()

    def usable(self, server: str) -> bool:
        """Whether a session with the server is open."""
        return self._keepers[server].usable

    async def open(
        self,
        names: Iterable[str],
        announce: Announce = lambda _: None,
        priority: Priority = FIRST,
    ) -> None:
        """See to it that these servers are open, all at once; a server that fails is not an error.

        Args:
            names: The servers.
            announce: Is told which start, which are ready and which failed; subscribers are, too.
            priority: The smaller goes first where programs wait to be started.
        """
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(self._keepers[name].open, announce, priority)

    @contextmanager
    def subscribe(self, tell: Callable[[Event], None], servers: Iterable[str]) -> Iterator[None]:
        """Have somebody told what happens to these servers while the block runs.

        Args:
            tell: Is told `ServerStarting`, `ServerReady`, `ServerFailed`, `ServerToolsChanged` and
                `ServerLog`, with `at_ms` 0. One that fails is told nothing more.
            servers: The servers.
        """
        subscriber = (tell, frozenset(servers))
        self._subscribers.append(subscriber)
        try:
            yield
        finally:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def _tell(self, event: Event) -> None:
        assert isinstance(event, ServerEvent)
        for subscriber in tuple(self._subscribers):
            tell, servers = subscriber
            if event.server in servers:
                try:
                    tell(event)
                except Exception:
                    self._subscribers.remove(subscriber)
                    logger.exception("subscriber %r failed and is told nothing more", tell)

    async def _start(self, server: Server, listener: Listener, priority: Priority) -> Session:
        """Start a session; so many programs at a time as the cores can take, each for a while."""
        limit_s = server.start_timeout_s
        gated_s = min(STARTING_S, limit_s)
        connection: Session | None = None
        try:
            async with AsyncExitStack() as gate:
                if server.command is not None:
                    await gate.enter_async_context(self._starting.slot(priority))
                connection = self._own(server, listener, await _head_start(server))
                await connection.started_within(gated_s)
            if not await connection.started_within(limit_s - gated_s):
                connection.give_up()
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return connection

    def _own(self, server: Server, listener: Listener, started: Started | None) -> Session:
        """A session that is being opened. Nothing is awaited, so that no program is left behind."""
        assert self._group is not None
        connection = connection_class()(server, listener, started, self._http_of(server))
        self._live.add(connection)
        self._group.start_soon(self._owned, connection)
        if self._closing:
            connection.close()
        return connection

    def _http_of(self, server: Server) -> HttpConnections | None:
        """The connections that all sessions of a server share, if it has a URL."""
        parameters = parameters_of(server)
        if not isinstance(parameters, HttpParameters):
            return None
        from orchestrator.transport.http_client import HttpConnections

        return self._http.setdefault(server.name, HttpConnections(parameters))

    async def _owned(self, connection: Session) -> None:
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
        return self._keepers[server].failure

    def tools(self, server: str) -> dict[str, Tool]:
        """The tools of an open server that its configuration allows, by name."""
        return self._catalog.tools(server)

    def is_denied(self, server: str, tool: str) -> bool:
        """Whether a server has a tool that its configuration does not allow."""
        return self._catalog.is_denied(server, tool)

    def listed(self, server: str) -> dict[str, Tool]:
        """All tools of an open server, those too that its configuration does not allow."""
        return self._catalog.listed(server)

    def is_strange(self, server: str, tool: str) -> bool:
        """Whether a tool of an open server is not what the lock says; calls of it are refused."""
        return self._catalog.is_strange(server, tool)

    def difference(self, server: str, tool: str) -> str:
        """What is different between a tool and the lock, in one line; empty if nothing is."""
        difference = self._catalog.difference(server, tool)
        return str(difference or "")

    def catalog(self, servers: Iterable[str]) -> Mapping[str, Tool]:
        """The tools of these servers, by `server:tool`: a view that changes when they do."""
        return self._catalog.of(servers)

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """Make a call on the least busy session of its server. This is the engine's caller.

        A server whose sessions have ended is started again meanwhile. A call that was certainly not
        executed, because its session had ended or was forgotten, is made on the next one, once.

        Raises:
            CallError: The call failed, or the server is not there.
        """
        keeper = self._keepers.get(call.server)
        if keeper is None:
            raise CallError("server_unavailable", f"there is no server {call.server!r}")
        on_progress = None if attempt is None else attempt.on_progress
        try:
            return await (await self._session(keeper, call)).call(call, on_progress)
        except NotExecutedError:
            pass
        return await (await self._session(keeper, call)).call(call, on_progress)

    async def _session(self, keeper: Supervisor, call: Call) -> Session:
        """A session for a call; what it has listed by then is what the lock says of the tool."""
        session = await keeper.session()
        self._refuse_if_strange(call)
        return session

    def _refuse_if_strange(self, call: Call) -> None:
        server, tool = call.server, call.tool
        if self.lock is None or not self._catalog.is_strange(server, tool):
            return
        difference = self.difference(server, tool)
        raise CallError(
            "protocol_error",
            f"server {server!r} has another {tool!r} than {self.lock.source}: {difference}; "
            f"if that is meant: {self.lock.update_command(server)}",
            retryable=False,
            server=server,
            difference=difference,
        )


async def _head_start(server: Server) -> Started | None:
    """The program of a server, started before the SDK is loaded, so that it boots meanwhile.

    None if there is nothing to be gained. One that cannot be started is left to the session, which
    says so.
    """
    parameters = parameters_of(server)
    if not isinstance(parameters, StdioParameters) or is_loaded():
        return None
    with suppress(OSError):
        return await start(parameters)
    return None


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
