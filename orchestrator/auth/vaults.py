"""Keeps texts by key: in the keyring of the system, or in files that only this user can read."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from orchestrator.documents.file_lock import FileLock
from orchestrator.documents.text import quoted

logger = logging.getLogger("orchestrator")

# Names a directory in which logins are kept as files, whatever keyring there is.
VARIABLE = "ORCHESTRATOR_LOGINS"
SERVICE = "orchestrator"
MAX_PATH = 200


class UnusableLoginError(Exception):
    """A login is kept, and cannot be used: it is left as it is until somebody logs in or out."""


class Vault(Protocol):
    """Keeps texts by key."""

    def read(self, key: str) -> str | None:
        """The text; None if there is none.

        Raises:
            UnusableLoginError: It cannot be read, or others could have read or written it.
        """

    def write(self, key: str, text: str) -> None:
        """Keep a text in place of the one before."""

    def remove(self, key: str) -> bool:
        """Forget a text; whether there was one."""

    def set_aside(self, key: str) -> str:
        """Keep a text under another name, out of the way; where it is now.

        Raises:
            OSError: It cannot be moved.
        """

    def name(self, key: str) -> str:
        """Where a text is, for people."""


class Files:
    """A file for each text, which only this user can read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, key: str) -> str | None:
        """The text; None if there is none."""
        path = self._path(key)
        try:
            about, text = path.lstat(), path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            raise UnusableLoginError(f"{self.name(key)} is damaged") from None
        except OSError as error:
            what = f"{self.name(key)} cannot be read: {error.strerror or error}"
            raise UnusableLoginError(what) from None
        if why := _unsafe(about) or _unsafe(self.directory.stat(), is_directory=True):
            raise UnusableLoginError(f"{why} {self.name(key)}")
        return text

    def has(self, key: str) -> bool:
        """Whether there is a text, usable or not."""
        return os.path.lexists(self._path(key))

    def name(self, key: str) -> str:
        return quoted(str(self._path(key)), MAX_PATH)

    def set_aside(self, key: str) -> str:
        path = self._path(key)
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        return quoted(str(aside), MAX_PATH)

    def write(self, key: str, text: str) -> None:
        """Keep a text in place of the one before, whole or not at all."""
        path = self._path(key)
        self._make()
        beside = path.with_suffix(f".{os.getpid()}")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)

    def remove(self, key: str) -> bool:
        """Forget a text; whether there was one."""
        if was_there := self.has(key):
            self._path(key).unlink(missing_ok=True)
        return was_there

    def lock(self, key: str) -> FileLock:
        """What is held while a text is replaced by one that is made of it."""
        self._make()
        return FileLock(self.directory / f"{key}.lock")

    def changes(self, key: str) -> int:
        """How often a text was replaced or removed, wherever it is kept."""
        try:
            return (self.directory / f"{key}.lock").stat().st_size
        except OSError:
            return 0

    def note_change(self, key: str) -> None:
        """Count a change: the lock file grows by a byte."""
        self._make()
        path = self.directory / f"{key}.lock"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.json"


def _unsafe(about: os.stat_result, *, is_directory: bool = False) -> str:
    """Why a file, or its directory, may be known or made by others; empty if it is only ours."""
    if sys.platform == "win32":
        return ""
    if about.st_uid != os.getuid():
        return f"its {'directory' if is_directory else 'file'} belongs to another user"
    if is_directory:
        return "others can write to the directory of" if about.st_mode & 0o022 else ""
    if not stat.S_ISREG(about.st_mode):
        return "it is not a regular file"
    return "others can read its file" if about.st_mode & 0o077 else ""


class Keyring:
    """The keyring of the system; what it does not take is kept in files.

    Args:
        ring: What the library `keyring` has found.
        files: For what is too long for it, or if it fails.
    """

    def __init__(self, ring: Any, files: Files) -> None:
        self._ring, self._files = ring, files

    def read(self, key: str) -> str | None:
        return self._held(key) or self._files.read(key)

    def _held(self, key: str) -> str | None:
        text: str | None = self._safely(lambda: self._ring.get_password(SERVICE, key))
        return text

    def name(self, key: str) -> str:
        return self._entry(key) if self._held(key) else self._files.name(key)

    def _entry(self, key: str) -> str:
        return f"entry {quoted(key)} of {quoted(SERVICE)} in the keyring"

    def set_aside(self, key: str) -> str:
        if (text := self._held(key)) is None:
            return self._files.set_aside(key)
        aside = f"{key}.damaged-{time.time_ns()}"
        try:
            self._ring.set_password(SERVICE, aside, text)
            self._ring.delete_password(SERVICE, key)
        except Exception as error:  # of any kind, see `_safely`
            raise OSError(f"the keyring cannot be used ({type(error).__name__})") from None
        return self._entry(aside)

    def write(self, key: str, text: str) -> None:
        def keep() -> bool:
            self._ring.set_password(SERVICE, key, text)
            return True

        if self._safely(keep):
            self._files.remove(key)
        else:
            self._files.write(key, text)

    def remove(self, key: str) -> bool:
        was_there = bool(self._held(key)) or self._files.has(key)
        with suppress(Exception):  # there is none, or it cannot be reached and says nothing either
            self._ring.delete_password(SERVICE, key)
        self._files.remove(key)
        return was_there

    def _safely(self, ask: Any) -> Any:
        try:
            return ask()
        # Each kind of keyring raises what its system does: a bus that is not there, a refusal.
        except Exception as error:
            logger.warning("the keyring cannot be used (%s): a file is", type(error).__name__)
            return None


def keyring() -> Any | None:
    """The keyring of the system; None without the library, or if it has found none."""
    try:
        import keyring
    except ImportError:
        return None
    ring = keyring.get_keyring()
    return ring if getattr(ring, "priority", 0) > 0 else None


def default_directory() -> Path:
    """Where files of logins are."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    import platformdirs

    return platformdirs.user_state_path("orchestrator", appauthor=False) / "logins"
