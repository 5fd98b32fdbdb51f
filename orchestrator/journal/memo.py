"""The memo of a journal: answers of calls, kept for a while, which the same call gets again."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

from anyio import to_thread

from orchestrator.documents.encode import to_json
from orchestrator.engine.recorder import Memo, Remembered
from orchestrator.errors import JournalError
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer

_KEEP = """
insert into memo values(?, ?, ?, ?)
on conflict(key) do update set
    at=excluded.at, payload=excluded.payload,
    expires=case when memo.expires > excluded.expires then memo.expires else excluded.expires end
"""
# An answer from the future was kept before the clock was set back.
_OLD = "from memo where expires<=? or at<=? or at>?"


class MemoFile:
    """The answers in a file that has been opened to write; any thread may ask."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._db: Database | None = None
        self._lock = threading.Lock()

    def find(self, key: str, now: float, ttl_s: float) -> Remembered | None:
        """The answer under a key that is younger than `ttl_s`; None if it cannot be read, too."""
        try:
            with self._lock:
                if self._db is None:
                    self._db = store_of(self._location).open_to_read()
                rows = self._db.execute("select at, payload from memo where key=?", (key,))
                found = rows.fetchall()
            ((at, payload),) = found or ((now, None),)
            if payload is None or not at <= now < at + ttl_s:
                return None
            kept = json.loads(payload)
        except (sqlite3.Error, JournalError, ValueError, RecursionError):
            return None
        return Remembered(kept["output"], kept["wrapped"], max(kept["size"], len(payload)))

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


class RunMemo(Memo):
    """The memo as one run has it."""

    def __init__(self, memo: MemoFile, writer: Writer, lease: Lease, hiding: Hiding) -> None:
        self._memo, self._writer, self._lease, self._hiding = memo, writer, lease, hiding
        self._kept: set[str] = set()  # keys of answers that may not be in the file yet

    async def find(self, key: str, ttl_s: float) -> Remembered | None:
        """See `Memo`."""
        if key in self._kept:
            await self._writer.flush()
        return await to_thread.run_sync(self._memo.find, key, time.time(), ttl_s)

    def keep(self, key: str, ttl_s: float, answer: Remembered) -> None:
        """See `Memo`."""
        at = time.time()

        def values() -> tuple[object, ...]:
            document = {name: getattr(answer, name) for name in ("output", "wrapped", "size")}
            payload = to_json(document)
            # It is for all runs, and not each of them can restore what was hidden.
            return key, at, at + ttl_s, payload if self._hiding.hide(payload) == payload else None

        self._kept.add(key)
        self._writer.put(self._lease, _KEEP, values)


def has_old(db: Database, keep_days: float) -> bool:
    """Whether any answer has expired, or is older than runs are kept."""
    if not db.execute(db.sql.has_memo).fetchall():
        return False  # the file is as an earlier version left it
    return bool(db.execute(f"select 1 {_OLD} limit 1", _moments(keep_days)).fetchall())


def delete_old(db: Database, keep_days: float) -> None:
    """Delete those answers, in a transaction that is open."""
    db.execute(f"delete {_OLD}", _moments(keep_days))


def _moments(keep_days: float) -> tuple[float, float, float]:
    now = time.time()
    return now, now - keep_days * 86_400, now
