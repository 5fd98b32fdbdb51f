"""The journal of a process: the runs that it keeps, and those that it goes on with."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from anyio import to_thread

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import quoted
from orchestrator.engine.result import RunResult
from orchestrator.journal.database import JournalError, open_to_read
from orchestrator.journal.file_lock import FileLock
from orchestrator.journal.history import RUNNING, lock_path, records_of
from orchestrator.journal.recorder import RunRecorder, Unknown
from orchestrator.journal.writer import Lease, Writer

BEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it was asked for; resuming it reads nothing else.

    Attributes:
        id: The id of the run.
        name: The name of its workflow.
        workflow: The canonical workflow, with all that runs inside it.
        inputs: The inputs, complete.
        settings: What replaced settings of the workflow, and when it was started.
        kind: `run`, `retry` or `fork`; `origin` is then the run that it follows.
    """

    id: str
    name: str
    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    kind: str = "run"
    origin: str | None = None

    def request(self) -> str:
        """What the row of the run has."""
        parts = ("workflow", "inputs", "settings")
        return to_json({part: getattr(self, part) for part in parts})


class Journal:
    """Keeps runs in a file. Open it with `async with`; one of a process may keep many runs."""

    def __init__(self, path: str | Path, *, outputs: bool = True) -> None:
        self.path = Path(path)
        self._outputs = outputs
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            JournalError: It cannot be used.
        """
        self._writer = Writer(self.path)
        await to_thread.run_sync(self._writer.open)
        return self

    async def __aexit__(self, *_: object) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        await to_thread.run_sync(writer.close)

    async def begin(self, record: RunRecord) -> KeptRun:
        """Keep a new run; returns when it is durable.

        Raises:
            JournalError: It cannot be kept.
        """
        kept = KeptRun(self._open_writer(), self.path, record.id, 1)
        await to_thread.run_sync(kept.take)
        started = time.time()
        self._open_writer().put(
            kept.lease,
            "insert into run values(?, ?, ?, ?, ?, 1, 0, ?, null, null, ?, null)",
            lambda: (
                record.id,
                record.name,
                RUNNING,
                record.kind,
                record.origin,
                started,
                record.request(),
            ),
        )
        await self._open_writer().flush()
        kept.recorder = RunRecorder(self._open_writer(), kept.lease, keeps_outputs=self._outputs)
        if (error := kept.recorder.error) is not None:
            kept.free()
            raise error
        return kept

    async def resume(self, run: str, unknown: Unknown) -> tuple[RunRecord, KeptRun]:
        """Go on with a run that has not ended.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it.
        """
        return await to_thread.run_sync(self._resume, run, unknown)

    def _resume(self, run: str, unknown: Unknown) -> tuple[RunRecord, KeptRun]:
        writer = self._open_writer()
        db = open_to_read(self.path)
        try:
            row = db.execute(
                "select workflow, status, kind, origin, epoch, request from run where id=?", (run,)
            ).fetchone()
            if row is None:
                raise JournalError(f"unknown run {quoted(run)}")
            name, status, kind, origin, epoch, request = row
            if status not in (RUNNING, "paused"):
                fix = f'"orchestrator retry {run}" runs again what did not succeed'
                raise JournalError(f"run {run} has ended with status {status}: {fix}")
            kept = KeptRun(writer, self.path, run, epoch + 1)
            alive_s = kept.take()
            try:
                writer.call(kept.take_over)
                records = records_of(db, run)
            except BaseException:
                kept.free()
                raise
        finally:
            db.close()
        kept.recorder = RunRecorder(
            writer,
            kept.lease,
            records,
            elapsed_s=alive_s,
            unknown=unknown,
            keeps_outputs=self._outputs,
        )
        asked = json.loads(request)
        return RunRecord(run, name, **asked, kind=kind, origin=origin), kept

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("use 'async with Journal(...) as journal'")
        return self._writer


class KeptRun:
    """A run that this process carries and keeps.

    Attributes:
        lease: That this process carries it.
        recorder: Keeps what happens in it.
    """

    recorder: RunRecorder

    def __init__(self, writer: Writer, path: Path, run: str, epoch: int) -> None:
        self._writer = writer
        self.lease = Lease(run, epoch)
        self._lock = FileLock(lock_path(path, run))
        self._asked = asked_path(path, run)
        self._lock.path.parent.mkdir(mode=0o700, exist_ok=True)

    def take(self) -> float:
        """Hold the run's lock; how long processes before this one have carried it, seconds.

        Raises:
            JournalError: Another process holds it.
        """
        path, elapsed_s = self._lock.path, 0.0
        if path.exists():
            elapsed_s = _carried_s(path)
        try:
            taken = self._lock.acquire(wait=False)
        except OSError as error:
            raise JournalError(f"{path} cannot be written: {error.strerror}") from None
        if not taken:
            owner = path.read_text().partition("\n")[2]
            raise JournalError(f"run {self.lease.run} is carried by another process: {owner}")
        owner = f"process {os.getpid()} on {platform.node()}"
        self._lock.write(f"{time.time() - elapsed_s}\n{owner}")
        return elapsed_s

    def take_over(self, db: sqlite3.Connection) -> None:
        """Make sure that no process before this one writes any more."""
        values = (self.lease.epoch, RUNNING, self.lease.run, self.lease.epoch - 1)
        statement = "update run set epoch=?, status=?, resumed=resumed+1 where id=? and epoch=?"
        if db.execute(statement, values).rowcount != 1:
            raise JournalError(f"another process has taken over run {self.lease.run} now")

    @property
    def is_asked_to_end(self) -> bool:
        """Whether another process has asked for the end of the run."""
        return self._asked.exists()

    def beat(self) -> None:
        """Note that the run is being carried, about each `BEAT_S`."""
        self._lock.beat()

    async def finish(self, result: RunResult) -> None:
        """Keep the result; returns when that is durable.

        Raises:
            JournalError: It cannot be kept.
        """
        ended = time.time()
        statement = "update run set status=?, ended=?, duration_ms=?, result=? where id=?"

        def values() -> tuple[object, ...]:
            document = result.to_dict()
            del document["tasks"]  # each has its own records
            return result.status, ended, result.duration_ms, to_json(document), result.run_id

        self._writer.put(self.lease, statement, values)
        await self._writer.flush()
        error = self.recorder.error
        self.free()
        self._asked.unlink(missing_ok=True)
        if error is None:
            self._lock.path.unlink(missing_ok=True)
        if error is not None:
            raise error

    def free(self) -> None:
        """Let another process carry the run."""
        self._lock.release()


def asked_path(journal: Path, run: str) -> Path:
    """The file that asks the process that carries a run to end it."""
    path = lock_path(journal, run)
    return path.with_name(f"{path.name}.cancel")


def _carried_s(path: Path) -> float:
    """How long a run was carried: until the last beat, since it began, pauses left out."""
    began = path.read_text().partition("\n")[0]
    return max(0.0, path.stat().st_mtime - float(began)) if began else 0.0
