"""`orchestrator run --on`: a run that a worker carries, shown as one of this process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from orchestrator.cli.asking import hiding_of, terminal
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import worker_command
from orchestrator.cli.kept_run import Elsewhere, NamedRun
from orchestrator.cli.remote_questions import RemoteQuestions
from orchestrator.cli.run import CancellableRun, carry_out
from orchestrator.cli.signals import Ending
from orchestrator.client import Orchestrator
from orchestrator.cluster.waiting import NOTHING, Waits, why
from orchestrator.documents.text import quoted
from orchestrator.engine.events import Announcer
from orchestrator.errors import JournalError, Problem, UnknownRunError, WorkflowError
from orchestrator.journal.following import Following
from orchestrator.journal.history import OPEN, PAUSED, RUNNING, KnownRun
from orchestrator.journal.kept import documents_of
from orchestrator.journal.kept_run import ask_to_end
from orchestrator.journal.location import Address
from orchestrator.journal.orders import Order, Submitted
from orchestrator.workflow.model import Workflow

LOOK_S = 0.5
_HERE = ("dry_run", "record", "replay", "stream", "hold", "statistics", "events", "metrics", "wait")


def check_on(options: argparse.Namespace) -> None:
    """Refuse what only a run of this process can have. Raises `WorkflowError`."""
    found = [
        Problem("usage", f"--{name.replace('_', '-')} and --on exclude each other", hint=hint)
        for name in _HERE
        if getattr(options, name)
        for hint in ["a worker carries the run, and only what the journal keeps comes back"]
    ]
    if found:
        raise WorkflowError("usage", found)


def has_key(submitted: Submitted, order: Order) -> str:
    """What is said of a run that was submitted before."""
    has = f"run {submitted.run} has the key {quoted(str(order.key))} already"
    keeps = f"; other than asked for now, it has {', '.join(submitted.differs)}"
    return f"{has}: nothing new is submitted{keeps if submitted.differs else ''}"


def follow(
    options: argparse.Namespace,
    workflow: Workflow,
    inputs: Mapping[str, Any],
    orchestrator: Orchestrator,
) -> int:
    """Submit a run, show it until it ends, write its result, and return the exit code."""
    return carry_out(_Submitted, options, workflow, inputs, orchestrator)


@dataclass
class _Submitted(CancellableRun):
    """A run that another process carries; the first signal cancels it, the second only leaves."""

    woken: anyio.Event = field(default_factory=anyio.Event)
    trouble: str = ""
    waits: Waits = NOTHING
    person: RemoteQuestions | None = None
    run_id: str = ""
    is_asked: bool = False  # to end

    def __post_init__(self) -> None:
        # The journal is open while something is written, not while this only waits.
        self.ending = Ending(Orchestrator({}), self._cancel)

    def _cancel(self, signal_name: str, **_: bool) -> bool:
        is_first, self.was_cancelled = not self.was_cancelled, True
        self.woken.set()
        if is_first:
            if self.person is not None and self.person.is_busy:
                print(file=sys.stderr)  # after the prompt
            then = "once more leaves it to end by itself"
            complain(f"interrupted by {signal_name}: the run is being cancelled; {then}")
        elif self.run_id and not self.is_asked:
            ends = f'"orchestrator cancel {self.run_id}" ends it'
            complain(f"the run was not told yet, and may go on: {ends}")
        return is_first

    async def run(self) -> int:
        names = ("schedule", "max_concurrency", "max_run_mb")
        settings: Any = {name: getattr(self.options, name) for name in names}
        order: Order = self.options.order
        async with self.orchestrator:
            submit = self.orchestrator.submit
            submitted = await submit(self.workflow, self.inputs, order, **settings)
        self.run_id = run = submitted.run
        is_new = submitted.is_new
        print(f"run {run} is submitted" if is_new else has_key(submitted, order), file=sys.stderr)
        journal = self.orchestrator.journal_location
        assert isinstance(journal, Address)
        following = Following(journal, run, self.workflow, Announcer(self.observers))
        hiding = partial(hiding_of, self.options)
        self.person = asking = RemoteQuestions(journal, run, terminal(), self._hold, hiding)
        outcome: KnownRun | Exception
        async with anyio.create_task_group() as group:
            try:
                outcome = await self._followed(following, journal, asking, group)
            except Exception as failure:  # raised outside of the group, which would wrap it
                outcome = failure
            group.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        kept = await to_thread.run_sync(documents_of, journal, run)
        result = NamedRun(outcome, kept, journal).result
        following.end(result)
        return self.finish(Elsewhere(), result)

    async def _followed(
        self, following: Following, journal: Address, asking: RemoteQuestions, group: TaskGroup
    ) -> KnownRun:
        """Show the run and ask what it asks, until it has ended or waits for others."""
        known = await to_thread.run_sync(self._look, following, journal)
        while known is None or known.status in (RUNNING, *OPEN):
            if self.was_cancelled:
                asking.stop()
                if known is not None:
                    await self._end(journal, known)
            elif known is not None:
                asking.see(following.questions, group)
                goes_on = asking.is_busy or following.is_answered
                if known.status == PAUSED and not goes_on:
                    break
            with anyio.move_on_after(LOOK_S):
                await self.woken.wait()
            if self.woken.is_set():
                self.woken = anyio.Event()
            known = await to_thread.run_sync(self._look, following, journal) or known
        return known

    def _look(self, following: Following, journal: Address) -> KnownRun | None:
        """How the run is, and why it waits; None if that cannot be read now."""
        try:
            known = following.look()
            waits = why(journal, known, worker_command(self.options))
        except UnknownRunError:
            raise
        except JournalError as error:
            if str(error) != self.trouble:
                self.trouble = str(error)
                complain(f"{error}; the run goes on, and is shown again when that can be read")
            return None
        self.trouble, before, self.waits = "", self.waits, waits
        if waits.kind not in ("", before.kind):
            complain(f"the run waits: {waits.text}")
        return known

    async def _end(self, journal: Address, known: KnownRun) -> None:
        """Have the run end where it is carried, or end it here if nobody carries it."""
        if known.status in OPEN:
            try:
                async with self.orchestrator:
                    await self.orchestrator.end(known.id)
            except JournalError:
                pass  # in this moment it was begun, or has ended: the next look tells
            return
        await to_thread.run_sync(partial(ask_to_end, journal, known.id))
        self.is_asked = True
