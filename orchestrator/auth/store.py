"""Where logins are kept: in the keyring of the system if there is one, else in private files."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
from pydantic import ValidationError

from orchestrator.auth.record import Login
from orchestrator.auth.settings import Subject
from orchestrator.documents.file_lock import FileLock
from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError

logger = logging.getLogger("orchestrator")

# Names a directory in which logins are kept as files, whatever keyring there is.
VARIABLE = "ORCHESTRATOR_LOGINS"
SERVICE = "orchestrator"
# How long another process may take to renew a token, and how often it is looked whether it has.
LOCKED_S = 60.0
LOOK_S = 0.05
_T = TypeVar("_T")


class Vault(Protocol):
    """Keeps texts by key."""

    def read(self, key: str) -> str | None: ...

    def write(self, key: str, text: str) -> None: ...

    def remove(self, key: str) -> bool: ...


class Files:
    """A file for each text, which only this user can read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, key: str) -> str | None:
        """The text; None if there is none, or others could have read or written it."""
        path = self._path(key)
        try:
            about, text = path.lstat(), path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("a login cannot be read from %s: %s", quoted(str(path), 200), error)
            return None
        if why := _unsafe(about) or _unsafe(self.directory.stat(), is_directory=True):
            what = "a login is not used, since %s %s: log in again"
            logger.warning(what, why, quoted(str(path), 200))
            return None
        return text

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
        path = self._path(key)
        if not path.exists():
            return False
        path.unlink(missing_ok=True)
        return True

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
        return f"somebody else owns its {'directory' if is_directory else 'file'}"
    if is_directory:
        return "others can write to the directory of" if about.st_mode & 0o022 else ""
    if not stat.S_ISREG(about.st_mode):
        return "it is no regular file"
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
        """The text; None if there is none."""
        return self._safely(lambda: self._ring.get_password(SERVICE, key)) or self._files.read(key)

    def write(self, key: str, text: str) -> None:
        """Keep a text in place of the one before."""

        def keep() -> bool:
            self._ring.set_password(SERVICE, key, text)
            return True

        if self._safely(keep):
            self._files.remove(key)
        else:
            self._files.write(key, text)

    def remove(self, key: str) -> bool:
        """Forget a text; whether there was one."""
        was_there = self.read(key) is not None
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


class LoginStore:
    """The logins of this user.

    Args:
        directory: Where to keep files; None: where they are by default, and rather in the keyring.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files = Files(directory or default_directory())
        self._only_files = directory is not None or VARIABLE in os.environ

    @cached_property
    def _vault(self) -> Vault:
        """Found when it is first needed: looking for a keyring takes time."""
        ring = None if self._only_files else keyring()
        return self._files if ring is None else Keyring(ring, self._files)

    @property
    def kind(self) -> str:
        """Where they are, for people."""
        if isinstance(self._vault, Keyring):
            return "the keyring of the system"
        return str(self._files.directory)

    def read(self, subject: Subject) -> Login | None:
        """The login of a subject; None if there is none that can be used."""
        if not self.changes(subject):  # nobody has ever logged in
            return None
        if (text := self._vault.read(subject.key)) is None:
            return None
        try:
            login = Login.model_validate_json(text)
        except ValidationError:  # which would show what is in it
            what = "the login to server %s is damaged: run orchestrator login %s"
            logger.warning(what, quoted(subject.name), subject.name)
            return None
        return login if login.fits(subject) else None

    def write(self, subject: Subject, login: Login) -> None:
        """Keep a login in place of the one before.

        Raises:
            OSError: Its file cannot be written.
        """
        self._vault.write(subject.key, login.model_dump_json(exclude_none=True))
        self._files.note_change(subject.key)

    def remove(self, subject: Subject) -> bool:
        """Forget a login, in all processes; whether somebody was logged in."""
        login = self.read(subject)
        if self._vault.remove(subject.key):
            self._files.note_change(subject.key)
        return login is not None and login.tokens is not None

    def changes(self, subject: Subject) -> int:
        """How often a login was replaced or removed, by any process; quick to ask."""
        return self._files.changes(subject.key)

    @asynccontextmanager
    async def locked(self, subject: Subject) -> AsyncIterator[None]:
        """Be the only one, of all processes, that changes a login while the block lasts.

        Where nothing can be written, nothing can be locked: each process is on its own.

        Raises:
            NotAuthorizedError: Another process has held it for very long.
        """
        lock: FileLock | None = None
        with anyio.move_on_after(LOCKED_S) as waiting:
            try:
                lock = self._files.lock(subject.key)
                while not lock.acquire(wait=False):
                    await anyio.sleep(LOOK_S)
            except OSError as error:
                logger.warning("logins cannot be kept in %s: %s", quoted(self.kind, 200), error)
        if waiting.cancelled_caught:
            what = f"another process has been logging in for {LOCKED_S:g} s"
            raise NotAuthorizedError(what, retryable=True)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()


async def in_thread(work: Any, *given: Any) -> Any:
    """Do what may take time: a keyring can ask its user."""
    return await anyio.to_thread.run_sync(work, *given, abandon_on_cancel=True)
