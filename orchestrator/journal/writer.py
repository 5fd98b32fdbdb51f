"""The one thread of a process that writes to a journal: many records in each commit.

An event loop never waits for the disk unless it asks to. See "Group commit" in the documentation of
SQLite: what a commit costs is the sync, however many rows it has.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

from orchestrator.errors import JournalError
from orchestrator.journal.database import open_to_write, unusable
from orchestrator.journal.file_lock import FileLock

MAX_BATCH = 1_000
# Between commits another process gets its turn: without it one that writes all the time starves the
# others.
PAUSE_S = 0.002
CHECKPOINT_PAGES = 1_000

Values = Callable[[], tuple[object, ...]]
OnCommit = Callable[[float], None]


class Write(NamedTuple):
    """One statement; its values are made in the thread that writes, as JSON text takes long."""

    lease: Lease
    statement: str
    values: Values


class Lease:
    """That this process carries a run: every write checks its epoch.

    Attributes:
        run: The id of the run.
        epoch: How often a process began to carry it.
        error: Why nothing more is written for it; None if all is well.
    """

    def __init__(self, run: str, epoch: int) -> None:
        self.run, self.epoch = run, epoch
        self.error: JournalError | None = None


class _Waiter:
    """A task that waits until all that was put before is durable."""

    def __init__(self) -> None:
        self.token: EventLoopToken = current_token()
        self.done = anyio.Event()


class Writer:
    """Writes to a journal in a thread of its own.

    Args:
        path: The file.
        on_commit: Receives how long each commit took, seconds, in the thread that writes; it must
            not raise.

    Attributes:
        error: Why nothing can be written any more; None if all is well.
    """

    def __init__(self, path: Path, on_commit: OnCommit = lambda _: None) -> None:
        self.path, self._on_commit = path, on_commit
        self.error: JournalError | None = None
        self._queue: queue.SimpleQueue[Write | _Waiter | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, which may take a moment, and start to write.

        Raises:
            JournalError: The file cannot be used.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._turn():
                self._db = open_to_write(self.path)
                self._db.execute("pragma wal_autocheckpoint=0")  # it would come without the lock
        except OSError as error:
            raise unusable(self.path, error) from None
        self._thread.start()

    def put(self, lease: Lease, statement: str, values: Values) -> None:
        """Have something written soon. It never raises; see `error` and `Lease.error`."""
        self._queue.put(Write(lease, statement, values))

    async def flush(self) -> None:
        """Wait until all that was put so far is durable, or can never be; see `error`."""
        waiter = _Waiter()
        self._queue.put(waiter)
        await waiter.done.wait()

    def close(self) -> None:
        """Write what was put so far, and close the file."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        if self._db is not None:
            with suppress(OSError, sqlite3.Error), self._turn():
                self._db.close()
            self._db = None

    def call(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do something at once, in a transaction of its own.

        Raises:
            JournalError: It failed.
        """
        with self._own_connection() as db:
            db.execute("begin immediate")
            try:
                work(db)
                db.execute("commit")
            finally:
                if db.in_transaction:
                    db.execute("rollback")

    def shrink(self) -> None:
        """Give the space of what was deleted back to the disk, after the thread ended."""
        with self._own_connection() as db:
            db.executescript("pragma incremental_vacuum")  # `execute` would free one page
            db.execute("pragma wal_checkpoint(truncate)").fetchall()

    @contextmanager
    def _own_connection(self) -> Iterator[sqlite3.Connection]:
        """A connection beside that of the thread, opened and closed while nobody else writes."""
        try:
            with self._turn(), closing(open_to_write(self.path)) as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            raise unusable(self.path, error) from None

    def _turn(self) -> AbstractContextManager[None]:
        """Nobody else writes in the block, in this process or another.

        Each block has a lock of its own: two threads that shared one could lose its descriptor.
        """
        return FileLock(self.path.with_name(f"{self.path.name}.lock")).holding()

    def _run(self) -> None:
        open_ended = True
        while open_ended:
            batch = [self._queue.get(), *_drain(self._queue)]
            open_ended = None not in batch
            writes = [each for each in batch if isinstance(each, Write)]
            if writes and self.error is None:
                self._commit(writes)
            _wake([each for each in batch if isinstance(each, _Waiter)])
            if writes:
                time.sleep(PAUSE_S)

    def _commit(self, writes: list[Write]) -> None:
        db = self._db
        assert db is not None
        began = time.perf_counter()
        try:
            with self._turn():
                db.execute("begin immediate")
                for lease in {write.lease for write in writes}:
                    _check(db, lease)
                for write in writes:
                    if write.lease.error is None:
                        db.execute(write.statement, write.values())
                db.execute("commit")
                self._on_commit(time.perf_counter() - began)
                self._checkpoint(db)
        except (OSError, sqlite3.Error) as error:
            self.error = unusable(self.path, error)
        except Exception as bug:  # the thread must not end: others wait for it
            self.error = JournalError(f"a bug in the journal: {type(bug).__name__}: {bug}")
        finally:
            # A full disk has rolled back everything already.
            if db.in_transaction:
                db.execute("rollback")

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        wal = self.path.with_name(f"{self.path.name}-wal")
        with suppress(FileNotFoundError):
            if wal.stat().st_size > CHECKPOINT_PAGES * 4096:
                db.execute("pragma wal_checkpoint(passive)").fetchall()


def _wake(waiters: list[_Waiter]) -> None:
    """Wake all waiters of an event loop in one turn of it: each turn that is waited for is slow."""
    found: defaultdict[EventLoopToken, list[_Waiter]] = defaultdict(list)
    for waiter in waiters:
        found[waiter.token].append(waiter)
    for token, of_loop in found.items():
        with suppress(anyio.RunFinishedError):  # the event loop is gone
            run_sync(_set_all, of_loop, token=token)


def _set_all(waiters: list[_Waiter]) -> None:
    for waiter in waiters:
        waiter.done.set()


def _check(db: sqlite3.Connection, lease: Lease) -> None:
    """Give a lease an error if another process has taken over its run."""
    found = db.execute("select epoch from run where id=?", (lease.run,)).fetchone()
    if found is not None and found[0] != lease.epoch:
        lease.error = JournalError(f"another process carries run {lease.run} now")


def _drain(waiting: queue.SimpleQueue[Write | _Waiter | None]) -> Iterator[Write | _Waiter | None]:
    for _ in range(MAX_BATCH):
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return
