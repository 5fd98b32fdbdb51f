"""The journal of a process: the runs that it keeps, and those that it goes on with.

A few lines longer than other files: all of a process shares its one writer, which is opened here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

from anyio import CancelScope, to_thread

from orchestrator.documents.encode import to_json
from orchestrator.errors import DamagedError, JournalError
from orchestrator.journal import orders
from orchestrator.journal.file_store import set_aside
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import (
    PAUSED,
    RUNNING,
    delete,
    prunable,
    reading,
)
from orchestrator.journal.kept import trace_of
from orchestrator.journal.kept_run import KeptRun, RunRecord
from orchestrator.journal.location import Location, location_of, store_of
from orchestrator.journal.losses import Losses
from orchestrator.journal.memo import MemoFile, RunMemo, delete_old, has_old
from orchestrator.journal.part import Known
from orchestrator.journal.recorder import RunRecorder, Unknown
from orchestrator.journal.records import Key, Record, Records
from orchestrator.journal.store import Claim, Database
from orchestrator.journal.taking_up import TakenUp
from orchestrator.journal.writer import Lease, OnCommit, Writer

logger = logging.getLogger("orchestrator")

KEEP_DAYS = 30.0
KEEP_RUNS = 1000
_PRUNED_EVERY = 100  # runs of a process that lives long


class Journal:
    """Keeps runs in a file. Open it with `async with`; one of a process may keep many runs.

    Args:
        path: The file, or the URL of a PostgreSQL database; it is made if there is none.
        keep_days: How many days a run is kept, and `keep_runs` how many are. Those beyond are
            deleted when the journal is closed, and after every 100 runs.
        outputs: Whether outputs are kept; without them no run can be taken up again.
        warn: Is called with a sentence if nothing can be kept; runs then go on without. None: that
            is an error.

    Attributes:
        outputs: Whether outputs are kept.
        on_commit: Receives how long each commit took, seconds, in a thread; set it before opening.
    """

    def __init__(
        self,
        path: str | Location,
        *,
        keep_days: float = KEEP_DAYS,
        keep_runs: int = KEEP_RUNS,
        outputs: bool = True,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.location: Location = location_of(path)
        self._keep_days, self._keep_runs, self.outputs = keep_days, keep_runs, outputs
        self._warn = warn
        self._writer: Writer | None = None
        self._memo = MemoFile(self.location)
        self._is_open = False
        self._begun = 0
        self._known = Known()
        self._carried = WeakValueDictionary[str, KeptRun]()
        self.on_commit: OnCommit = lambda _: None

    def __repr__(self) -> str:
        return f"Journal({str(self.location)!r})"

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            JournalError: It cannot be used, and there is no `warn`.
        """
        try:
            self._writer = await to_thread.run_sync(self._opened)
        except JournalError as error:
            if self._warn is None:
                raise
            self._warn(f"this run is not kept: {error}")
        self._is_open = True
        return self

    def _opened(self) -> Writer:
        writer = Writer(self.location, self.on_commit)
        try:
            writer.open()
        except DamagedError as error:
            if self._warn is None or not isinstance(self.location, Path):
                raise
            aside = set_aside(self.location)
            self._warn(f"{error}; it was renamed to {aside}, and a new one begins")
            writer = Writer(self.location, self.on_commit)
            writer.open()
        return writer

    @property
    def error(self) -> JournalError | None:
        """Why nothing more can be kept; None if all is well."""
        return self.open_writer().error

    def carried(self, run: str) -> KeptRun | None:
        """A run that this process carries; None if it does not."""
        return self._carried.get(run)

    async def announce(self, name: str, about: Mapping[str, Any]) -> Claim:
        """Tell others that this process is alive, and this of it, until the claim is ended."""
        writer, lease = self.open_writer(), Lease(name, 1)
        claim = store_of(self.location).claim(writer, lease)
        claim.begin()
        claim.describe(to_json(about))
        await writer.flush()
        return claim

    async def __aexit__(self, *_: object) -> None:
        writer, self._writer, self._is_open = self._writer, None, False
        if writer is not None:
            with CancelScope(shield=True):  # what was put is written
                await to_thread.run_sync(self._close, writer)

    def _close(self, writer: Writer) -> None:
        self._memo.close()
        writer.close()
        self._prune()

    def _prune(self) -> None:
        try:
            self.prune()
        except JournalError as error:
            (self._warn or logger.warning)(f"old runs are not deleted: {error}")

    def prune(self, *, dry_run: bool = False) -> list[str]:
        """Delete the runs that are older, or more, than are kept, and old answers; ids of runs.

        Raises:
            JournalError: The file cannot be written.
        """
        with reading(self.location) as db:
            old = prunable(db, self.location, self._keep_days, self._keep_runs)
            has_more = has_old(db, self._keep_days)
        if not dry_run and (old or has_more):
            session = store_of(self.location).session()
            session.call(partial(self._delete, old))
            session.shrink()
        return old

    def _delete(self, old: list[str], db: Database) -> None:
        delete(db, self.location, old)
        delete_old(db, self._keep_days)

    async def begin(
        self,
        record: RunRecord,
        records: Mapping[Key, Record] | None = None,
        hiding: Hiding | None = None,
    ) -> KeptRun | None:
        """Keep a new run; returns when it is durable.

        Args:
            record: The run.
            records: What it takes over from another one.
            hiding: Hides the secrets in what is kept.

        Returns:
            None if it cannot be kept, and there is a `warn`.

        Raises:
            JournalError: It cannot be kept, and there is no `warn`.
        """
        if self._is_open and self._writer is None:
            return None
        self._begun += 1
        if self._begun % _PRUNED_EVERY == 0:
            await to_thread.run_sync(self._prune)
        try:
            return await self._begin(record, records or {}, hiding or Hiding())
        except JournalError as error:
            if self._warn is None:
                raise
            self._warn(f"this run is not kept: {error}")
            return None

    async def _begin(
        self, record: RunRecord, records: Mapping[Key, Record], hiding: Hiding
    ) -> KeptRun:
        kept = KeptRun(self.open_writer(), record.id, 1)
        kept.record = record
        self._carried[record.id] = kept
        await to_thread.run_sync(kept.claim.begin)
        started = time.time()
        self.open_writer().put(
            kept.lease,
            orders.NEW,
            lambda: (
                record.id,
                record.name,
                RUNNING,
                record.kind,
                record.origin,
                1,
                0,
                started,
                record.request(hiding, outputs=self.outputs),
            ),
        )
        kept.recorder = RunRecorder(
            self.open_writer(),
            kept.lease,
            records,
            keeps_outputs=self.outputs,
            hiding=hiding,
        )
        if record.origin is not None:
            about = self.location, record.origin
            kept.recorder.origin_trace = await to_thread.run_sync(trace_of, *about)
        kept.recorder.copy(records)
        self._give_memo(kept, hiding)
        await self.open_writer().flush()
        if (error := kept.recorder.error) is not None:
            kept.claim.free()
            raise error
        return kept

    async def resume(
        self,
        run: str,
        unknown: Unknown,
        hiding: Hiding | None = None,
        *,
        to_end: bool = False,
        most_lost: int | None = None,
    ) -> tuple[RunRecord, KeptRun]:
        """Go on with a run that has not ended, or end it.

        After so many lost processes it ends, see `Losses`.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it; or its
                plan waits for an end that will never come.
        """
        await self.open_writer().flush()  # this process may have let go of the run just now
        how = unknown, hiding or Hiding(), to_end, most_lost
        with CancelScope(shield=True):  # what was taken up is left by who asked for it
            record, kept = await to_thread.run_sync(self._resume, run, *how)
        return record, kept

    def _resume(
        self, run: str, unknown: Unknown, hiding: Hiding, to_end: bool, most_lost: int | None = None
    ) -> tuple[RunRecord, KeptRun]:
        writer = self.open_writer()
        with reading(self.location) as db:
            found = TakenUp(db, run, writer, hiding, self._known)
            run = found.run
            kept = KeptRun(writer, run, found.row.epoch + 1)
            kept.was, kept.unknown = found.row.status, unknown
            alive_s = found.claim(kept, to_end=to_end)
            self._carried[run] = kept  # not before: this process may carry it already
            kept.losses = Losses(kept.claim.losses, most_lost)
            try:
                records = Records({}) if kept.losses.is_bare else found.records(kept.lease)
                if kept.was == PAUSED:
                    writer.session.call(kept.take_over, run)
            except BaseException:
                kept.put_back()
                kept.claim.free()
                raise
        more = {"unknown": unknown, "keeps_outputs": self.outputs}
        kept.recorder = found.recorder(kept.lease, records, elapsed_s=alive_s, **more)
        self._give_memo(kept, hiding)
        return found.record, kept

    def _give_memo(self, kept: KeptRun, hiding: Hiding) -> None:
        if self.outputs:
            kept.recorder.memo = RunMemo(self._memo, self.open_writer(), kept.lease, hiding)

    def open_writer(self) -> Writer:
        """What writes to it, which is open."""
        if self._writer is None:
            raise RuntimeError("use 'async with Journal(...) as journal'")
        return self._writer
