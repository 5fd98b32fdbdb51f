"""A journal in PostgreSQL, and who carries its runs: a row for each, and a lock of each process."""

from __future__ import annotations

import json
import selectors
import threading
import time
import weakref
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from orchestrator.errors import JournalError
from orchestrator.journal.live import FRESH_S
from orchestrator.journal.location import Address
from orchestrator.journal.postgres import (
    NoJournalError,
    PostgresConnection,
    check,
    connect,
)
from orchestrator.journal.postgres_claim import ALIVE, PostgresClaim
from orchestrator.journal.postgres_session import PostgresSession, opened, roll_back
from orchestrator.journal.store import Database, LostError
from orchestrator.sharing.cluster import Cluster
from orchestrator.sharing.holders import QUERY, locks_of

if TYPE_CHECKING:
    from orchestrator.journal.writer import Lease, Writer

# Connections that are kept for who needs one next, and for how long.
MAX_IDLE, IDLE_S = 16, 5.0
RECENT_S = 1.0  # after which one may be lost, and nothing has said so
_SIGN = f"""select max(xmin::text::bigint), count(*),
sum((select max(moment) from record where run=id)) filter (where status='running'),
count(*) filter (where status='running' and exists(select from carrier where run=id and {ALIVE}))
from run"""
_SIGN_OF_RUN = """select run.xmin::text, (select max(moment) from record where run=id), told
from run left join carrier on run=id where id=?"""


class _Idle(NamedTuple):
    """A connection that nobody uses, and since when."""

    raw: psycopg.Connection[tuple[Any, ...]]
    since: float

    @property
    def is_fresh(self) -> bool:
        """Whether it was used a moment ago, and the server has not ended it since."""
        if time.monotonic() - self.since > RECENT_S:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self.raw.pgconn.socket, selectors.EVENT_READ)
            return not selector.select(0)


def _close(idle: list[_Idle]) -> None:
    while idle:
        idle.pop().raw.close()


class PostgresStore:
    """A journal in a database; see `Store`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[_Idle] = []  # the one that was used last at the end
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)  # at the end of the process, too

    def session(self) -> PostgresSession:
        """See `Store`."""
        return PostgresSession(self._address)

    def open_to_read(self) -> PostgresConnection:
        """See `Store`."""
        while (idle := self._latest()) is not None:
            db = PostgresConnection(self._address, idle.raw, self._take_back)
            if idle.is_fresh:
                return db
            with suppress(LostError):  # since it was used last
                db.execute("select 1")
                return db
            idle.raw.close()
        db = PostgresConnection(self._address, connect(self._address), self._take_back)
        try:
            check(db, to_write=False)
        except JournalError:
            db.raw.close()
            raise
        return db

    def _latest(self) -> _Idle | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _take_back(self, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
        roll_back(raw)
        now = time.monotonic()
        with self._lock:
            if not raw.closed:
                self._idle.append(_Idle(raw, now))
            old = len(self._idle) > MAX_IDLE or (self._idle and now - self._idle[0].since > IDLE_S)
            oldest = self._idle.pop(0) if old else None
        if oldest is not None:
            oldest.raw.close()

    def claim(self, writer: Writer, lease: Lease, /) -> PostgresClaim:
        """See `Store`."""
        assert isinstance(writer.session, PostgresSession)
        return PostgresClaim(writer.session, writer, lease)

    def is_carried(self, db: Database, run: str, /) -> bool:
        """See `Store`."""
        return db.execute(f"select 1 from carrier where run=? and {ALIVE}", (run,)).rowcount > 0

    def carried_s(self, db: Database, run: str, /) -> float:
        """See `Store`."""
        now = f"case when {ALIVE} then now_s() else beat end"
        row = db.execute(f"select {now} - began from carrier where run=?", (run,)).fetchone()
        return max(0.0, row[0]) if row else 0.0

    def ask_to_end(self, run: str) -> None:
        """See `Store`."""
        with closing(self.open_to_read()) as db:
            db.execute("update carrier set asked=true where run=?", (run,))

    def forget(self, db: Database, run: str, /) -> None:
        """See `Store`."""
        db.execute("delete from carrier where run=?", (run,))

    def watch(self, run: str) -> None:
        """See `Store`."""
        with suppress(JournalError), closing(self.open_to_read()) as db:
            seldom = "watched < now_s() - 1"
            db.execute(f"update carrier set watched=now_s() where run=? and {seldom}", (run,))

    def seen(self, run: str) -> dict[str, Any] | None:
        """See `Store`."""
        with closing(self.open_to_read()) as db:
            query = "select live from carrier where run=? and told > now_s() - ?"
            row = db.execute(query, (run, FRESH_S)).fetchone()
        document: dict[str, Any] | None = json.loads(row[0]) if row and row[0] else None
        return document

    def beats(self, run: str) -> bool:
        """See `Store`."""
        with closing(self.open_to_read()) as db:
            return self.is_carried(db, run)

    def sign(self, run: str | None = None) -> object:
        """See `Store`."""
        if not self.exists():
            return None
        with closing(self.open_to_read()) as db:
            if run is None:
                return db.execute(_SIGN).fetchone()
            return db.execute(_SIGN_OF_RUN, (run,)).fetchone()

    def granter(self) -> Cluster:
        """See `Store`."""
        # Where no packet comes through, it should not wait for long.
        return Cluster(lambda: opened(self._address, connect_timeout="3").raw)

    def shared_locks(self) -> list[dict[str, Any]]:
        """See `Store`."""
        with closing(self.open_to_read()) as db:
            return locks_of(db.execute(QUERY).fetchall())

    def exists(self) -> bool:
        """See `Store`."""
        try:
            self.open_to_read().close()
        except NoJournalError:
            return False
        return True

    def size(self) -> int:
        """See `Store`."""
        tables = "unnest(array['run', 'record', 'memo', 'carrier'])"
        query = f"select sum(pg_total_relation_size(name::regclass)) from {tables} as each(name)"
        with closing(self.open_to_read()) as db:
            return int(db.execute(query).fetchone()[0])
