"""Text files: read as UTF-8, written whole or not at all."""

from __future__ import annotations

import errno
import stat
import uuid
from pathlib import Path

from orchestrator.errors import Problem, WorkflowError


def read_text(path: Path, error: type[WorkflowError] = WorkflowError, hint: str = "") -> str:
    """The text of a file without a byte order mark; raises `error` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as failure:
        message = f"cannot be read: {failure.strerror or failure}"
    except UnicodeDecodeError as failure:
        message = f"is not UTF-8: byte {failure.start} is {failure.object[failure.start]:#x}"
        hint = hint or "save it as UTF-8"
    raise error(str(path), [Problem("unreadable_file", message, hint=hint)])


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
