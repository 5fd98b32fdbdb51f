"""Says how to fix a program that does not start, from what is on this machine.

Why it did not start is known from the exception. Of what the program wrote only its stderr is read,
if it ended at its start: another server or a message over the protocol cannot bring about a hint.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from orchestrator.documents.text import quoted
from orchestrator.servers.config import Server

_MAX_PATH = 300
_PYTHON = re.compile(r"python(3(\.\d+)?)?(\.exe)?")

# Why a program did not start: there is none, the system does not run it, it cannot be started
# for another reason, or it ended. Of a URL: it refuses what the transport sends. Else it is empty.
Cause = Literal["", "missing", "not_runnable", "not_started", "ended", "refused"]

_OF_OTHER_TRANSPORT = {
    False: 'If it speaks the HTTP+SSE of protocol 2024-11-05, set transport = "sse"',
    True: 'If it speaks streamable HTTP, leave out transport = "sse"',
}


def cause_of(failure: BaseException) -> Cause:
    """Why the system did not start a program."""
    match failure:
        case FileNotFoundError():
            return "missing"
        case PermissionError() | OSError(errno=errno.ENOEXEC):
            return "not_runnable"
        case OSError():
            return "not_started"
    return ""


def start_hint(server: Server, cause: Cause, stderr: Iterable[str]) -> str:
    """How to fix a program that did not start; empty if that is not known."""
    if cause == "refused":
        return _OF_OTHER_TRANSPORT[server.is_sse] if server.url else ""
    command, cwd = server.command, Path(server.cwd or ".").absolute()
    if not command or not cause:
        return ""
    if cause == "ended":
        is_python = _PYTHON.fullmatch(Path(command).name)
        misses = is_python and any("No module named" in line for line in stderr)
        return _of_other_python(command, server.env.get("PATH")) if misses else ""
    if not cwd.is_dir():
        return f"Its cwd {_shown(cwd)} is no directory"
    if cause == "not_runnable":
        return "Make it executable, and name its interpreter in its first line, or in command"
    return _of_missing(command, cwd, server.env.get("PATH")) if cause == "missing" else ""


def _of_missing(command: str, cwd: Path, path: str | None) -> str:
    """Why there is no such program."""
    if os.path.dirname(command):  # noqa: PTH120 - Path would drop a leading "./"
        program = cwd / command
        if program.exists():
            return "The interpreter that its first line names does not exist"
        return f"A relative program is searched in its cwd: {_shown(program)} does not exist"
    if (cwd / command).is_file():
        return f'Only PATH is searched: for the file in its cwd, write "./{command}"'
    if _PYTHON.fullmatch(command):
        return f"The Python that runs orchestrator is {_shown(Path(sys.executable))}"
    searched = "the PATH in its env" if path is not None else "PATH"
    return f"It is not on {searched}: install it, or write its whole path"


def _of_other_python(command: str, path: str | None) -> str:
    """That the `python` on PATH is not the one that runs this program, and has other packages."""
    found = shutil.which(command, path=path)
    if found is None or Path(found).parent == Path(sys.executable).parent:
        return ""
    ours = _shown(Path(sys.executable))
    return (
        f"It ran {_shown(Path(found))}, and orchestrator runs with {ours}: activate the "
        "environment that has the module, or write the whole path of its Python as command"
    )


def _shown(path: Path) -> str:
    return quoted(str(path), _MAX_PATH)
