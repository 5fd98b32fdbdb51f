"""Runs that this process does not carry: submitted for workers, now or on a schedule, or ended."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from anyio import to_thread

from orchestrator.durable import ON_REQUEST, record_of
from orchestrator.engine.result import RunResult
from orchestrator.errors import JournalError
from orchestrator.journal import orders, schedules
from orchestrator.journal.history import QUEUED
from orchestrator.journal.orders import Order, Submitted
from orchestrator.journal.schedules import Schedule, Scheduled
from orchestrator.journal.store import Database
from orchestrator.preflight import WorkflowSource
from orchestrator.run_request import Inputs, RunOptions
from orchestrator.runs import Runs


class Submitting(Runs):
    """Submits runs to the journal, which keeps them until a worker begins them, or ends them."""

    async def queue(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        order: Order | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Keep a run in the journal for a worker to carry; its id, or that of who has its key.

        Takes and raises what `submit` does.
        """
        return (await self.submit(workflow, inputs, order, **options)).run

    async def submit(
        self,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        order: Order | None = None,
        **options: Unpack[RunOptions],
    ) -> Submitted:
        """As `queue`, and whether the run is a new one.

        Args:
            workflow: As for `run`, and so are `inputs` and `options`.
            inputs: Values for its inputs.
            order: What is asked of the queue: a key, a priority, a time, who may carry it.
            options: Settings of the run.

        Raises:
            WorkflowError: As for `run`, of what is known without the servers.
            JournalError: It cannot be kept, or the key is that of another workflow or other inputs.
        """
        request = self._request(workflow, inputs, options)
        servers = tuple(request.workflow.plan.servers)
        order = replace(order or Order(), servers=servers)
        journal, record = self._kept_in(), record_of(request, self._pool)
        about = record.id, record.name, QUEUED, record.kind, record.origin
        text = record.request(self.hiding, outputs=journal.outputs)
        row = (*about, 0, -1, time.time(), text)
        return await orders.keep(journal.open_writer(), row, order)

    async def schedule(
        self,
        when: Schedule,
        workflow: WorkflowSource,
        inputs: Inputs = None,
        **options: Unpack[RunOptions],
    ) -> Scheduled:
        """Have workers submit a workflow whenever a schedule says so; takes else what `queue` does.

        A schedule of the same name is replaced by this one, and what was different is returned.

        Raises:
            WorkflowError: As for `run`, of what is known without the servers.
            JournalError: It is wrong, or cannot be kept.
        """
        when.check()
        request = self._request(workflow, inputs, options)
        order = replace(when.order, servers=tuple(request.workflow.plan.servers))
        when = replace(when, workflow=request.workflow.name, order=order)
        journal, new = self._kept_in(), when.planned()
        if isinstance(journal.location, Path):
            raise JournalError("a schedule needs a journal in PostgreSQL")
        text = record_of(request, self._pool).request(self.hiding, outputs=journal.outputs)
        done: list[Scheduled] = []

        def put(db: Database) -> None:
            done[:] = [schedules.put(db, new, text)]

        await to_thread.run_sync(journal.open_writer().session.call, put)
        return done[0]

    async def end(self, run_id: str, reason: str = ON_REQUEST) -> RunResult:
        """Cancel a run of the journal that no process carries; the tasks of its `finally` run here.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it.
            WorkflowError: Its servers are not configured.
        """
        async with self._resumed(run_id, "fail", {}, to_end=True) as run:
            run.cancel(reason)
            return await run.execute()
