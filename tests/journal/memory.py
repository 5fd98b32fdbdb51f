"""A journal in memory whose process ends after so many records, and a run that is kept in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.events import TaskStarted
from orchestrator.engine.question import AnswerCallback, Question
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.journal.recorder import RunRecorder, Unknown
from orchestrator.journal.records import Key, Record, reply_key
from orchestrator.journal.writer import Lease, Values, Writer
from orchestrator.workflow.model import Schedule, Workflow
from tests.model import SERVER_TIMEOUT_S, Case
from tests.stage import FOREVER_S, Stage, tools_in


class Crash(BaseException):
    """The process ends here: nothing is caught, nothing is written any more."""


@dataclass
class Memory:
    """Stands in for the `Writer`.

    Attributes:
        records: What was kept; it survives.
        left: How many records can be kept before the process ends; None for any number.
    """

    records: dict[Key, Record] = field(default_factory=dict)
    left: int | None = None
    has_ended: bool = False
    error: None = None
    puts: int = 0

    def put(self, _: Lease, statement: str, values: Values) -> None:
        if self.has_ended:
            return
        if statement.startswith("delete"):
            _, _, within = cast("Any", values())
            for key in [key for key in self.records if key.path.startswith(within)]:
                del self.records[key]
            return
        _, kind, path, item, fallback, number, at, payload = cast("Any", values())
        self.records[Key(kind, path, item, fallback, number)] = Record(at, payload)
        self.puts += 1
        if self.left is not None and self.puts > self.left:
            self.has_ended = True
            raise Crash

    async def flush(self, lease: Lease | None = None) -> None:  # noqa: ARG002
        if self.has_ended:
            raise Crash
        await anyio.lowlevel.checkpoint()


class _Alone(RunRecorder):
    """A recorder of a run to which no other process replies."""

    async def read_replies(self) -> None:
        """There are none."""


@dataclass
class MortalStage(Stage):
    """A stage whose process may end: a call under way then has not been carried out."""

    memory: Memory = field(default_factory=Memory)
    begun: set[str] = field(default_factory=set)  # workflows inside, by this process
    keys: set[str] = field(default_factory=set)  # the idempotency keys of all calls

    def begin(self, event: TaskStarted) -> None:
        """A workflow inside begins, or goes on if its process had ended in the middle of it."""
        path = event.task if event.item is None else f"{event.task}[{event.item}]"
        item = -1 if event.item is None else event.item
        ended = sum(
            key.path == event.task and key.item == item and not key.fallback
            for key in self.memory.records
            if key.kind == "answer" or key.kind.startswith("failure")
        )
        goes_on = path not in self.begun and self.runs[path] > ended
        self.begun.add(path)
        if not goes_on:
            super().begin(event)

    async def __call__(self, call: Any, attempt: Any) -> Any:
        if self.memory.has_ended:
            raise Crash
        self.keys.add(call.idempotency_key)
        before = len(self.log)
        try:
            return await super().__call__(call, attempt)
        finally:
            if self.memory.has_ended and len(self.log) > before:
                task, unit = self.log[before].task, self.log[before].unit
                self.made[task, unit] -= 1


async def carry(
    case: Case,
    workflow: Workflow,
    schedule: Schedule,
    stage: MortalStage,
    unknown: Unknown,
    answer: AnswerCallback | None = None,
) -> RunResult | None:
    """Carry a run until it ends; None if its process ended before.

    With `answer`, each call has to be approved.
    """
    memory, zero_s = stage.memory, stage.zero_s
    memory.has_ended, memory.puts = False, 0
    stage.begun.clear()
    elapsed_s = anyio.current_time() - zero_s
    lease = Lease("run", 1)
    recorder = _Alone(
        cast("Writer", memory),
        lease,
        memory.records,
        elapsed_s=elapsed_s,
        unknown=unknown,
    )
    recorder.now = anyio.current_time
    run = Run(
        workflow,
        stage,
        RunSettings(schedule=schedule, estimates=case.estimates, recorder=recorder, answer=answer),
        servers=Servers(
            tools={tool.target: tool for tool in tools_in(case)},
            policies={
                name: ServerPolicy(
                    SERVER_TIMEOUT_S,
                    Slots(case.slots[name]) if name in case.slots else None,
                    approve=["*"] if answer is not None else (),
                )
                for name in ("s0", "s1")
            },
        ),
        observers=[stage.observe],
    )
    try:
        with anyio.fail_after(FOREVER_S):
            return await run.execute()
    except BaseException:
        if memory.has_ended:
            return None
        raise


def reply_to_all(memory: Memory, questions: Iterable[Question]) -> None:
    """Approve what a paused run waits for, as another process does."""
    for question in questions:
        memory.records[reply_key(question)] = Record(0.0, json.dumps({"value": True}))
