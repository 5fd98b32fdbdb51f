"""A journal in PostgreSQL, and who carries its runs: a row for each, and a lock of each process."""

from __future__ import annotations

import json
import os
import platform
import threading
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from orchestrator.documents.encode import to_json
from orchestrator.errors import CarriedError, JournalError
from orchestrator.journal import losses
from orchestrator.journal.live import FRESH_S, document_of
from orchestrator.journal.location import Address
from orchestrator.journal.postgres import (
    LostError,
    NoJournalError,
    PostgresConnection,
    check,
    connect,
)
from orchestrator.journal.postgres_session import PostgresSession, opened, roll_back
from orchestrator.journal.store import Database
from orchestrator.sharing.cluster import Cluster
from orchestrator.sharing.holders import QUERY, locks_of
from orchestrator.sharing.tables import SILENT_S

if TYPE_CHECKING:
    from orchestrator.engine.task_state import RunState
    from orchestrator.journal.writer import Lease, Writer

MAX_IDLE = 2  # connections that are kept for who reads next
_ALIVE = f"is_alive(process, beat, {SILENT_S})"
_CLAIM = """insert into carrier(run, process, owner, began, beat)
values(?, ?::bigint, ?, now_s() - ?::double precision, now_s()) on conflict(run) do update
set process=excluded.process, owner=excluded.owner, began=excluded.began, beat=excluded.beat,
asked=false, live=null"""
_TAKE = f"""{_CLAIM} where not is_alive(carrier.process, carrier.beat, {SILENT_S})
or not exists(select from run where id=carrier.run and status in ('running', 'queued'))"""
# The connection of a process that fell silent in the middle of a commit keeps rows locked, and
# nothing else ends that. A process that goes on makes a new one.
_END_SILENT = f"""select pg_terminate_backend(pid) from pg_stat_activity join pg_locks using(pid)
where usename=current_user and locktype='advisory' and objsubid=1 and granted
and (classid::bigint << 32 | objid::bigint) in (
    select process from carrier where beat <= now_s() - {SILENT_S} and process <> ?::bigint)"""
_BEFORE = f"""select beat - began, case when process is not null and not {_ALIVE} then owner end,
exists(select from record where run=carrier.run and kind='lost') from carrier where run=?"""
_MINE = "where run=? and process=?::bigint"
_SIGN = f"""select max(xmin::text::bigint), count(*),
sum((select max(moment) from record where run=id)) filter (where status='running'),
count(*) filter (where status='running' and exists(select from carrier where run=id and {_ALIVE}))
from run"""
_SIGN_OF_RUN = """select run.xmin::text, (select max(moment) from record where run=id), told
from run left join carrier on run=id where id=?"""


class PostgresClaim:
    """A row for a run, with the key of the process that carries it; see `Claim`.

    The thread that writes beats for all runs of its process.
    """

    def __init__(self, session: PostgresSession, writer: Writer, lease: Lease) -> None:
        self._session, self._writer, self._lease = session, writer, lease
        self.is_asked_to_end = self.is_watched = self.has_beaten = False
        self.losses: list[str] = []
        self._is_held = False

    def begin(self) -> None:
        """See `Claim`."""
        self._hold()
        run, session, owner = self._lease.run, self._session, _owner()
        self._writer.put(self._lease, _CLAIM, lambda: (run, session.process, owner, 0.0))

    def _hold(self) -> None:
        self._session.carried[self._lease.run] = self
        self._is_held = True

    def describe(self, text: str) -> None:
        """See `Claim`."""
        run, session = self._lease.run, self._session
        statement = f"update carrier set live=? {_MINE}"
        self._writer.put(self._lease, statement, lambda: (text, run, session.process))

    def take(self, elapsed_s: float | None = None) -> float:
        """See `Claim`."""
        run = self._lease.run

        def take(db: Database) -> None:
            nonlocal elapsed_s
            before = db.execute(_BEFORE, (run,)).fetchone()
            carried_s, lost, has_lost = before or (0.0, None, False)
            if elapsed_s is None:
                elapsed_s = max(0.0, carried_s)
            values = run, self._session.process, _owner(), elapsed_s
            if db.execute(_TAKE, values).rowcount == 0:
                (owner,) = db.execute("select owner from carrier where run=?", (run,)).fetchone()
                raise CarriedError(f"run {run} is carried by another process: {owner}")
            if lost is not None:
                losses.note(db, run, lost)
            if lost is not None or has_lost:
                self.losses = losses.since_settled(db, run)

        self._session.call(lambda db: db.execute(_END_SILENT, (self._session.process,)))
        self._session.call(take, run)
        self._hold()
        assert elapsed_s is not None
        return elapsed_s

    def beat(self, state: Callable[[], RunState]) -> None:
        """See `Claim`."""
        if self.is_watched:
            document, run = document_of(state()), self._lease.run
            self._writer.put(
                self._lease,
                f"update carrier set live=?, told=now_s() {_MINE}",
                lambda: (to_json(document), run, self._session.process),
            )

    def lose(self) -> None:
        """See `Carried`."""
        self._lease.lose()

    def free(self) -> None:
        """See `Claim`."""
        self._let_go(f"update carrier set process=null {_MINE}")

    def end(self, *, is_kept: bool) -> None:
        """See `Claim`."""
        if is_kept:
            self._let_go(f"delete from carrier {_MINE}")
        self.free()

    def _let_go(self, statement: str) -> None:
        if self._is_held:
            self._is_held = False
            self._session.carried.pop(self._lease.run, None)
            run, session = self._lease.run, self._session
            self._writer.put(self._lease, statement, lambda: (run, session.process))


def _owner() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _close(idle: list[psycopg.Connection[tuple[Any, ...]]]) -> None:
    while idle:
        idle.pop().close()


class PostgresStore:
    """A journal in a database; see `Store`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[psycopg.Connection[tuple[Any, ...]]] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)  # at the end of the process, too

    def session(self) -> PostgresSession:
        """See `Store`."""
        return PostgresSession(self._address)

    def open_to_read(self) -> PostgresConnection:
        """See `Store`."""
        with self._lock:
            raw = self._idle.pop() if self._idle else None
        if raw is not None:
            db = PostgresConnection(self._address, raw, self._take_back)
            with suppress(LostError):  # since it was used last
                db.execute("select 1")
                return db
            raw.close()
        db = PostgresConnection(self._address, connect(self._address), self._take_back)
        try:
            check(db, to_write=False)
        except JournalError:
            db.raw.close()
            raise
        return db

    def _take_back(self, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
        roll_back(raw)
        with self._lock:
            if len(self._idle) < MAX_IDLE and not raw.closed:
                self._idle.append(raw)
                return
        raw.close()

    def claim(self, writer: Writer, lease: Lease, /) -> PostgresClaim:
        """See `Store`."""
        assert isinstance(writer.session, PostgresSession)
        return PostgresClaim(writer.session, writer, lease)

    def is_carried(self, db: Database, run: str, /) -> bool:
        """See `Store`."""
        return db.execute(f"select 1 from carrier where run=? and {_ALIVE}", (run,)).rowcount > 0

    def carried_s(self, db: Database, run: str, /) -> float:
        """See `Store`."""
        now = f"case when {_ALIVE} then now_s() else beat end"
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
