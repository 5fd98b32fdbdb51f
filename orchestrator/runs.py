"""The runs of an orchestrator: begun, and kept in a journal if there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Unpack

from anyio import to_thread

from orchestrator.carrying import Carrying
from orchestrator.checking import nothing_known
from orchestrator.durable import (
    carried,
    forked,
    request_of,
    reuse_of,
    reused,
    settle_memo,
)
from orchestrator.engine.growth import Hold
from orchestrator.engine.run import Run
from orchestrator.growing import GrowingRun
from orchestrator.journal.recorder import Unknown
from orchestrator.journal.statistics import known_estimates
from orchestrator.preflight import WorkflowSource
from orchestrator.run_request import Inputs, RunOptions
from orchestrator.workflow.header import without_tasks
from orchestrator.workflow.model import Workflow


class Runs(Carrying):
    """Begins runs, and takes up those that a journal keeps."""

    @asynccontextmanager
    async def begin(
        self, workflow: WorkflowSource, inputs: Inputs = None, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Run]:
        """The `Run` that `run` executes, for you to execute in the block, or to cancel.

        Takes what `run` takes. The block begins when the first call can be made; if the workflow
        has a `timeout_s`, when all servers are ready: their start does not use up that limit.

        Raises:
            WorkflowError: As for `run`, when the block begins, or when it ends.
        """
        request = self._request(workflow, inputs, options)
        async with self._carried(request, await self._kept(request)) as run:
            yield run

    @asynccontextmanager
    async def open(
        self,
        workflow: Mapping[str, Any] | None = None,
        inputs: Inputs = None,
        *,
        hold: Hold | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncIterator[GrowingRun]:
        """A run whose tasks are added in the block, and start while others are still written.

        `await run.add(task)` checks a task, against its tool too; `result = await run.close()` says
        that the plan is complete. A block that ends without it loses the plan: what runs is
        finished, nothing new begins, and the run is `cancelled`.

        Args:
            workflow: The fields of the workflow apart from `tasks`.
            inputs: Values for its inputs.
            hold: `writes`: a task with a tool that may write waits until the plan is complete.
            options: As for `run`; `estimates` may name tasks that come later.

        Raises:
            WorkflowError: The fields, the inputs or the options are wrong.
        """
        header = {"name": "workflow", **(workflow or {})}
        request = self._request(without_tasks(header), inputs, options)
        kept = await self._kept(request, hold=hold)
        settle_memo(request.workflow, kept, self._pool)
        recorder, earlier = None if kept is None else kept.recorder, nothing_known()
        run = self._new_run(request, recorder=recorder, reached=earlier.reached)
        async with AsyncExitStack() as stack:
            if kept is not None:
                await stack.enter_async_context(carried(run, kept, self._pool.start_soon))
            await stack.enter_async_context(self._pool.noting(run, request.inputs))
            growing = GrowingRun(header, run, self._pool, earlier, hold, kept)
            yield await stack.enter_async_context(growing)

    @asynccontextmanager
    async def retry(
        self,
        run_id: str,
        again: Collection[str] = (),
        alone: Collection[str] = (),
        **options: Unpack[RunOptions],
    ) -> AsyncIterator[Run]:
        """A new run of a workflow in the journal that reuses what succeeded in an earlier one.

        Args:
            run_id: The id of the earlier run, or the beginning of it, or `last`.
            again: Tasks that are made again although they succeeded, with all that depend on them.
            alone: The same for tasks alone.
            options: Only `observers`, `answer` and `wait` count.

        Raises:
            JournalError: There is no such run.
            WorkflowError: Its servers are not configured, or a task is unknown.
        """
        journal = self._kept_in()
        record, records = await to_thread.run_sync(
            reused, journal.location, run_id, frozenset(again), frozenset(alone), self.hiding
        )
        request = request_of(record, self._own(options), self._pool)
        kept = await journal.begin(record, records, self.hiding)
        async with self._carried(request, kept) as run:
            yield run

    @asynccontextmanager
    async def fork(
        self,
        run_id: str,
        workflow: WorkflowSource | None = None,
        inputs: Inputs = None,
        **options: Unpack[RunOptions],
    ) -> AsyncIterator[Run]:
        """A new run with another workflow or inputs that reuses what did not change.

        That is each task that succeeded, and whose definition and resolved arguments are the same.

        Args:
            run_id: The id of the earlier run, or the beginning of it, or `last`.
            workflow: The workflow; None: that of the earlier run.
            inputs: Values for inputs that replace those of the earlier run.
            options: As for `run`.

        Raises:
            JournalError: There is no such run.
            WorkflowError: The workflow, its inputs, servers or options are wrong.
        """
        journal = self._kept_in()
        origin, new, values = await to_thread.run_sync(
            forked, journal.location, run_id, workflow, inputs, self.hiding
        )
        request = self._request(new, values, options)
        kept = await self._kept(request, kind="fork", origin=origin)
        reuse = await to_thread.run_sync(reuse_of, journal.location, origin, new, self.hiding)
        async with self._carried(request.reusing(reuse), kept) as run:
            yield run

    async def estimates(self, workflow: WorkflowSource) -> dict[str, float]:
        """What each task took in earlier runs of the journal, seconds, for `run(estimates=...)`.

        Tasks of which nothing is known are left out; without a journal that is all of them.
        """
        if self._journal is None:
            return {}
        loaded = Workflow.load(workflow)
        return await to_thread.run_sync(known_estimates, self._journal.location, loaded)

    @asynccontextmanager
    async def resume(
        self,
        run_id: str,
        *,
        unknown: Unknown = "ask",
        most_lost: int | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncIterator[Run]:
        """A run of the journal that has not ended, for you to execute in the block.

        What has settled is not called again; the workflow, its inputs and settings are those it
        began with, and of `options` only `observers`, `answer`, `wait` and `drain` count: this lets
        the calls end that are under way, before another process goes on with the run.

        Args:
            run_id: The id of the run, or the beginning of it, or `last`.
            unknown: What becomes of calls that left before a crash, of which no answer was kept,
                and whose tools declare neither that they only read nor that repeating them is safe:
                `repeat` them, or `fail` their tasks; `ask`: a person decides, as `run` says.
            most_lost: After how many processes that did not survive it, while nothing of it
                settled, a run of a database fails; None: it goes on.

        Raises:
            JournalError: There is no such run, it has ended, or another process carries it.
            WorkflowError: Its servers are not configured.
        """
        async with self._resumed(run_id, unknown, options, most_lost=most_lost) as run:
            yield run
