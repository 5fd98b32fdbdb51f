"""Text files: read as UTF-8, written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
import uuid
from functools import cache
from pathlib import Path

from orchestrator.errors import Problem, WorkflowError

STDIN = Path("<stdin>")  # what the program is given on its standard input, as messages name it


@cache
def stdin_text() -> str:
    """The text on stdin, which can be read only once: a message shows lines of it."""
    return sys.stdin.buffer.read().decode("utf-8-sig") if sys.stdin else ""  # it may be closed


def text_of(path: Path) -> str:
    """The text of a file without a byte order mark; raises an OSError or a UnicodeDecodeError."""
    return stdin_text() if path == STDIN else path.read_text(encoding="utf-8-sig")


def read_text(path: Path, error: type[WorkflowError] = WorkflowError, hint: str = "") -> str:
    """The text of a file without a byte order mark; raises `error` if it cannot be read."""
    try:
        return text_of(path)
    except OSError as failure:
        message = f"cannot be read: {failure.strerror or failure}"
    except UnicodeDecodeError as failure:
        message = f"is not UTF-8: byte {failure.start} is {failure.object[failure.start]:#x}"
        hint = hint or "save it as UTF-8"
    raise error(str(path), [Problem("unreadable_file", message, hint=hint)])


def check_writable(path: Path) -> None:
    """Raise a WorkflowError if a file cannot be written, before what is to be in it is made."""
    above = path if path.exists() else path.parent
    number = 0
    if path.is_dir():
        number = errno.EISDIR
    elif not path.exists() and not above.is_dir():
        number = errno.ENOTDIR if above.exists() else errno.ENOENT
    elif not os.access(above, os.W_OK):
        number = errno.EACCES
    if number:
        raise unwritable(str(path), os.strerror(number))


def unwritable(path: str, why: str) -> WorkflowError:
    """The error of a file that cannot be written."""
    return WorkflowError(path, [Problem("unwritable_file", f"cannot be written: {why}")])


def write_text(path: Path, text: str) -> None:
    """Replace a file, or raise an OSError and leave it as it was."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # A name of its own: of two processes that write at once, the last one wins whole.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if path.exists():  # its mode stays: a private file does not become readable for all
            beside.touch(stat.S_IMODE(path.stat().st_mode))
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
