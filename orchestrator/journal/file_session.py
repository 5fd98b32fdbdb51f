"""What one process writes to the SQLite file of a journal with: one connection, and its turn."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

from orchestrator.documents.file_lock import FileLock
from orchestrator.errors import JournalError
from orchestrator.journal.database import SqliteConnection, open_to_write, unusable
from orchestrator.journal.store import Database

CHECKPOINT_PAGES = 1_000


class FileSession:
    """What one process writes to a file with; see `Session`."""

    beat_s: float | None = None  # the locks of the runs say who is alive
    gather_s = 0.0
    errors: tuple[type[Exception], ...] = (OSError, sqlite3.Error)

    def __init__(self, path: Path) -> None:
        self._path = path
        self.db: SqliteConnection | None = None

    def open(self) -> None:
        """See `Session`."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._turn():
                self.db = open_to_write(self._path)
                self.db.execute("pragma wal_autocheckpoint=0")  # it would come without the lock
        except OSError as error:
            raise unusable(self._path, error) from None

    def commit(self, work: Callable[[Database], object]) -> float:
        """See `Session`."""
        db = self.db
        assert db is not None
        began = time.perf_counter()
        with self._turn():
            _in_transaction(db, work)
            took_s = time.perf_counter() - began
            self._checkpoint(db)
        return took_s

    def is_current(self, within_s: float) -> bool:  # noqa: ARG002
        """See `Session`."""
        return True

    def beat(self) -> None:
        """See `Session`."""

    def close(self) -> None:
        """See `Session`."""
        if self.db is not None:
            with suppress(OSError, sqlite3.Error), self._turn():
                self.db.close()
            self.db = None

    def call(self, work: Callable[[Database], object], _: str | None = None, /) -> None:
        """See `Session`."""
        with self._own_connection() as db:
            _in_transaction(db, work)

    def shrink(self) -> None:
        """See `Session`."""
        with self._own_connection() as db:
            db.executescript("pragma incremental_vacuum")  # `execute` would free one page
            db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def error_of(self, error: Exception) -> JournalError:
        """See `Session`."""
        return unusable(self._path, error)

    @contextmanager
    def _own_connection(self) -> Iterator[SqliteConnection]:
        """A connection beside that of the thread, opened and closed while nobody else writes."""
        try:
            with self._turn(), closing(open_to_write(self._path)) as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            raise unusable(self._path, error) from None

    def _turn(self) -> AbstractContextManager[None]:
        """Nobody else writes in the block, in this process or another.

        Each block has a lock of its own: two threads that shared one could lose its descriptor.
        """
        return FileLock(self._path.with_name(f"{self._path.name}.lock")).holding()

    def _checkpoint(self, db: SqliteConnection) -> None:
        wal = self._path.with_name(f"{self._path.name}-wal")
        with suppress(FileNotFoundError):
            if wal.stat().st_size > CHECKPOINT_PAGES * 4096:
                db.execute("pragma wal_checkpoint(passive)").fetchall()


def _in_transaction(db: SqliteConnection, work: Callable[[Database], object]) -> None:
    db.execute("begin immediate")
    try:
        work(db)
        db.execute("commit")
    finally:
        # A full disk has rolled back everything already.
        if db.in_transaction:
            db.execute("rollback")
