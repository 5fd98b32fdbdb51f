"""Where logins are kept: in the keyring of the system if there is one, else in private files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import ValidationError

from orchestrator.auth.record import VERSION, Login
from orchestrator.auth.settings import Subject
from orchestrator.auth.vaults import (
    VARIABLE,
    Files,
    Keyring,
    UnusableLoginError,
    Vault,
    default_directory,
    keyring,
)
from orchestrator.documents.file_lock import FileLock
from orchestrator.documents.text import quoted
from orchestrator.transport.authorization import NotAuthorizedError

logger = logging.getLogger("orchestrator")

# How long another process may take to renew a token, and how often it is looked whether it has.
LOCKED_S = 60.0
LOOK_S = 0.05
_T = TypeVar("_T")


class LoginStore:
    """The logins of this user.

    Args:
        directory: Where to keep files; None: where they are by default, and rather in the keyring.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files = Files(directory or default_directory())
        self._account: tuple[int, str] | None = None  # with the changes until it was read
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
        """The login of a subject; None if there is none.

        Raises:
            UnusableLoginError: There is one that cannot be used, and why.
        """
        if not self.changes(subject) and not self._files.has(subject.key):
            return None  # nobody has ever logged in
        if (text := self._vault.read(subject.key)) is None:
            return None
        try:
            login = Login.model_validate_json(text)
        except ValidationError:  # which would show what is in it
            what = f"{self._vault.name(subject.key)} {_fault(text)}"
            raise UnusableLoginError(what) from None
        return login if login.fits(subject) else None

    async def account(self, subject: Subject) -> str:
        """Whose login it is: another one after each login by a person; empty if nobody's."""
        changes = self.changes(subject)
        if self._account is None or self._account[0] != changes:
            login = None
            with suppress(UnusableLoginError):
                login = await in_thread(self.read, subject)
            is_over = login is None or login.tokens is None
            self._account = changes, "" if is_over or login is None else login.account
        return self._account[1]

    def set_aside(self, subject: Subject) -> None:
        """Move a login out of the way that cannot be used, and say where it is; no other one.

        Raises:
            OSError: It cannot be moved.
        """
        try:
            self.read(subject)
        except UnusableLoginError as error:
            aside = self._vault.set_aside(subject.key)
            self._files.note_change(subject.key)
            what = "the login to server %s cannot be used: %s. It is kept as %s"
            logger.warning(what, quoted(subject.name), error, aside)

    def write(self, subject: Subject, login: Login) -> None:
        """Keep a login in place of the one before.

        Raises:
            OSError: Its file cannot be written.
        """
        self._vault.write(subject.key, login.model_dump_json(exclude_none=True))
        self._files.note_change(subject.key)

    def remove(self, subject: Subject) -> Login | None:
        """Forget a login, in all processes; the one that it was, if somebody was logged in.

        Raises:
            UnusableLoginError: There is one that cannot be used; it is not removed.
        """
        login = self.read(subject)
        if self._vault.remove(subject.key):
            self._files.note_change(subject.key)
        return None if login is None or login.tokens is None else login

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


def _fault(text: str) -> str:
    """Why a text is no login."""
    with suppress(ValueError):
        match json.loads(text):
            case {"version": int(version)} if version != VERSION:
                return f"is of another version of orchestrator ({version})"
    return "is damaged"


async def in_thread(work: Any, *given: Any) -> Any:
    """Do what may take time: a keyring can ask its user."""
    return await anyio.to_thread.run_sync(work, *given, abandon_on_cancel=True)
