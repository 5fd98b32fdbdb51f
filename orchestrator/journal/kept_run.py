"""A run that this process carries: its lock, its beat, and its end."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.engine.result import RunResult
from orchestrator.engine.task_state import RunState
from orchestrator.errors import JournalError
from orchestrator.journal import live
from orchestrator.journal.file_lock import FileLock
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import RUNNING
from orchestrator.journal.live import lock_path
from orchestrator.journal.recorder import RunRecorder
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
        hold: What waits until the plan is complete, if it still grows.
        limits: The limits of its servers then, by server, without what is the default.
    """

    id: str
    name: str
    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    kind: str = "run"
    origin: str | None = None
    hold: str | None = None
    limits: Mapping[str, Any] | None = None

    def request(self, hiding: Hiding, *, outputs: bool) -> str:
        """What the row of the run has; without outputs no inputs, as nobody can go on with it."""
        parts = ("workflow", "inputs", "settings")
        document = {part: getattr(self, part) for part in parts} | {"outputs": outputs}
        if not outputs:
            document["inputs"] = {}
        more = {"hold": self.hold, "limits": self.limits}
        document |= {name: each for name, each in more.items() if each}
        return hiding.hide(to_json(document))


class KeptRun:
    """A run that this process carries and keeps.

    Attributes:
        lease: That this process carries it.
        recorder: Keeps what happens in it.
    """

    recorder: RunRecorder
    record: RunRecord  # of a run that this process began

    def __init__(self, writer: Writer, path: Path, run: str, epoch: int) -> None:
        self._writer, self._journal = writer, path
        self.lease = Lease(run, epoch)
        self._lock = FileLock(lock_path(path, run))
        self._asked = asked_path(path, run)
        self._lock.path.parent.mkdir(mode=0o700, exist_ok=True)

    def take(self, elapsed_s: float | None = None) -> float:
        """Hold the run's lock; how long processes before this one have carried it, seconds.

        Args:
            elapsed_s: That time, where it is known; None: what the file of the lock says.

        Raises:
            JournalError: Another process holds it.
        """
        path = self._lock.path
        if elapsed_s is None:
            elapsed_s = _carried_s(path) if path.exists() else 0.0
        try:
            taken = self._lock.acquire(wait=False)
        except OSError as error:
            raise JournalError(f"{path} cannot be written: {error.strerror}") from None
        if not taken:
            owner = path.read_text().partition("\n")[2]
            raise JournalError(f"run {self.lease.run} is carried by another process: {owner}")
        self._asked.unlink(missing_ok=True)
        owner = f"process {os.getpid()} on {platform.node()}"
        self._lock.write(f"{time.time() - elapsed_s}\n{owner}")
        return elapsed_s

    def take_over(self, db: sqlite3.Connection) -> None:
        """Make sure that no process before this one writes any more."""
        values = (self.lease.epoch, RUNNING, self.lease.run, self.lease.epoch - 1)
        again = "epoch=?, status=?, resumed=resumed+1, ended=null, duration_ms=null, result=null"
        statement = f"update run set {again} where id=? and epoch=?"
        if db.execute(statement, values).rowcount != 1:
            raise JournalError(f"another process has taken over run {self.lease.run} now")

    @property
    def is_asked_to_end(self) -> bool:
        """Whether another process has asked for the end of the run."""
        return self._asked.exists()

    def beat(self, state: Callable[[], RunState]) -> None:
        """Note about each `BEAT_S` that the run is carried, and what it does if somebody looks."""
        self._lock.beat()
        live.tell(self._journal, self.lease.run, state)

    def complete(self, workflow: Mapping[str, Any]) -> None:
        """Keep the whole of a plan that has grown, in place of what it began with."""
        recorder, run = self.recorder, self.lease.run
        record = replace(self.record, workflow=workflow, hold=None)

        def values() -> tuple[object, ...]:
            return record.request(recorder.hiding, outputs=recorder.keeps_outputs), run

        self._writer.put(self.lease, "update run set request=? where id=?", values)
        self._writer.put(
            self.lease, "delete from record where run=? and kind='added'", lambda: (run,)
        )

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
            if not self.recorder.keeps_outputs:
                document["output"] = None
                for question in document["questions"]:
                    question["arguments"] = None
            return (
                result.status,
                ended,
                result.duration_ms,
                self.recorder.hiding.hide(to_json(document)),
                result.run_id,
            )

        self._writer.put(self.lease, statement, values)
        await self._writer.flush()
        error = self.recorder.error
        self.free()
        self._asked.unlink(missing_ok=True)
        live.forget(self._journal, self.lease.run)
        if error is not None:
            raise error
        self._lock.path.unlink(missing_ok=True)

    async def forget(self) -> None:
        """Delete all that is kept of it; returns when that is durable."""
        run = self.lease.run
        self._writer.put(self.lease, "delete from run where id=?", lambda: (run,))
        await self._writer.flush()
        self._asked.unlink(missing_ok=True)
        live.forget(self._journal, run)
        self._lock.path.unlink(missing_ok=True)

    def free(self) -> None:
        """Let another process carry the run."""
        self._lock.release()


def asked_path(journal: Path, run: str) -> Path:
    """The file that asks the process that carries a run to end it."""
    path = lock_path(journal, run)
    return path.with_name(f"{path.name}.cancel")


def ask_to_end(journal: Path, run: str) -> None:
    """Ask the process that carries a run to end it."""
    asked_path(journal, run).touch(mode=0o600)


def _carried_s(path: Path) -> float:
    """How long a run was carried: until the last beat, since it began, pauses left out."""
    began = path.read_text().partition("\n")[0]
    return max(0.0, path.stat().st_mtime - float(began)) if began else 0.0
