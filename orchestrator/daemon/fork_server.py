"""Forks a process for each command: this package is loaded in it already.

It begins as a fork of the process that keeps the servers, has one thread and no event loop, and
ends with that process; commands under way go on.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from orchestrator.daemon.fork_client import BEGIN, REFUSED, SIZE, exactly, stamp
from orchestrator.daemon.wire import is_of_user

BACKLOG = 64
REQUEST_S = 5.0  # for a client to say what it wants
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class ForkServer:
    """A fork of this process that forks commands.

    Args:
        path: Where it listens.
        load: Loads what commands need; it runs in the fork.
        command: Is run for each command, in a process that is like one of its own. Returns the exit
            code.
    """

    def __init__(self, path: Path, load: Callable[[], None], command: Callable[[], int]) -> None:
        self._path, self._load, self._command = path, load, command
        self._children: dict[int, socket.socket] = {}
        # It notices the end of the process that keeps the servers by the end of a pipe.
        self._alive, self._ours = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = os.fork()
        if self.process == 0:
            os.close(self._ours)
            _end(self._serve)
        os.close(self._alive)

    def begin(self) -> None:
        """Let it listen; without this it ends with this process."""
        os.write(self._ours, BEGIN)

    def end(self) -> None:
        """Let it end when the commands under way have, and wait for nothing."""
        os.close(self._ours)

    def _serve(self) -> int:
        os.setsid()
        for number in _HANDLED[:-1]:
            signal.signal(number, signal.SIG_IGN)  # it ends with the pool
        expected = stamp()
        self._load()
        gc.collect()
        gc.freeze()  # the collector would write to what the forks share
        if os.read(self._alive, 1) != BEGIN:
            return 0
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        early = self._path.with_suffix(".new")
        early.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(early))  # in a directory that lets nobody else in
            listener.listen(BACKLOG)
            early.rename(self._path)  # a client that finds it can connect
            self._loop(listener, wake, expected)
        return 0

    def _loop(self, listener: socket.socket, wake: int, expected: str) -> None:
        poll, is_over = select.poll(), False
        for descriptor in (listener.fileno(), wake, self._alive):
            poll.register(descriptor, select.POLLIN)
        while self._children or not is_over:
            ready = {descriptor for descriptor, _ in poll.poll()}
            # The clients first: a process that is reaped frees the number of its descriptor, and
            # the next client can have it.
            for descriptor in ready - {wake, listener.fileno(), self._alive}:
                poll.unregister(descriptor)
                self._kill(descriptor)
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._reap(poll)
            if self._alive in ready:
                is_over = True
                poll.unregister(self._alive)
                poll.unregister(listener)
                self._path.unlink(missing_ok=True)
            elif listener.fileno() in ready:
                self._take(listener, poll, expected)

    def _take(self, listener: socket.socket, poll: select.poll, expected: str) -> None:
        connection, _ = listener.accept()
        if not is_of_user(connection):
            connection.close()
            return
        process = os.fork()
        if process == 0:
            listener.close()
            for other in self._children.values():
                other.close()
            _end(lambda: self._run(connection, expected))
        self._children[process] = connection
        poll.register(connection, 0)  # what it says is for the fork, its end for both

    def _kill(self, descriptor: int) -> None:
        """End a command as its client ended: what it ran can be resumed, as without a pool."""
        for process, connection in self._children.items():
            if connection.fileno() == descriptor:
                os.kill(process, signal.SIGKILL)

    def _reap(self, poll: select.poll) -> None:
        while self._children:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            connection = self._children.pop(process)
            with suppress(KeyError):
                poll.unregister(connection)
            if os.WIFSIGNALED(status):
                _tell(connection, -os.WTERMSIG(status))
            connection.close()

    def _run(self, connection: socket.socket, expected: str) -> int:
        """Be the command of a client."""
        _be_as_new()
        connection.settimeout(REQUEST_S)
        size, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
        request = exactly(connection, int.from_bytes(size, "big")).split(b"\0")
        if request[0] != os.fsencode(expected) or not _take_over(streams, request[1:]):
            _tell(connection, REFUSED)
            return 0
        _tell(connection, os.getpid())
        if connection.recv(1) == BEGIN:  # else it has waited too long, and runs the command itself
            connection.settimeout(None)
            _end(self._command, connection)
        return 0


def _be_as_new() -> None:
    """Handle signals as a process that has just begun."""
    signal.set_wakeup_fd(-1)
    os.setpgid(0, 0)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_over(streams: list[int], request: list[bytes]) -> bool:
    """Be where the client is, with what it has; whether that can be."""
    directory, umask, count, *words = map(os.fsdecode, request)
    try:
        os.chdir(directory)
    except OSError:
        return False
    os.umask(int(umask))
    sys.argv[1:] = words[: int(count)]
    os.environ.clear()
    for word in words[int(count) :]:
        name, _, value = word.partition("=")
        os.environ[name] = value
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(streams[number], number)
        os.close(streams[number])
        before, mode = getattr(sys, name), "rb" if number == 0 else "wb"
        buffer = os.fdopen(number, mode, closefd=False)
        lines = number == 2 or buffer.isatty()
        text = io.TextIOWrapper(buffer, before.encoding, before.errors, line_buffering=lines)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    return True


def _tell(connection: socket.socket, number: int) -> None:
    with suppress(OSError):
        connection.sendall(number.to_bytes(SIZE, "big", signed=True))


def _end(main: Callable[[], int], client: socket.socket | None = None) -> NoReturn:
    """Run this, tell the exit code, and end the process: what it was forked from never goes on."""
    code = 1
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        logging.shutdown()
        if client is not None:
            _tell(client, code)
        os._exit(code)
