"""A host in a task of the test, and pools that use it over a real socket."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import mcp  # noqa: F401  # it takes seconds, in which nobody is answered

from orchestrator.daemon.configuration import document_of
from orchestrator.daemon.host import Host
from orchestrator.daemon.place import Place
from orchestrator.daemon.warm_pool import WarmPool
from orchestrator.servers.config import Server

ROOT = Path(__file__).parents[2]


def faulty(name: str = "faulty", **fields: Any) -> Server:
    """A server on the standard library alone that misbehaves on demand."""
    args = ["-m", "mock_servers.faulty", *fields.pop("args", ())]
    return Server(name=name, command=sys.executable, args=args, cwd=str(ROOT), **fields)


def table(*servers: Server) -> dict[str, Server]:
    return {server.name: server for server in servers}


class Warm:
    """A host that runs, and what it takes to use it."""

    def __init__(self, place: Place, servers: Mapping[str, Server]) -> None:
        self.place, self.servers = place, servers
        self.host = Host(place.new_key(), 60.0)
        self.said: list[str] = []
        self.scope = anyio.CancelScope()

    def pool(self, servers: Mapping[str, Server] | None = None, lock: Any = None) -> WarmPool:
        """A pool of a client."""
        return WarmPool.at(
            self.place, self.servers if servers is None else servers, lock, self.said.append
        )

    def program(self, name: str = "faulty") -> Any:
        """The pool that keeps a server, in the host."""
        return self.host.servers[name].pool

    def calls(self, name: str = "faulty") -> int:
        """How many calls are in flight on a server."""
        return sum(session.in_flight for session in self.program(name)._live)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self.scope:
            listener = await anyio.create_unix_listener(self.place.socket, mode=0o600)
            documents = [document_of(server) for server in self.servers.values()]
            await self.host.run(documents, listener, task_status.started)

    def kill(self) -> None:
        """End it as SIGKILL does: nobody is told anything."""
        self.scope.cancel()


@asynccontextmanager
async def warm(tmp_path: Path, *servers: Server) -> AsyncIterator[Warm]:
    """A host that keeps these servers."""
    tmp_path.chmod(0o700)
    kept = Warm(Place(tmp_path, "p"), table(*servers))
    with anyio.fail_after(30):  # of a wait for what never comes
        async with _hosting(kept):
            yield kept


@asynccontextmanager
async def _hosting(kept: Warm) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        await group.start(kept.run)
        try:
            yield
        finally:
            kept.host.down()


async def until(holds: Callable[[], Any]) -> None:
    """Let others go on until something holds."""
    while not holds():
        await anyio.lowlevel.checkpoint()
