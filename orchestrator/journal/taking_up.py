"""A run that a process is about to take up: what it was asked for, and what is kept of it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from orchestrator.errors import JournalError
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import PART, PAUSED, QUEUED, RUNNING, find
from orchestrator.journal.kept import check_complete, check_outputs, records_of, request_of
from orchestrator.journal.kept_run import KeptRun, RunRecord
from orchestrator.journal.location import store_of
from orchestrator.journal.part import Known, Needs, Part, PartRecorder, is_over, records_of_part
from orchestrator.journal.parts import records_without_parts
from orchestrator.journal.recorder import RunRecorder
from orchestrator.journal.records import Records, utc
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer

_COLUMNS = "workflow, status, kind, origin, epoch, resumed, request, duration_ms"
# Texts of JSON as `to_json` makes them.
_NOW = "update run set request=replace(request, ?, ?) where id=?"
_STARTED = '"started_at": "{}"'
_END = "update run set status='cancelled', epoch=epoch+1, ended=? where id=? and epoch=?"


class _Row(NamedTuple):
    """The row of a run."""

    workflow: str
    status: str
    kind: str
    origin: str | None
    epoch: int
    resumed: int
    request: str
    duration_ms: float | None


class TakenUp:
    """A run that has not ended, or a part of one.

    Args:
        db: Reads the journal, for as long as this is used.
        run: The id of the run, or the beginning of it, or `last`.
        writer: Writes to the journal.
        hiding: Restores the secrets in what is kept.
        known: What parts need of their runs.

    Attributes:
        run: The id of the run.
        row: The row of the run.
        asked: What it was asked for, or what the run was that it is a part of.

    Raises:
        JournalError: There is none, it has ended, or nobody can go on with it.
    """

    def __init__(
        self, db: Database, run: str, writer: Writer, hiding: Hiding, known: Known
    ) -> None:
        self._db, self._writer, self._hiding = db, writer, hiding
        query = f"select {_COLUMNS} from run where id=?"
        if (found := db.execute(query, (run,)).fetchone()) is None:
            run = find(writer.location, run).id
            found = db.execute(query, (run,)).fetchone()
        self.run, self.row = run, (row := _Row(*found))
        _check_open(run, row.status)
        self._of: tuple[Part, Needs] | None = None
        restore = hiding.restore
        if row.kind == PART and row.origin is not None:
            part = Part.from_request(row.origin, restore(row.request))
            self._check_goes_on(part)
            self._of = part, known.needs(db, part, restore)
            self.asked: dict[str, Any] = dict(self._of[1].asked)
        else:
            added = lambda: records_of(db, run, "and kind='added'", restore)  # noqa: E731
            self.asked = request_of(row.request, added, restore)
        check_outputs(run, self.asked)

    def _check_goes_on(self, part: Part) -> None:
        """End a part whose run has ended. Raises `JournalError`."""
        if is_over(self._db, part.of):
            values = time.time(), self.run, self.row.epoch
            self._writer.session.call(lambda db: db.execute(_END, values), self.run)
            raise JournalError(f"run {part.of}, of which {self.run} is a part, has ended")

    @property
    def carried_s(self) -> float | None:
        """How long it was carried, seconds, if its claim does not say so.

        The time of a paused run is that of its result; a part counts that of its run.
        """
        if self._of is not None:
            return store_of(self._writer.location).carried_s(self._db, self._of[0].of)
        if self.row.status == QUEUED:  # what could not begin has used up nothing
            return 0.0
        is_paused = self.row.status == PAUSED and self.row.duration_ms is not None
        return (self.row.duration_ms or 0.0) / 1000 if is_paused else None

    def claim(self, kept: KeptRun, *, to_end: bool) -> float:
        """Have this process carry it; for how long others have, seconds.

        One that is paused has yet to be taken over: its questions are kept until all is read.
        """

        submitted_at = self.asked["settings"].get("started_at")

        def begin(db: Database) -> None:
            if not to_end:  # of a run that another process carries, that is the error
                check_complete(self.run, self.asked)
            if kept.was != PAUSED:
                kept.take_over(db)
            if kept.was_queued and self._of is None:
                self._start(db, submitted_at)

        return kept.claim.take(begin, self.carried_s)

    def _start(self, db: Database, submitted_at: str | None) -> None:
        """Have a run start now that was submitted before."""
        now = self.asked["settings"]["started_at"] = utc(time.time())
        db.execute(_NOW, (_STARTED.format(submitted_at), _STARTED.format(now), self.run))

    def records(self, lease: Lease) -> Records:
        """What is kept of it.

        Raises:
            JournalError: It cannot be read.
        """
        db, run, hiding = self._db, self.run, self._hiding
        if self._of is not None:
            found = records_of_part(db, run, *self._of, hiding.restore)
        elif '"spread"' in self.row.request:
            found = records_without_parts(db, run, self._writer, lease, hiding, self.asked)
        else:
            found = records_of(db, run, restore=hiding.restore)
        if not found.elsewhere:  # which may be a lot
            found.settled("", {})  # what cannot be read is found before the run goes on
        return found

    def recorder(self, lease: Lease, records: Records, **more: Any) -> RunRecorder:
        """What keeps it from now on; takes what `RunRecorder` takes."""
        more |= {"resumed": self.row.resumed + 1, "hiding": self._hiding}
        if self._of is None:
            return RunRecorder(self._writer, lease, records, **more)
        recorder = PartRecorder(self._writer, lease, records, **more)
        recorder.part, recorder.needs = self._of
        return recorder

    @property
    def record(self) -> RunRecord:
        """It as it was asked for."""
        parts = {name: self.asked[name] for name in ("workflow", "inputs", "settings")}
        row = self.row
        return RunRecord(self.run, row.workflow, **parts, kind=row.kind, origin=row.origin)


def _check_open(run: str, status: str) -> None:
    if status not in (RUNNING, PAUSED, QUEUED):
        fix = f'"orchestrator retry {run}" runs again what did not succeed'
        raise JournalError(f"run {run} has ended with status {status}: {fix}")
