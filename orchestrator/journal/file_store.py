"""A journal in a SQLite file: one connection writes, and files beside it say who carries a run."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.file_lock import FileLock
from orchestrator.errors import CarriedError, JournalError
from orchestrator.journal.database import open_to_read, runs_of
from orchestrator.journal.file_session import FileSession
from orchestrator.journal.live import FRESH_S, WATCHED_S, document_of
from orchestrator.journal.store import Database, Session

if TYPE_CHECKING:
    from orchestrator.engine.task_state import RunState
    from orchestrator.journal.writer import Lease, Writer


def lock_path(journal: Path, run: str) -> Path:
    """The file that a process locks while it carries a run."""
    return runs_of(journal) / run


def asked_path(journal: Path, run: str) -> Path:
    """The file that asks the process that carries a run to end it."""
    return _beside(journal, run, "cancel")


def _beside(journal: Path, run: str, what: str) -> Path:
    path = lock_path(journal, run)
    return path.with_name(f"{path.name}.{what}")


class FileClaim:
    """A lock on a file for each run, whose time is that of the last beat; see `Claim`."""

    losses: Sequence[str] = ()

    def __init__(self, journal: Path, run: str, session: Session) -> None:
        self._journal, self._run, self._session = journal, run, session
        self._lock = FileLock(lock_path(journal, run))
        self._asked = asked_path(journal, run)
        self._lock.path.parent.mkdir(mode=0o700, exist_ok=True)

    def begin(self) -> None:
        """See `Claim`."""
        self._hold(0.0)

    def describe(self, text: str) -> None:
        """See `Claim`."""
        _beside(self._journal, self._run, "live").write_text(text)

    def take(self, then: Callable[[Database], object], elapsed_s: float | None = None) -> float:
        """See `Claim`."""
        path = self._lock.path
        if elapsed_s is None:
            elapsed_s = _carried_s(path) if path.exists() else 0.0
        self._hold(elapsed_s)
        try:
            self._session.call(then, self._run)
        except BaseException:
            self.free()
            raise
        return elapsed_s

    def _hold(self, elapsed_s: float) -> None:
        path = self._lock.path
        try:
            taken = self._lock.acquire(wait=False)
        except OSError as error:
            raise JournalError(f"{path} cannot be written: {error.strerror}") from None
        if not taken:
            owner = path.read_text().partition("\n")[2]
            raise CarriedError(f"run {self._run} is carried by another process: {owner}")
        self._asked.unlink(missing_ok=True)
        owner = f"process {os.getpid()} on {platform.node()}"
        self._lock.write(f"{time.time() - elapsed_s}\n{owner}")

    @property
    def is_asked_to_end(self) -> bool:
        """See `Claim`."""
        return self._asked.exists()

    def beat(self, state: Callable[[], RunState]) -> None:
        """See `Claim`."""
        self._lock.beat()
        tell(self._journal, self._run, state)

    def free(self) -> None:
        """See `Claim`."""
        self._lock.release()

    def end_with_next(self) -> None:
        """See `Claim`."""  # The run is to be over before others may lock it.

    def end(self, *, is_kept: bool) -> None:
        """See `Claim`."""
        self.free()
        self._asked.unlink(missing_ok=True)
        _forget_live(self._journal, self._run)
        if is_kept:
            self._lock.path.unlink(missing_ok=True)


def set_aside(journal: Path) -> str:
    """Rename a damaged journal, so that a new one can begin; its name."""
    aside = journal.with_name(f"{journal.name}.damaged-{time.time():.0f}")
    journal.rename(aside)
    return aside.name


def _carried_s(path: Path) -> float:
    """How long a run was carried: until the last beat, since it began, pauses left out."""
    began = path.read_text().partition("\n")[0]
    return max(0.0, path.stat().st_mtime - float(began)) if began else 0.0


def tell(journal: Path, run: str, state: Callable[[], RunState]) -> None:
    """Write what a run does now, if somebody looks."""
    with suppress(OSError):  # nobody looks, or it cannot be written: the run goes on
        if time.time() - _beside(journal, run, "watched").stat().st_mtime > WATCHED_S:
            return
        path = _beside(journal, run, "live")
        draft = path.with_name(f"{path.name}.new")
        draft.touch(mode=0o600)
        draft.write_text(to_json(document_of(state())), encoding="utf-8")
        draft.replace(path)


def _forget_live(journal: Path, run: str) -> None:
    for what in ("watched", "live"):
        _beside(journal, run, what).unlink(missing_ok=True)


class FileStore:
    """A journal in a file; see `Store`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def session(self) -> FileSession:
        """See `Store`."""
        return FileSession(self.path)

    def open_to_read(self) -> Database:
        """See `Store`."""
        return open_to_read(self.path)

    def claim(self, writer: Writer, lease: Lease, /) -> FileClaim:
        """See `Store`."""
        return FileClaim(self.path, lease.run, writer.session)

    def is_carried(self, _: Database, run: str, /) -> bool:
        """See `Store`."""
        path = lock_path(self.path, run)
        if not path.exists():
            return False
        lock = FileLock(path)
        if not lock.acquire(wait=False):
            return True
        lock.release()
        return False

    def carried_s(self, _: Database, run: str, /) -> float:
        """See `Store`."""
        path = lock_path(self.path, run)
        return _carried_s(path) if path.exists() else 0.0

    def ask_to_end(self, run: str) -> None:
        """See `Store`."""
        asked_path(self.path, run).touch(mode=0o600)

    def granter(self) -> None:
        """See `Store`: other machines may have the same file."""

    def shared_locks(self) -> list[dict[str, Any]]:
        """See `Store`."""
        return []

    def forget(self, _: Database, run: str, /) -> None:
        """See `Store`."""
        lock_path(self.path, run).unlink(missing_ok=True)
        _forget_live(self.path, run)

    def watch(self, run: str) -> None:
        """See `Store`."""
        if lock_path(self.path, run).exists():
            with suppress(OSError):  # where nothing can be written, the journal alone is watched
                _beside(self.path, run, "watched").touch(mode=0o600)

    def seen(self, run: str) -> dict[str, Any] | None:
        """See `Store`."""
        path = _beside(self.path, run, "live")
        try:
            if time.time() - path.stat().st_mtime > FRESH_S:
                return None
            document: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):  # there is none any more
            return None
        return document

    def beats(self, run: str) -> bool:
        """See `Store`."""
        try:
            return time.time() - lock_path(self.path, run).stat().st_mtime <= FRESH_S
        except OSError:
            return False

    def sign(self, run: str | None = None) -> object:
        """See `Store`."""
        # A run that is killed writes nothing.
        last = runs_of(self.path) if run is None else _beside(self.path, run, "live")
        wal = self.path.with_name(f"{self.path.name}-wal")
        return tuple(map(_stamp, (self.path, wal, last)))

    def exists(self) -> bool:
        """See `Store`."""
        return self.path.exists()

    def size(self) -> int:
        """See `Store`."""
        return self.path.stat().st_size


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes whenever a file does; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
