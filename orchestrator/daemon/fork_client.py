"""A command that is run by the fork server of a pool, if there is one; it imports next to nothing.

Starting Python and loading this package takes most of the time of a short command. The fork server
has it loaded: it forks a process that takes over the arguments, the directory, the environment and
the streams of this one, and is the command. This process passes signals on, and ends as that one.
(Mercurial's `chg` does the same.)
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from orchestrator.daemon import where

if TYPE_CHECKING:
    from socket import socket

ANSWER_S = 3.0  # for a fork; after that the command is run here
NO_POOL = "ORCHESTRATOR_NO_POOL"
# What goes over the connection: sizes, a process and a status are of 4 bytes.
SIZE, REFUSED, BEGIN = 4, 0, b"G"
# Those that live long, or are about the pool itself.
_OWN = frozenset({"up", "down", "serve"})
# What has effect when Python starts; a command that has others is run here.
_AT_START = ("PYTHON", "COVERAGE", "LC_", "LANG")
_PASSED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def delegated(arguments: list[str]) -> int | None:
    """Have a command run by the fork server; its exit code, or None if it has to be run here."""
    path = _listens(arguments)
    if path is None:
        return None
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.settimeout(ANSWER_S)
            connection.connect(path)
            request = _request(arguments)
            socket.send_fds(connection, [len(request).to_bytes(SIZE, "big")], [0, 1, 2])
            connection.sendall(request)
            process = int.from_bytes(exactly(connection, SIZE), "big")
        except (OSError, EOFError):
            return None
        return None if process == REFUSED else _accompany(process, connection)


def _listens(arguments: list[str]) -> str | None:
    """Where the fork server listens that this command may use; None if there is none."""
    if not arguments or arguments[0] in _OWN or "--no-pool" in arguments:
        return None
    if os.environ.get(NO_POOL) or not hasattr(os, "fork"):
        return None
    if "opentelemetry.instrumentation.auto_instrumentation" in sys.modules:
        return None  # its providers are in this process
    if arguments[:2] == ["completion", "values"]:  # about another command, in one word
        arguments = "".join(arguments[2:3]).split()
    servers = where.DEFAULT_SERVERS
    for number, word in enumerate(arguments):
        if word == "--servers":
            servers = "".join(arguments[number + 1 : number + 2])
        elif word.startswith("--servers="):
            servers = word.partition("=")[2]
    try:
        directory = where.directory()
        if not os.path.isdir(directory):
            return None
        where.check(directory)
    except (where.UnsafeError, OSError):
        return None
    path = os.path.join(directory, f"{where.name_of(servers)}.fork")
    return path if os.path.exists(path) else None


def stamp() -> str:
    """What has to be the same on both sides: the interpreter, how it was started, and the code."""
    at_start = [f"{name}={os.environ[name]}" for name in os.environ if name.startswith(_AT_START)]
    package, newest = os.path.dirname(os.path.dirname(__file__)), 0
    for folder, _, names in os.walk(package):
        files = [os.path.join(folder, name) for name in names if name.endswith(".py")]
        newest = max([newest, *(os.stat(file).st_mtime_ns for file in files)])
    flags = f"{sys.flags} {sys.warnoptions} {sys._xoptions}"
    return f"{sys.executable} {sys.version} {flags} {sorted(at_start)} {package} {newest}"


def _request(arguments: list[str]) -> bytes:
    umask = os.umask(0o077)
    os.umask(umask)
    parts = [stamp(), os.getcwd(), f"{umask}", f"{len(arguments)}", *arguments]
    texts = [*parts, *(f"{name}={value}" for name, value in os.environ.items())]
    return b"\0".join(map(os.fsencode, texts))


def exactly(connection: socket, size: int) -> bytes:
    """As many bytes; raises an EOFError if the other side ends before."""
    parts = []
    while size:
        part = connection.recv(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _accompany(process: int, connection: socket) -> int:
    """Let the process begin, pass signals on to it, and end as it ends."""
    connection.settimeout(None)
    for name in _PASSED:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of `nohup`, or of `&` in a script
            signal.signal(number, lambda number, _: _pass_on(process, number))
    signal.signal(signal.SIGTSTP, lambda *_: _stop(process))
    try:
        connection.sendall(BEGIN)
        status = int.from_bytes(exactly(connection, SIZE), "big", signed=True)
    except (OSError, EOFError):
        message = "the process of the warm pool that ran this command was killed"
        print(f"orchestrator: {message}; its run: orchestrator show last", file=sys.stderr)
        return 1
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _pass_on(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return  # it has just ended


def _stop(process: int) -> None:
    """Stop both, as Ctrl-Z does, until somebody goes on with this one."""
    # The other one has no terminal, and a process without one ignores SIGTSTP.
    _pass_on(process, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    _pass_on(process, signal.SIGCONT)
