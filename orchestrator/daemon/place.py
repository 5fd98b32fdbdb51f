"""Where the pool of a servers' file is found: a directory of this user, and files in it.

A directory that anybody else can write, or that is not this user's, is never used.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from orchestrator.daemon import where
from orchestrator.documents.text import quoted
from orchestrator.errors import OrchestratorError

KEY_BYTES = 32


class UnsafePlaceError(OrchestratorError):
    """The directory of pools cannot be used: somebody else could reach what is in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one pool.

    Attributes:
        directory: Where they are; only this user can reach it.
        name: What they begin with.
    """

    directory: Path
    name: str

    @classmethod
    def of(cls, servers: Path) -> Place:
        """The place of the pool of a servers' file; nothing is made.

        Raises:
            UnsafePlaceError: The directory is not this user's alone.
        """
        return cls(_directory(), where.name_of(str(servers)))

    @property
    def socket(self) -> Path:
        """Where the pool listens."""
        return self._file("sock")

    @property
    def forks(self) -> Path:
        """Where its fork server listens."""
        return self._file("fork")

    @property
    def alive(self) -> Path:
        """What the pool has locked as long as it lives; it holds the number of its process."""
        return self._file("alive")

    @property
    def starting(self) -> Path:
        """What `up` and `down` lock while they work."""
        return self._file("lock")

    @property
    def log(self) -> Path:
        """What the pool writes to."""
        return self._file("log")

    def _file(self, suffix: str) -> Path:
        return self.directory / f"{self.name}.{suffix}"

    def make(self) -> None:
        """Make the directory, if there is none.

        Raises:
            UnsafePlaceError: It cannot be made, or is not this user's alone.
        """
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unsafe(self.directory, error.strerror or str(error)) from None
        check(self.directory)

    def pid(self) -> int | None:
        """The process of the pool, or of the last one."""
        try:
            return int(self.alive.read_text())
        except (OSError, ValueError):
            return None

    def key(self) -> bytes:
        """The key of the hashes of configurations; empty if there is none yet."""
        try:
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self._file("key"), flags)
        except OSError:
            return b""
        try:
            return os.read(descriptor, KEY_BYTES)
        finally:
            os.close(descriptor)

    def new_key(self) -> bytes:
        """The key; it is made if there is none."""
        if len(key := self.key()) == KEY_BYTES:
            return key
        path, key = self._file("key"), secrets.token_bytes(KEY_BYTES)
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, key)
        finally:
            os.close(descriptor)
        return key


def check(directory: Path) -> None:
    """Raise an `UnsafePlaceError` unless only this user can reach a directory; none is fine."""
    try:
        where.check(str(directory))
    except where.UnsafeError as error:
        raise _unsafe(directory, str(error)) from None


def _unsafe(directory: Path, why: str) -> UnsafePlaceError:
    return UnsafePlaceError(f"{quoted(str(directory), 200)} cannot hold a warm pool: {why}")


def _directory() -> Path:
    """The directory of all pools of this user."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "getuid"):
        raise UnsafePlaceError("a warm pool needs Unix sockets, which this system does not have")
    directory = Path(where.directory())
    check(directory)
    return directory
