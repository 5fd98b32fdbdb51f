"""A pool whose servers another process keeps, as far as that has them as they are configured."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.calls.grants import Fenced
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.calls.locks import OnWait
from orchestrator.calls.waits import Wait
from orchestrator.daemon.configuration import Hashes, document_of, hashes_of
from orchestrator.daemon.connection import Asked, Connection, LostError, NoPoolError
from orchestrator.daemon.lease import WarmPolicy
from orchestrator.daemon.place import Place
from orchestrator.daemon.warm_server import WarmServer
from orchestrator.documents.text import listed, quoted
from orchestrator.engine.events import OnEvent
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.sessions import Sessions

logger = logging.getLogger("orchestrator")

Connect = Callable[[Mapping[str, Hashes]], Awaitable[Connection]]
Warn = Callable[[str], None]


class WarmPool(ServerPool):
    """Calls the servers of a process that keeps them running.

    A server that it does not keep as it is configured is started here, as is each that is in use
    when that process ends. The calls in flight are then lost.

    Args:
        servers: The servers by name.
        lock: What the tools have to be like.
        key: The key of the hashes.
        connect: Connects to the process, with the hashes of the servers.
        warn: Receives a sentence when something is not as it was hoped for.
    """

    def __init__(
        self,
        servers: Mapping[str, Server],
        lock: Lockfile | None,
        key: bytes,
        connect: Connect,
        warn: Warn = logger.warning,
    ) -> None:
        self._connection: Connection | None = None
        # How servers differ that are not kept, until a client has shown it.
        self._differing: dict[str, list[str]] = {}
        self._connect, self._warn = connect, warn
        super().__init__(servers, lock)  # which shares
        self._hashes = {
            name: hashes_of(document_of(server), key) for name, server in self.servers.items()
        }

    def share(self, cluster: Fenced | None) -> None:
        """As for `ServerPool`."""
        super().share(cluster)
        self._cold = self.policies

    @classmethod
    def at(
        cls,
        place: Place,
        servers: Mapping[str, Server],
        lock: Lockfile | None,
        warn: Warn = logger.warning,
    ) -> WarmPool:
        """The pool of a place."""

        async def connect(hashes: Mapping[str, Hashes]) -> Connection:
            return await Connection.to(place, hashes)

        return cls(servers, lock, place.key(), connect, warn)

    def _new_supervisors(self) -> Mapping[str, Sessions]:
        own = super()._new_supervisors()
        if self._connection is None:
            return own
        kept = self._connection.greeting["servers"]
        given = self.catalog, self._announce, self.start_soon
        return {
            name: WarmServer(self.servers[name], self._connection, sessions, *given)
            if name in kept
            else sessions
            for name, sessions in own.items()
        }

    async def open(
        self, names: Iterable[str], announce: OnEvent = lambda _: None, priority: Priority = FIRST
    ) -> None:
        """As for `ServerPool`; says which of them are started here since they are not kept."""
        names = tuple(names)
        differing = {name: self._differing.pop(name) for name in names if name in self._differing}
        if differing:
            self._warn(_differs(differing))
        await super().open(names, announce, priority)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        self._connection, self.locks.beyond = await self._connected(), None
        async with super()._open():
            if self._connection is not None:
                self._use(self._connection)
            yield

    async def _connected(self) -> Connection | None:
        try:
            connection = await self._connect(self._hashes)
        except NoPoolError as error:
            self._warn(f"{error}; this command starts its own servers")
            return None
        kept = connection.greeting["servers"]
        self._differing = {
            name: connection.greeting["differs"].get(name, ["it has none"])
            for name in self.servers
            if name not in kept
        }
        if not kept:
            await connection.close()
            return None
        return connection

    def _use(self, connection: Connection) -> None:
        self.policies = {
            name: WarmPolicy.of(policy, warm) if isinstance(warm, WarmServer) else policy
            for name, policy in self._cold.items()
            for warm in [self._supervisors[name]]
        }
        connection.on_note, connection.on_lost = self._take, self._lose
        self.locks.beyond = _Beyond(connection)
        self.start_soon(connection.run)

    def is_warm(self, server: str) -> bool:
        """Whether a server is one that the other process keeps."""
        sessions = self._supervisors[server]
        return isinstance(sessions, WarmServer) and sessions.is_warm

    def _take(self, note: Mapping[str, Any]) -> None:
        warm = self._supervisors.get(note["server"])
        if isinstance(warm, WarmServer):
            warm.take(note)

    def _lose(self, lost: str) -> None:
        self.locks.beyond = None
        if self._closing:
            return
        self._warn(f"{lost}; this command goes on with its own servers")
        for warm in self._supervisors.values():
            if isinstance(warm, WarmServer):
                warm.lose()


class _Beyond:
    """The names that tasks hold in the pool, so that those of other clients do not."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[tuple[str, object], Asked] = {}

    async def acquire(self, wait: Wait, *, on_wait: OnWait) -> None:
        """Hold a name there; nothing if the pool has ended."""
        given = {"hold": wait.hold, "capacity": wait.capacity, "run": wait.run}
        given |= {"task": wait.task, "late": wait.is_late, "may_wait": wait.may_wait}
        # Calls that are alive differ in it, and only those are compared.
        inside = [id(each) for each in wait.inside]
        try:
            self._held[wait.name, wait.who] = await self._connection.hold(
                "lock", lambda _: on_wait and on_wait(), **given, inside=inside
            )
        except LostError:
            return

    def release(self, name: str, who: object) -> None:
        """Release it."""
        if (held := self._held.pop((name, who), None)) is not None:
            self._connection.drop(held)


def _differs(fields: Mapping[str, list[str]]) -> str:
    servers = "server" if len(fields) == 1 else "servers"
    shown = [f"{quoted(name)} ({listed(why, 5)})" for name, why in fields.items()]
    return (
        f"the warm pool has another configuration of {servers} {listed(shown, 5)}, "
        'so this command starts its own; "orchestrator up" renews the pool'
    )
