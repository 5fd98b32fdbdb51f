"""The one thread of a process that writes to a journal: many records in each commit.

An event loop never waits for the disk unless it asks to. See "Group commit" in the documentation of
SQLite: what a commit costs is the sync, however many rows it has.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import NamedTuple

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

from orchestrator.errors import JournalError
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database

MAX_BATCH = 1_000
# Between commits another process gets its turn: without it one that writes all the time starves the
# others.
PAUSE_S = 0.002
# A process that stood still for less than this is taken for gone by nobody.
STOOD_STILL_S, LOOK_S = 5.5, 0.05

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

    def lose(self) -> None:
        """Another process has taken the run over."""
        self.error = JournalError(f"another process carries run {self.run} now")


class _Waiter:
    """A task that waits until all that was put before is durable."""

    def __init__(self) -> None:
        self.token: EventLoopToken = current_token()
        self.done = anyio.Event()


class Writer:
    """Writes to a journal in a thread of its own.

    Args:
        location: Where the journal is.
        on_commit: Receives how long each commit took, seconds, in the thread that writes; it must
            not raise.

    Attributes:
        session: What it writes with.
        error: Why nothing can be written any more; None if all is well.
    """

    def __init__(self, location: Location, on_commit: OnCommit = lambda _: None) -> None:
        self.location, self._on_commit = location, on_commit
        self.session = store_of(location).session()
        self.error: JournalError | None = None
        self._queue: queue.SimpleQueue[Write | _Waiter | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def open(self) -> None:
        """Open the journal, which may take a moment, and start to write.

        Raises:
            JournalError: It cannot be used.
        """
        self.session.open()
        self._thread.start()

    def put(self, lease: Lease, statement: str, values: Values) -> None:
        """Have something written soon. It never raises; see `error` and `Lease.error`."""
        self._queue.put(Write(lease, statement, values))

    async def flush(self, lease: Lease | None = None) -> None:
        """Wait until all that was put so far is durable, or can never be; see `error`.

        A process that stood still meanwhile may be late: with the lease of a run that it carries,
        it waits until `Lease.error` would say so.
        """
        waiter = _Waiter()
        self._queue.put(waiter)
        await waiter.done.wait()
        while lease is not None and not (self.error or lease.error):
            if self.session.is_current(STOOD_STILL_S):
                return
            await anyio.sleep(LOOK_S)

    def close(self) -> None:
        """Write what was put so far, and close the journal."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self.session.close()

    def _run(self) -> None:
        open_ended = True
        while open_ended:
            batch = list(_drain(self._queue, self.session.beat_s, self.session.gather_s))
            open_ended = None not in batch
            writes = [each for each in batch if isinstance(each, Write)]
            self._commit(writes)
            _wake([each for each in batch if isinstance(each, _Waiter)])
            if writes:
                time.sleep(PAUSE_S)

    def _commit(self, writes: list[Write]) -> None:
        if self.error is not None:
            return
        try:
            if writes:
                self._on_commit(self.session.commit(partial(_write, writes)))
            self.session.beat()
        except self.session.errors as error:
            self.error = self.session.error_of(error)
        except Exception as bug:  # the thread must not end: others wait for it
            self.error = JournalError(f"a bug in the journal: {type(bug).__name__}: {bug}")


def _write(writes: list[Write], db: Database) -> None:
    _check(db, {write.lease for write in writes})
    for statement, alike in groupby(writes, lambda write: write.statement):
        rows = [write.values() for write in alike if write.lease.error is None]
        if rows:
            db.executemany(statement, rows)


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


def _check(db: Database, leases: Collection[Lease]) -> None:
    """Give the leases an error whose runs another process has taken over."""
    marks = ", ".join("?" * len(leases))
    query = f"select id, epoch from run where id in ({marks}) order by id{db.sql.lock}"
    epochs = dict(db.execute(query, tuple(lease.run for lease in leases)).fetchall())
    for lease in leases:
        if epochs.get(lease.run, lease.epoch) != lease.epoch:
            lease.lose()


def _drain(
    waiting: queue.SimpleQueue[Write | _Waiter | None], limit_s: float | None, gather_s: float
) -> Iterator[Write | _Waiter | None]:
    """All that waits; it waits for the first, so long, and for more as long as nobody waits."""
    try:
        yield (last := waiting.get(timeout=limit_s))
        until = time.monotonic() + gather_s
        for _ in range(MAX_BATCH):
            left_s = until - time.monotonic() if isinstance(last, Write) else 0.0
            yield (last := waiting.get(left_s > 0, max(0.0, left_s)))
    except queue.Empty:
        return
