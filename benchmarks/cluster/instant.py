"""A worker whose calls return at once: what is left is what carrying runs costs.

python -m benchmarks.cluster.instant URL AT_ONCE
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import anyio

from orchestrator import Orchestrator, Server
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.cluster import dispatch
from orchestrator.cluster.dispatch import DbosDispatch
from orchestrator.cluster.worker import Worker
from orchestrator.engine.events import OnEvent, ServerReady, ServerStarting
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.schema.tool import Tool
from orchestrator.servers.pool import ServerPool

NAME, TOOL = "none", "nothing"


class Instant:
    """The session of a server that is not there; see `Sessions`."""

    usable, failure, offers = True, None, None

    def __init__(self, server: Server) -> None:
        self.server = server

    def close(self) -> None: ...

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None:  # noqa: ARG002
        announce(ServerStarting(0.0, NAME))
        announce(ServerReady(0.0, NAME, "none", 1, 0.0))

    async def session(self) -> Instant:
        return self

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:  # noqa: ARG002
        return call.arguments


class InstantPool(ServerPool):
    """The servers of such a worker."""

    def __init__(self) -> None:
        super().__init__({NAME: Server(name=NAME, command="true")})
        tool = Tool(NAME, TOOL, {"type": "object"}, read_only=True)
        self.catalog.replace(NAME, [tool])

    def _new_supervisors(self) -> Mapping[str, Any]:
        return {name: Instant(server) for name, server in self.servers.items()}


async def work(url: str, at_once: int) -> None:
    """Carry runs until the process is ended."""
    address = Address(url)
    journal = Journal(address, keep_runs=1_000_000)
    async with Orchestrator(InstantPool(), journal=journal) as engine:
        worker = Worker(engine, journal, DbosDispatch(address), at_once=at_once)
        await worker.work(lambda: print("ready", file=sys.stderr, flush=True))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        dispatch.IDLE_S = float(sys.argv[3])
    anyio.run(work, sys.argv[1], int(sys.argv[2]))
