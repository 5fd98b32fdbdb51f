"""A lock on a file, which the kernel frees when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, wait: bool) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


class FileLock:
    """An exclusive lock on a file of its own, which may hold a few words about who has it.

    Never lock the file of a database itself: closing any descriptor of it frees SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool) -> bool:
        """Lock the file, which is made if there is none; whether that worked.

        Raises:
            OSError: It cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            _lock(descriptor, wait=wait)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Free it, unless that has happened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, text: str) -> None:
        """Say who has it."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def beat(self) -> None:
        """Note that its holder is alive: the time of the file becomes now."""
        if self._descriptor is not None:
            os.utime(self.path)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold it in the block, once its holder has released it."""
        if not self.acquire(wait=True):
            raise OSError(f"{self.path} cannot be locked")
        try:
            yield
        finally:
            self.release()
