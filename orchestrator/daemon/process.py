"""The life of the process that keeps servers, from `up` to `down`, a signal or idleness."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler

import anyio

from orchestrator.daemon.configuration import Document
from orchestrator.daemon.connection import Connection, NoPoolError, OtherVersionError
from orchestrator.daemon.fork_server import ForkServer
from orchestrator.daemon.host import Host
from orchestrator.daemon.place import Place
from orchestrator.documents.file_lock import FileLock
from orchestrator.errors import OrchestratorError

LOG_BYTES = 1_000_000  # and as many of the one before
START_S = 20.0
LOOK_S = 0.03
END_S = 15.0
FORKS_S = 10.0


class PoolError(OrchestratorError):
    """The pool did not start, or does not end."""


def keep(
    place: Place, documents: Iterable[Document], idle_s: float, forks: ForkServer | None = None
) -> bool:
    """Be the pool of a place until it ends; False if another process is it already."""
    alive = FileLock(place.alive)
    if not alive.acquire(wait=False):
        return False
    if forks is not None:
        forks.begin()
    log, logger = _Log(place), logging.getLogger("orchestrator")
    logger.addHandler(log)
    for name in ("mcp", "client"):  # our own messages have what they say
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        alive.write(str(os.getpid()))
        anyio.run(_keep, place, documents, idle_s)
    finally:
        place.socket.unlink(missing_ok=True)
        alive.release()
        logger.removeHandler(log)
        log.close()
    return True


async def _keep(place: Place, documents: Iterable[Document], idle_s: float) -> None:
    import_module("mcp")  # now, since nobody is answered meanwhile
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


class _Log(RotatingFileHandler):
    """The log of a pool, which nobody else can read; the umask is that of the servers."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.log, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def _open(self) -> TextIOWrapper:
        opened = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(opened, "a", encoding="utf-8")


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


async def reached(place: Place, say: Callable[[str], None]) -> Connection | None:
    """The connection to the pool of a place, if it is up; what cannot be used is ended.

    Raises:
        PoolError: It does not end.
    """
    why = "the warm pool does not answer"
    with anyio.move_on_after(END_S):
        while True:
            try:
                return await Connection.to(place)
            except OtherVersionError as error:
                why = str(error)
                break
            except NoPoolError:  # it may be busy, or start or end just now
                if is_down(place):
                    return None
                await anyio.sleep(LOOK_S)
    say(f"{why}: it is ended")
    await end(place)
    return None


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


async def until_forks(place: Place) -> bool:
    """Wait until commands are forked; whether they are: without, they begin on their own."""
    with anyio.move_on_after(FORKS_S):
        while not place.forks.exists():
            if is_down(place):
                return False
            await anyio.sleep(LOOK_S)
        return True
    return False


async def end(place: Place) -> None:
    """End a pool by signals.

    Raises:
        PoolError: It does not end.
    """
    pid = place.pid()
    # One that was stopped has to go on, to end.
    for numbers in (signal.SIGTERM, signal.SIGCONT), (signal.SIGKILL,):
        if is_down(place):
            return
        with suppress(ProcessLookupError):
            for number in numbers:
                if pid is not None:
                    os.kill(pid, number)
        if await until_down(place):
            return
    raise PoolError(f"the warm pool does not end: process {pid}")


async def until_down(place: Place) -> bool:
    """Wait for the end of a pool; whether it has ended in time."""
    with anyio.move_on_after(END_S):
        while not is_down(place):
            await anyio.sleep(LOOK_S)
        return True
    return False


def is_down(place: Place) -> bool:
    """Whether no process is the pool."""
    alive = FileLock(place.alive)
    if not alive.acquire(wait=False):
        return False
    alive.release()
    return True
