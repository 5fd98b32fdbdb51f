"""A run that this process carries: what it was asked for, its claim, and its end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.engine.items import Joined
from orchestrator.engine.result import RunResult
from orchestrator.errors import CarriedError, JournalError
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import PAUSED, QUEUED, RUNNING
from orchestrator.journal.location import Address, Location, store_of
from orchestrator.journal.losses import Losses
from orchestrator.journal.parts import Parts
from orchestrator.journal.recorder import RunRecorder, Unknown
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer

BEAT_S = 1.0
_UNBEGUN = """update run set status=?, resumed=resumed-1
where id=? and epoch=? and status=? and kind <> 'part'
and not exists(select 1 from record where run=run.id and kind not in ('aside', 'lost'))"""
# In its queue, or for one; what is aside has none, and was in one.
_WAITS_AGAIN = """update queued set begun=false where run=? and (queue is not null or not handed)
and exists(select from run where id=? and status=?)"""
_WAITS = "update queued set due=now_s() + ?::double precision where run=?"


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
        grew: Whether its tasks were added while it went on.
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
    grew: bool = False

    def request(self, hiding: Hiding, *, outputs: bool) -> str:
        """What the row of the run has; without outputs no inputs, as nobody can go on with it."""
        parts = ("workflow", "inputs", "settings")
        document = {part: getattr(self, part) for part in parts} | {"outputs": outputs}
        if not outputs:
            document["inputs"] = {}
        more = {"hold": self.hold, "limits": self.limits, "grew": self.grew}
        document |= {name: each for name, each in more.items() if each}
        return hiding.hide(to_json(document))


class KeptRun:
    """A run that this process carries and keeps.

    Attributes:
        lease: That this process carries it.
        claim: What tells others so.
        was: The status in which it was taken up; None if it began in this process.
        recorder: Keeps what happens in it.
        unknown: What becomes of calls that may have been carried out.
        here: The part of it that is carried here, too; None if there is none.
        losses: The processes that did not survive it lately.
    """

    recorder: RunRecorder
    record: RunRecord  # of a run that this process began

    def __init__(self, writer: Writer, run: str, epoch: int) -> None:
        self._writer = writer
        self.lease = Lease(run, epoch)
        self.was: str | None = None
        self.unknown: Unknown = "ask"
        self.here: KeptRun | None = None
        self.losses = Losses()
        self.claim = store_of(writer.location).claim(writer, self.lease)

    @property
    def is_new(self) -> bool:
        """Whether it began in this process, and nobody else asks for it."""
        return not self.recorder.resumed and not self.was_queued

    @property
    def was_queued(self) -> bool:
        """Whether it had not begun when it was taken up: another process has submitted it."""
        return self.was == QUEUED

    def take_over(self, db: Database) -> None:
        """Make sure that no process before this one writes any more.

        Raises:
            CarriedError: One of them has taken it over, or has ended it, in this moment.
        """
        run, epoch = self.lease.run, self.lease.epoch
        values = (epoch, RUNNING, QUEUED, time.time(), run, epoch - 1, self.was)
        again = """epoch=?, status=?, resumed=resumed+1, ended=null, duration_ms=null, result=null,
        started=case when status=? then ? else started end"""
        statement = f"update run set {again} where id=? and epoch=? and status=?"
        if db.execute(statement, values).rowcount != 1:
            raise CarriedError(f"another process has taken over run {run} now, or has ended it")

    def complete(self, workflow: Mapping[str, Any]) -> None:
        """Keep the whole of a plan that has grown, in place of what it began with."""
        recorder, run = self.recorder, self.lease.run
        record = replace(self.record, workflow=workflow, hold=None, grew=True)

        def values() -> tuple[object, ...]:
            return record.request(recorder.hiding, outputs=recorder.keeps_outputs), run

        self._writer.put(self.lease, "update run set request=? where id=?", values)
        self._writer.put(
            self.lease, "delete from record where run=? and kind='added'", lambda: (run,)
        )

    async def finish(self, result: RunResult, waits_s: float = math.inf) -> None:
        """Keep the result; returns when that is durable.

        Workers go on with a run that is paused after so long, whether it is answered or not.

        Raises:
            JournalError: It cannot be kept.
        """
        ended = time.time()
        statement = "update run set status=?, ended=?, duration_ms=?, result=? where id=?"

        def values() -> tuple[object, ...]:
            document = _without_joined(result)
            if not self.recorder.keeps_outputs:
                document["output"] = None
                for question in document["questions"]:
                    question["arguments"] = None
            return (
                result.status,
                ended,
                result.duration_ms,
                self.recorder.hiding.hide(to_json(document)),
                self.lease.run,
            )

        self._writer.put(self.lease, statement, values)
        if result.status == PAUSED and isinstance(self.location, Address):
            self._writer.put(self.lease, _WAITS, lambda: (waits_s, self.lease.run))
        self.claim.end_with_next()
        await self._writer.flush()
        error = self.recorder.error
        self.claim.end(is_kept=error is None)
        if error is not None:
            raise error

    @property
    def location(self) -> Location:
        """Where its journal is."""
        return self._writer.location

    def parts(self, workflow: str, task: str, *, has_inside: bool) -> Parts:
        """The parts of a task of it; `workflow` is the name of its workflow."""
        of = self._writer, self.lease, self.recorder.hiding
        return Parts(*of, workflow, task, has_inside=has_inside)

    def holds(self, within_s: float) -> bool:
        """Whether it is still this process's, which others have heard of so lately, seconds."""
        return self.lease.error is None and self._writer.session.is_current(within_s)

    async def leave(self) -> None:
        """Let another process go on with the run as it is now; nothing more is kept of it here."""
        if self.here is not None:
            await self.here.leave()
        await self.free()
        if self.lease.error is None:
            self.lease.error = JournalError(f"run {self.lease.run} is left to another process")

    async def let_go(self) -> None:
        """The same of a run that an error ends here; it is as before if nothing of it is kept.

        So one that was submitted, and could not begin here, still waits to begin.
        """
        self.put_back()
        await self.free()

    def put_back(self) -> None:
        """Have a run wait to begin that was submitted, and of which nothing is kept."""
        if self.was_queued:
            run, epoch = self.lease.run, self.lease.epoch
            self._writer.put(self.lease, _UNBEGUN, lambda: (QUEUED, run, epoch, RUNNING))
            if isinstance(self.location, Address):
                self._writer.put(self.lease, _WAITS_AGAIN, lambda: (run, run, QUEUED))

    async def free(self) -> None:
        """Let another process take it up; returns when others see that."""
        self.claim.free()
        await self._writer.flush()

    async def forget(self) -> None:
        """Delete all that is kept of it; returns when that is durable."""
        run = self.lease.run
        self._writer.put(self.lease, "delete from run where id=?", lambda: (run,))
        await self._writer.flush()
        self.claim.end(is_kept=True)


def _without_joined(result: RunResult) -> dict[str, Any]:
    """The document of a result without tasks, which have records of their own.

    The outputs of items that others have carried are not kept once more.
    """
    document, joined = result.to_dict(tasks=False), dict[str, str]()
    output = document["output"]
    for task, each in result.tasks.items():
        if isinstance(each.items, Joined) and each.output is not None:
            if output is each.output:
                document["output"], joined[""] = None, task
            elif isinstance(output, dict):
                joined |= {name: task for name, value in output.items() if value is each.output}
    if joined.keys() - {""}:
        document["output"] = {
            name: None if name in joined else value for name, value in output.items()
        }
    return document | ({"joined": joined} if joined else {})


def ask_to_end(journal: Location, run: str) -> None:
    """Ask the process that carries a run to end it."""
    store_of(journal).ask_to_end(run)


def take_back(journal: Location, run: str, status: str) -> None:
    """End a run, or a part of one, that has this status and that no process carries any more."""
    end = "update run set status='cancelled', epoch=epoch+1, ended=? where id=? and status=?"
    store_of(journal).session().call(lambda db: db.execute(end, (time.time(), run, status)))
