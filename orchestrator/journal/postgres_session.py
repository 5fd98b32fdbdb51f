"""What one process writes to a journal in PostgreSQL with: one connection, found again if lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Protocol

import psycopg

from orchestrator.errors import JournalError
from orchestrator.journal.location import Address, store_of
from orchestrator.journal.postgres import (
    RESTART_S,
    PostgresConnection,
    check,
    connect,
)
from orchestrator.journal.store import Database, LostError

BEAT_S = 1.0
# Before others may take over what this process carries: it has gone on, or has ended, by then.
RECONNECT_S = 5.5
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.05, 1.0
_KEYS = 1 << 62  # of locks
WATCHED_S = 5.0
# What is lost with the power is no more than a beat.
_BEAT = """update carrier set beat=now_s() where process=?::bigint
and set_config('synchronous_commit', 'off', true) is not null
returning run, asked, watched > now_s() - ?"""


class Carried(Protocol):
    """A run that a process carries; the thread that writes tells it what others want.

    Attributes:
        is_asked_to_end: Whether another process asks for its end.
        is_watched: Whether another process looks at it.
        has_row: Whether the database says that this process carries it, unless another one does.
    """

    is_asked_to_end: bool
    is_watched: bool
    has_row: bool

    def lose(self) -> None:
        """Write nothing more of it: another process has taken it over."""


class PostgresSession:
    """What one process writes to a database with; see `Session`.

    Attributes:
        process: The key of the lock that it holds as long as it lives.
        carried: The runs that it carries, by id.
    """

    beat_s: float | None = BEAT_S
    gather_s = 0.01  # a commit costs what many rows cost, on both sides
    errors: tuple[type[Exception], ...] = (JournalError,)

    def __init__(self, address: Address) -> None:
        self._address = address
        self._db: PostgresConnection | None = None
        self.process = 0
        self.carried: dict[str, Carried] = {}
        self._transaction: str | None = None  # the id of one whose end is not known
        self._beaten = 0.0

    def open(self) -> None:
        """See `Session`."""
        self._db = opened(self._address)
        self._live()

    def _live(self) -> None:
        """Hold a lock as long as the connection lives, in place of that of a lost one."""
        before, self.process = self.process, random.randrange(1, _KEYS)  # noqa: S311
        db = self._connected()
        db.execute("select pg_advisory_lock(?::bigint)", (self.process,))
        if before:
            values = self.process, before
            db.execute("update carrier set process=?::bigint where process=?::bigint", values)

    def _connected(self) -> PostgresConnection:
        assert self._db is not None
        return self._db

    def commit(self, work: Callable[[Database], object]) -> float:
        """See `Session`."""
        began = time.perf_counter()
        self._transaction = None
        self._until_connected(lambda: self._commit(work))
        return time.perf_counter() - began

    def _until_connected(self, work: Callable[[], object]) -> None:
        """Do something, and again on a new connection as often as one is lost."""
        while True:
            try:
                work()
            except LostError as lost:
                self._reconnect(lost)
            else:
                return

    def _commit(self, work: Callable[[Database], object]) -> None:
        """Do something in a transaction, unless it was committed as the connection was lost."""
        db = self._connected()
        if self._transaction is not None and self._has_committed(self._transaction):
            return
        self._transaction = None
        try:
            with db.raw.pipeline():
                db.execute("begin")
                number = db.execute("select pg_current_xact_id()::text")
                work(db)
                self._transaction = number.fetchone()[0]
                db.execute("commit")
        except psycopg.Error as error:
            raise db.error_of(error) from None
        finally:
            if not db.raw.closed:
                roll_back(db.raw)

    def _has_committed(self, transaction: str) -> bool:
        """Whether a transaction has, whose connection was lost; waits until it is over."""
        while True:
            values = (transaction,)
            found = self._connected().execute("select pg_xact_status(?::xid8)", values).fetchone()
            if found[0] != "in progress":
                return bool(found[0] == "committed")
            time.sleep(_FIRST_PAUSE_S)

    def _reconnect(self, lost: LostError) -> None:
        """Connect again, and give up after a while. Raises `JournalError`."""
        self._connected().raw.close()
        ends_by, pause_s, why = time.monotonic() + RECONNECT_S, _FIRST_PAUSE_S, str(lost)
        while True:
            try:
                self._db = opened(self._address, patience_s=0.0)
                self._live()
            except JournalError as error:
                if time.monotonic() > ends_by:
                    after = f"and there was no new one within {RECONNECT_S:g} s"
                    raise JournalError(f"{why}; {after} ({error})") from None
            else:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MOST_PAUSE_S)

    def beat(self) -> None:
        """See `Session`."""
        if self.carried and time.monotonic() - self._beaten >= BEAT_S:
            self._until_connected(self._beat)

    def is_current(self, within_s: float) -> bool:
        """See `Session`."""
        return time.monotonic() - self._beaten < within_s

    def _beat(self) -> None:
        db, began = self._connected(), time.monotonic()
        # Not those that are taken while this is asked, which the answer may not have.
        known = [(run, each) for run, each in list(self.carried.items()) if each.has_row]
        rows = db.execute(_BEAT, (self.process, WATCHED_S))
        found = {run: wants for run, *wants in rows.fetchall()}
        for run, carried in known:
            if run in found:
                carried.is_asked_to_end, carried.is_watched = found[run]
            else:
                carried.lose()
        self._beaten = began  # only now, since what is lost must not go on

    def close(self) -> None:
        """See `Session`."""
        if self._db is not None:
            self._db.raw.close()
            self._db = None

    def call(self, work: Callable[[Database], object], run: str | None = None, /) -> None:
        """See `Session`."""
        with closing(store_of(self._address).open_to_read()) as db:
            db.execute("begin")
            if run is not None:  # what is written about a run is written one after the other
                db.execute(f"select 1 from run where id=?{db.sql.lock}", (run,))
            work(db)
            db.execute("commit")  # without it, closing the connection rolls back

    def shrink(self) -> None:
        """See `Session`."""  # PostgreSQL uses it again by itself.

    def error_of(self, error: Exception) -> JournalError:
        """See `Session`."""
        assert isinstance(error, JournalError)
        return error


def opened(address: Address, patience_s: float = RESTART_S, **settings: str) -> PostgresConnection:
    """A new connection to write with; see `connect`.

    Raises:
        JournalError: There is none to be had, or no journal can be there.
    """
    db = PostgresConnection(address, connect(address, patience_s, **settings))
    try:
        check(db, to_write=True)
    except BaseException:
        db.close()
        raise
    return db


def roll_back(raw: psycopg.Connection[Any]) -> None:
    """End a transaction that is open, on a connection that may be lost."""
    if raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            raw.execute(b"rollback")
