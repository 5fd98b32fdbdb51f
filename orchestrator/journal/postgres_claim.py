"""That a process carries a run: a row for each in a database, with the key of its process."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from orchestrator.documents.encode import to_json
from orchestrator.errors import CarriedError
from orchestrator.journal import losses
from orchestrator.journal.live import document_of
from orchestrator.journal.location import store_of
from orchestrator.journal.postgres_session import PostgresSession
from orchestrator.journal.store import Database
from orchestrator.sharing.tables import SILENT_S

if TYPE_CHECKING:
    from orchestrator.engine.task_state import RunState
    from orchestrator.journal.writer import Lease, Writer

ALIVE = f"is_alive(process, beat, {SILENT_S})"
_CLAIM = """insert into carrier(run, process, owner, began, beat)
values(?, ?::bigint, ?, now_s() - ?::double precision, now_s()) on conflict(run) do update
set process=excluded.process, owner=excluded.owner, began=excluded.began, beat=excluded.beat,
asked=false, live=null"""
_TAKE = f"""{_CLAIM} where not is_alive(carrier.process, carrier.beat, {SILENT_S})
or carrier.process = ?::bigint
or not exists(select from run where id=carrier.run and status in ('running', 'queued'))"""
_SILENT = f"""select from carrier
where run=? and beat <= now_s() - {SILENT_S} and process <> ?::bigint"""
# The connection of a process that fell silent in the middle of a commit keeps rows locked, and
# nothing else ends that. A process that goes on makes a new one.
_END_SILENT = f"""select pg_terminate_backend(pid) from pg_stat_activity join pg_locks using(pid)
where usename=current_user and locktype='advisory' and objsubid=1 and granted
and (classid::bigint << 32 | objid::bigint) in (
    select process from carrier where beat <= now_s() - {SILENT_S} and process <> ?::bigint)"""
# Who was lost with its server, which was started since, has not failed.
_BEFORE = f"""select beat - began, case when process is not null and not {ALIVE}
and beat > extract(epoch from pg_postmaster_start_time())::double precision then owner end,
exists(select from record where run=carrier.run and kind='lost') from carrier where run=?"""
_MINE = "where run=? and process=?::bigint"


class PostgresClaim:
    """A row for a run, with the key of the process that carries it; see `Claim`.

    The thread that writes beats for all runs of its process.
    """

    def __init__(self, session: PostgresSession, writer: Writer, lease: Lease) -> None:
        self._session, self._writer, self._lease = session, writer, lease
        self.is_asked_to_end = self.is_watched = self.has_row = False
        self.losses: list[str] = []
        self._is_held = False

    def begin(self) -> None:
        """See `Claim`."""
        self._hold()
        run, session, owner = self._lease.run, self._session, _owner()

        def values() -> tuple[object, ...]:
            self.has_row = True  # before the next beat, which the same thread makes
            return run, session.process, owner, 0.0

        self._writer.put(self._lease, _CLAIM, values)

    def _hold(self) -> None:
        self._session.carried[self._lease.run] = self
        self._is_held = True

    def describe(self, text: str) -> None:
        """See `Claim`."""
        run, session = self._lease.run, self._session
        statement = f"update carrier set live=? {_MINE}"
        self._writer.put(self._lease, statement, lambda: (text, run, session.process))

    def take(self, then: Callable[[Database], object], elapsed_s: float | None = None) -> float:
        """See `Claim`."""
        run = self._lease.run
        # This process may have a row that it knows nothing of: of a commit whose answer was lost.
        is_held = self._session.carried.setdefault(run, self) is not self
        unknown = 0 if is_held else self._session.process

        def take(db: Database) -> None:
            nonlocal elapsed_s
            before = db.execute(_BEFORE, (run,)).fetchone()
            carried_s, lost, has_lost = before or (0.0, None, False)
            if elapsed_s is None:
                elapsed_s = max(0.0, carried_s)
            values = run, self._session.process, _owner(), elapsed_s, unknown
            if db.execute(_TAKE, values).rowcount == 0:
                (owner,) = db.execute("select owner from carrier where run=?", (run,)).fetchone()
                raise CarriedError(f"run {run} is carried by another process: {owner}")
            if lost is not None:
                losses.note(db, run, lost)
            if lost is not None or has_lost:
                self.losses = losses.since_settled(db, run)
            then(db)

        try:
            with closing(store_of(self._writer.location).open_to_read()) as db:
                own = self._session.process
                if db.execute(_SILENT, (run, own)).rowcount:
                    db.execute(_END_SILENT, (own,))
            self._session.call(take, run)
        except BaseException:
            self._drop()
            raise
        self.has_row = True
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
        self._drop()

    def free(self) -> None:
        """See `Claim`."""
        self._let_go(f"update carrier set process=null {_MINE}")

    def end_with_next(self) -> None:
        """See `Claim`."""
        self._let_go(f"delete from carrier {_MINE}")

    def end(self, *, is_kept: bool) -> None:
        """See `Claim`."""
        if is_kept:
            self.end_with_next()
        self.free()

    def _let_go(self, statement: str) -> None:
        if self._is_held:
            self._drop()
            run, session = self._lease.run, self._session
            self._writer.put(self._lease, statement, lambda: (run, session.process))

    def _drop(self) -> None:
        self._is_held = False
        if self._session.carried.get(self._lease.run) is self:
            del self._session.carried[self._lease.run]


def _owner() -> str:
    return f"process {os.getpid()} on {platform.node()}"
