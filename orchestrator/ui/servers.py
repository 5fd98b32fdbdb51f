"""What is known of the servers without starting any.

That is their settings, the warm pool if it is up, what runs that go on are doing, what calls took
in earlier runs, and the tools in the lock file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from anyio import to_thread

from orchestrator.daemon.connection import Connection, LostError, NoPoolError
from orchestrator.daemon.place import Place
from orchestrator.documents.text import cut
from orchestrator.journal import history, live
from orchestrator.journal.history import DAY_S, RUNNING
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.totals import Total, Totals, totals_of
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.policies import limits_of

DAYS = 7
FRESH_S = 30.0  # totals are that old at most
POOL_S = 2.0  # for the pool to answer; it answers when all its servers have started
MAX_RUNNING = 50  # runs that are looked at
MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class Configured:
    """What the files of a user say of servers.

    Attributes:
        servers: Their settings, by name.
        lock: The tools that are pinned; None if none are.
        place: Where a warm pool of theirs is, if one may be up.
        error: Why they cannot be read; empty if they can.
    """

    servers: Mapping[str, Server]
    lock: Lockfile | None = None
    place: Place | None = None
    error: str = ""


class Servers:
    """Tells what is known of servers.

    Args:
        journal: The file with the runs.
        configured: Reads what the files say as of now; called in a thread.
    """

    def __init__(self, journal: Location, configured: Callable[[], Configured]) -> None:
        self._journal, self._configured = journal, configured
        self._totals, self._counted_at = Totals(), 0.0

    async def __call__(self) -> dict[str, Any]:
        """What the page shows."""
        configured = await to_thread.run_sync(self._configured)
        pool = None if configured.place is None else await _status(configured.place)
        return await to_thread.run_sync(partial(self._document, configured, pool))

    def _document(self, configured: Configured, pool: dict[str, Any] | None) -> dict[str, Any]:
        totals, in_flight = self._known_totals(), self._in_flight()
        warm = {} if pool is None else {each["server"]: each for each in pool["servers"]}
        names = dict.fromkeys([*configured.servers, *warm, *totals.servers])
        return {
            "servers": [
                self._server(name, configured, warm.get(name), in_flight[name]) for name in names
            ],
            "pool": None if pool is None else {n: pool[n] for n in ("up_s", "idle_s", "clients")},
            "days": DAYS,
            "error": configured.error,
        }

    def _server(
        self, name: str, configured: Configured, warm: dict[str, Any] | None, in_flight: int
    ) -> dict[str, Any]:
        server, lock = configured.servers.get(name), configured.lock
        listed = lock.of(name) if lock is not None and name in lock else {}
        return {
            "name": name,
            "description": None if server is None else server.redact(server.description),
            "limits": {} if server is None else limits_of(server),
            "settings": {} if server is None else _settings(server),
            "locked": bool(listed),
            "warm": warm,
            "in_flight": in_flight,
            "total": _total(self._totals.servers.get(name)),
            "tools": list(_tools(name, listed, self._totals)),
        }

    def _known_totals(self) -> Totals:
        """The totals of the last days."""
        now = time.time()
        if now - self._counted_at > FRESH_S and store_of(self._journal).exists():
            self._totals = totals_of(self._journal, since=now - DAYS * DAY_S)
            self._counted_at = now
        return self._totals

    def _in_flight(self) -> Counter[str]:
        """How many calls each server works on, for all runs of the journal."""
        found: Counter[str] = Counter()
        if not store_of(self._journal).exists():
            return found
        for run in history.page(self._journal, status=RUNNING, limit=MAX_RUNNING):
            live.watch(self._journal, run.id)
            if (seen := live.seen(self._journal, run.id)) is not None:
                found.update(seen["by_server"])
        return found


def _settings(server: Server) -> dict[str, Any]:
    """What else is configured, without the values that only the server has to know."""
    shown = {
        "approve": server.approve,
        "allow": server.allow,
        "deny": server.deny,
        "env": list(server.env),
        "headers": list(server.headers),
    }
    return {name: each for name, each in shown.items() if each}


async def _status(place: Place) -> dict[str, Any] | None:
    """How the warm pool is; None if there is none that can be asked."""
    found: dict[str, Any] | None = None
    try:
        with anyio.move_on_after(POOL_S):
            connection = await Connection.to(place)
            async with connection.used():
                found = await connection.ask("status")
    except (NoPoolError, LostError):
        return None
    return found


def _total(total: Total | None) -> dict[str, Any] | None:
    return None if total is None else total.to_dict()


def _tools(name: str, listed: Mapping[str, Tool], totals: Totals) -> Iterator[dict[str, Any]]:
    called = {target: of for target, of in totals.tools.items() if target.startswith(f"{name}:")}
    names = dict.fromkeys([*(f"{name}:{tool}" for tool in listed), *called])
    for target in names:
        tool = listed.get(target.partition(":")[2])
        yield {
            "tool": target,
            "description": None if tool is None else cut(tool.description.strip(), MAX_WORDS),
            "read_only": None if tool is None else tool.read_only,
            "destructive": None if tool is None else tool.destructive,
            "total": _total(called.get(target)),
        }
