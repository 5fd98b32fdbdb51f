"""`orchestrator up` and `down`: the servers of a file, kept running; and who uses them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, read_servers
from orchestrator.daemon.fork_client import NO_POOL

if TYPE_CHECKING:
    from orchestrator.daemon.place import Place
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile
    from orchestrator.servers.pool import ServerPool

IDLE_MINUTES = 30.0
_USED = (
    "anyio._backends._asyncio",
    "anyio._core._signals",
    "graphlib",
    "jsonschema_rs",
    "mcp",
    "networkx",
    "platformdirs",
    "rich.live",
    "rich.table",
)
# Commands that live long, and what needs a framework.
_LEFT_OUT = ("orchestrator.__main__", "orchestrator.integrations", "orchestrator.serve")


def pool_of(
    options: argparse.Namespace, servers: Mapping[str, Server], lock: Lockfile | None
) -> ServerPool:
    """The pool that a command uses: the warm one if it is up, else one of its own."""
    from orchestrator.servers.pool import ServerPool

    place = None if options.no_pool or os.environ.get(NO_POOL) else warm_place(options)
    if place is None:
        return ServerPool(servers, lock)
    from orchestrator.daemon.warm_pool import WarmPool

    return WarmPool.at(place, servers, lock, complain)


def warm_place(options: argparse.Namespace) -> Place | None:
    """The place of the pool of the servers' file, if one seems to be up."""
    from orchestrator.daemon.place import Place, UnsafePlaceError

    try:
        place = Place.of(options.servers or DEFAULT_SERVERS)
        return place if place.socket.exists() else None
    except (UnsafePlaceError, OSError):
        return None


def up(options: argparse.Namespace) -> int:
    """`orchestrator up`."""
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.daemon.configuration import document_of
    from orchestrator.daemon.place import Place

    servers_file = options.servers or DEFAULT_SERVERS
    documents = [document_of(server) for server in read_servers(options).values()]
    place = Place.of(servers_file)
    place.make()
    if options.foreground:
        return _foreground(place, documents, options)

    async def bring_up() -> int:
        return await _up(place, documents, options)

    from orchestrator.documents.file_lock import FileLock

    with FileLock(place.starting).holding():
        return in_event_loop(bring_up)


def _foreground(place: Place, documents: list[dict[str, Any]], options: argparse.Namespace) -> int:
    from orchestrator.cli import main
    from orchestrator.daemon.fork_server import ForkServer
    from orchestrator.daemon.process import keep

    forks = ForkServer(place.forks, _load, main)  # before there are threads and a lock
    if keep(place, documents, 60 * (options.idle or IDLE_MINUTES), forks):
        return 0
    complain(f"the warm pool of {options.servers or DEFAULT_SERVERS} is up already")
    return 1


def _load() -> None:
    """Load what commands import, and what that imports when it is used."""
    package = import_module("orchestrator")
    names = [module.name for module in walk_packages(package.__path__, "orchestrator.")]
    for name in [*names, *_USED]:
        if not name.startswith(_LEFT_OUT):
            import_module(name)


async def _up(place: Place, documents: list[dict[str, Any]], options: argparse.Namespace) -> int:
    from orchestrator.daemon.connection import LostError
    from orchestrator.daemon.process import PoolError, reached, spawn, until_forks, until_up

    changes: dict[str, list[str]] | None = None
    connection = await reached(place, complain)
    is_new = connection is None
    if connection is None:
        connection = await until_up(place, spawn(place, _arguments(options)))
    try:
        async with connection.used():
            if not is_new:
                idle_s = None if options.idle is None else 60 * options.idle
                changes = await connection.ask("configure", servers=documents, idle_s=idle_s)
            status = await connection.ask("status")
    except LostError:
        raise PoolError(f"the warm pool has ended while it started; its log: {place.log}") from None
    if is_new:
        await until_forks(place)
    status["pid"] = connection.greeting["pid"]
    return _show(options, status, changes)


def _arguments(options: argparse.Namespace) -> list[str]:
    words = ["--servers", str(Path(options.servers or DEFAULT_SERVERS).resolve())]
    for file in options.env_file:
        words += ["--env-file", str(file.resolve())]
    return words if options.idle is None else [*words, "--idle", f"{options.idle:g}"]


def _show(
    options: argparse.Namespace, status: dict[str, Any], changes: dict[str, list[str]] | None
) -> int:
    from orchestrator.cli.streams import write_json
    from orchestrator.documents.text import counted, duration, quoted

    failed = [each for each in status["servers"] if each["error"] is not None]
    if options.json:
        write_json(status | {"changes": changes})
    else:
        from orchestrator.cli.rows import print_rows

        print_rows(
            ("server", "state", "start", "protocol", "tools"),
            [
                [
                    each["server"],
                    "ready" if each["error"] is None else "failed",
                    duration(each["startup_ms"]),
                    each["protocol"] or "",
                    "" if each["tools"] is None else str(each["tools"]),
                ]
                for each in status["servers"]
            ],
        )
    sys.stdout.flush()
    for each in failed:
        complain(each["error"])
    ready = f"{counted(len(status['servers']) - len(failed), 'server')} ready"
    name = options.servers or DEFAULT_SERVERS
    state = "is up" if changes is None else f"was up already, for {duration(1000 * status['up_s'])}"
    ends = f"ends after {status['idle_s'] / 60:g} idle minutes, or with: orchestrator down"
    print(f"the warm pool of {name} {state}: {ready}; it {ends}", file=sys.stderr)
    for what, names in (changes or {}).items():
        if names:
            print(f"  {what}: {', '.join(map(quoted, names))}", file=sys.stderr)
    return 1 if failed else 0


def down(options: argparse.Namespace) -> int:
    """`orchestrator down`."""
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.daemon.place import Place
    from orchestrator.documents.file_lock import FileLock

    name = str(options.servers or DEFAULT_SERVERS)
    place = Place.of(Path(name))

    async def end() -> bool:
        return await _down(place)

    ended = False
    if place.directory.exists():
        with FileLock(place.starting).holding():
            ended = in_event_loop(end)
    said = f"the warm pool of {name} has ended" if ended else f"no warm pool of {name} is up"
    print(said, file=sys.stderr)
    return 0


async def _down(place: Place) -> bool:
    """End the pool of a place; whether there was one."""
    from orchestrator.daemon.connection import LostError
    from orchestrator.daemon.process import end, is_down, reached, until_down

    is_up = not is_down(place)
    connection = await reached(place, complain)
    if connection is None:
        place.socket.unlink(missing_ok=True)  # of one that was killed
        return is_up
    with suppress(LostError):  # it was quicker than its answer
        async with connection.used():
            await connection.ask("down")
    if not await until_down(place):
        await end(place)
    return True
