"""The life of the process that keeps servers, from `up` to `down`, a signal or idleness."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from logging.handlers import RotatingFileHandler

import anyio

from orchestrator.daemon.configuration import Document
from orchestrator.daemon.connection import Connection, NoPoolError, OtherVersionError
from orchestrator.daemon.fork_server import ForkServer
from orchestrator.daemon.host import Host
from orchestrator.daemon.place import Place
from orchestrator.errors import OrchestratorError
from orchestrator.journal.file_lock import FileLock

LOG_BYTES = 1_000_000  # and as many of the one before
START_S = 20.0
LOOK_S = 0.03
END_S = 15.0


class PoolError(OrchestratorError):
    """The pool did not start, or does not end."""


def keep(
    place: Place, documents: Iterable[Document], idle_s: float, forks: ForkServer | None = None
) -> bool:
    """Be the pool of a place until it ends; False if another process is it already."""
    os.umask(0o077)
    _log_to(place)
    alive = FileLock(place.alive)
    if not alive.acquire(wait=False):
        return False
    if forks is not None:
        forks.begin()
    try:
        anyio.run(_keep, place, documents, idle_s)
    finally:
        place.socket.unlink(missing_ok=True)
        alive.release()
    return True


async def _keep(place: Place, documents: Iterable[Document], idle_s: float) -> None:
    host = Host(place.new_key(), idle_s)
    # One that was killed has left its own.
    place.socket.unlink(missing_ok=True)
    listener = await anyio.create_unix_listener(place.socket, mode=0o600)
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, host)
        await host.run(documents, listener)
        group.cancel_scope.cancel()


async def _watch(host: Host) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            host.down()


def _log_to(place: Place) -> None:
    handler = RotatingFileHandler(place.log, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("orchestrator").addHandler(handler)
    for name in ("mcp", "client"):  # our own messages have what they say
        logging.getLogger(name).setLevel(logging.CRITICAL)


def spawn(place: Place, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `orchestrator up --foreground` with these arguments, apart from this terminal."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    log = os.open(place.log, flags, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "up", "--foreground", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)


async def until_up(place: Place, process: subprocess.Popen[bytes]) -> Connection:
    """The connection to a pool that was just started.

    Raises:
        PoolError: It has ended, or takes too long.
    """
    with anyio.move_on_after(START_S):
        while process.poll() is None:
            try:
                return await Connection.to(place)
            except OtherVersionError:
                raise
            except NoPoolError:
                await anyio.sleep(LOOK_S)
    state = "takes too long to start" if process.poll() is None else "has ended while it started"
    raise PoolError(f"the warm pool {state}; its log: {place.log}")


async def until_down(place: Place) -> bool:
    """Wait for the end of a pool; whether it has ended in time."""
    alive = FileLock(place.alive)
    with anyio.move_on_after(END_S):
        while not alive.acquire(wait=False):
            await anyio.sleep(LOOK_S)
        alive.release()
        return True
    return False
