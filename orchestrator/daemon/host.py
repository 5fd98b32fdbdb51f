"""The side that keeps the servers; each has a pool of its own, and can be replaced alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import ByteStream, Listener, TaskGroup

from orchestrator.calls.locks import Locks
from orchestrator.daemon.configuration import (
    Document,
    Hashes,
    differing,
    hashes_of,
    inherit,
    server_of,
)
from orchestrator.daemon.guest import Guest
from orchestrator.daemon.wire import Channel, is_own
from orchestrator.engine.events import Event, ServerReady, StartTimes
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.redaction import LOGS
from orchestrator.transport.parameters import Notify, nothing

logger = logging.getLogger("orchestrator")


class Hosted:
    """A server that is kept.

    Attributes:
        hashes: Of its configuration.
        pool: Its sessions.
        calls: How many calls it works on.
        is_gone: Whether it was replaced or left out.
    """

    def __init__(self, document: Document, hashes: Hashes) -> None:
        server = server_of(document)
        self.hashes, self.name, self.is_gone = hashes, server.name, False
        self.calls = 0
        self.pool = ServerPool({server.name: server})
        self.policy = self.pool.policies[server.name]
        if server.scope == "cluster":  # clients have them granted
            none: dict[str, Any] = dict.fromkeys(("slots", "writers", "rate", "tools"))
            self.policy = replace(self.policy, **none)
        self.protocol = ""
        self.ready = anyio.Event()  # it is, or has failed, for the first time
        self._open, self._end, self._over = anyio.Event(), anyio.Event(), anyio.Event()
        self._times = StartTimes(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, ServerReady):
            self.protocol = event.protocol

    async def keep(self) -> None:
        """Start it, and keep it until `end`."""
        try:
            async with self.pool:
                self._open.set()
                with self.pool.subscribe(self._times, [self.name]):
                    await self.pool.open([self.name])
                    self.ready.set()
                    await self._end.wait()
        except Exception:
            logger.exception("server %s", self.name)
        finally:
            self.is_gone = True
            self.ready.set()
            self._open.set()
            self._over.set()

    @property
    def usable(self) -> bool:
        """Whether it can be called at once."""
        return self._open.is_set() and self.pool.usable(self.name)

    async def opened(self) -> ServerPool:
        """Its pool, once that is open."""
        await self._open.wait()
        return self.pool

    async def end(self) -> None:
        """End it, and wait for that."""
        self.is_gone = True
        self._end.set()
        await self._over.wait()

    def state(self) -> dict[str, Any]:
        """How it is, for people."""
        failure, tools = self.pool.failure(self.name), self.pool.catalog.tools(self.name)
        return {
            "server": self.name,
            "startup_ms": round(self._times.ms.get(self.name, 0.0), 1),
            "protocol": self.protocol or None,
            "tools": None if failure else len(tools),
            "calls": self.calls,
            "error": failure.message if failure else None,
        }


class Host:
    """Keeps servers, and lets clients of this user call their tools.

    Attributes:
        servers: Those that are kept, by name.
        locks: The names that tasks of all clients hold.
        idle_s: After how many seconds without a client it ends.
    """

    def __init__(self, key: bytes, idle_s: float) -> None:
        self.servers: dict[str, Hosted] = {}
        self.locks, self.idle_s = Locks(), idle_s
        self.is_down = False
        self._key, self._began_at = key, time.time()
        self._guests: set[Guest] = set()
        self._changed = anyio.Event()
        self._configuring = anyio.Lock()
        self._group: TaskGroup | None = None

    async def run(
        self, documents: Iterable[Document], listener: Listener[Any], on_ready: Notify = nothing
    ) -> None:
        """Keep these servers, and take clients, until nobody comes any more or `down`."""
        async with anyio.create_task_group() as self._group:
            await self.configure(documents)
            async with listener, anyio.create_task_group() as listening:
                listening.start_soon(listener.serve, self.take)
                on_ready()
                await self._until_idle()
                listening.cancel_scope.cancel()
            await self.configure([])

    def down(self) -> None:
        """End it."""
        self.is_down = True
        self._notify()

    async def take(self, stream: ByteStream) -> None:
        """Serve one client until it leaves."""
        channel = Channel(stream)
        if not is_own(stream):
            logger.warning("refused a process of another user")
            await channel.close()
            return
        guest = Guest(self, channel)
        self._guests.add(guest)
        self._notify()
        try:
            await guest.serve()
        except Exception:
            logger.exception("a client failed")
        finally:
            self._guests.discard(guest)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _until_idle(self) -> None:
        """Wait for `down`, or until no client was there for `idle_s`; who only looks is none."""
        while not self.is_down:
            with anyio.move_on_after(self.idle_s) as waiting:
                if any(guest.uses_servers for guest in self._guests):
                    waiting.deadline = float("inf")
                await self._changed.wait()
            if waiting.cancelled_caught:
                logger.info("nobody came for %g s", self.idle_s)
                return

    def set_idle(self, idle_s: float) -> None:
        """End after so many seconds without a client from now on."""
        self.idle_s = idle_s
        self._notify()

    def note_use(self) -> None:
        """A client has said that it uses servers."""
        self._notify()

    async def configure(self, documents: Iterable[Document]) -> dict[str, list[str]]:
        """Keep these servers, of which only those are started anew that changed.

        Returns:
            The names of the servers that were started, replaced and ended.
        """
        async with self._configuring:
            wanted = {each["name"]: each for each in documents}
            inherit(wanted.values())
            hashes = {name: hashes_of(each, self._key) for name, each in wanted.items()}
            old = {
                name: each for name, each in self.servers.items() if hashes.get(name) != each.hashes
            }
            async with anyio.create_task_group() as group:
                for name, each in old.items():
                    del self.servers[name]
                    group.start_soon(self._remove, each)
            fresh = [name for name in wanted if name not in self.servers]
            for name in fresh:
                hosted = Hosted(wanted[name], hashes[name])
                LOGS.add(hosted.pool.servers[name].hidden)
                self.servers[name] = hosted
                assert self._group is not None
                self._group.start_soon(hosted.keep)
            return {
                "started": [name for name in fresh if name not in old],
                "restarted": [name for name in fresh if name in old],
                "ended": [name for name in old if name not in wanted],
            }

    async def _remove(self, hosted: Hosted) -> None:
        for guest in self._guests:
            guest.lose(hosted)
        await hosted.end()

    def compare(self, given: Mapping[str, Hashes]) -> dict[str, list[str]]:
        """Of the servers with these hashes that are kept, the names of the fields that differ."""
        kept = {name: self.servers[name] for name in given if name in self.servers}
        return {name: differing(given[name], each.hashes) for name, each in kept.items()}

    async def status(self) -> dict[str, Any]:
        """How the pool is, once each server is ready or has failed."""
        for each in tuple(self.servers.values()):
            await each.ready.wait()
        return {
            "servers": [each.state() for each in self.servers.values()],
            "up_s": round(time.time() - self._began_at, 1),
            "idle_s": self.idle_s,
            "clients": sum(guest.uses_servers for guest in self._guests),
        }
