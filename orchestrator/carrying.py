"""A run from what was asked for to its end here: its servers, its journal, its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import get_cancelled_exc_class, to_thread

from orchestrator.durable import (
    carried,
    keep_unbegun,
    letting_go,
    record_of,
    request_of,
    reuse_of,
    settle_memo,
    share,
    unless_refused,
)
from orchestrator.engine.drain import Drain
from orchestrator.engine.events import Observers
from orchestrator.engine.question import AnswerCallback
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.engine.summary import Stop
from orchestrator.errors import JournalError
from orchestrator.inspection import Inspector
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import KeptRun
from orchestrator.journal.location import Location
from orchestrator.journal.losses import Losses
from orchestrator.journal.part import PartRecorder
from orchestrator.journal.recorder import Unknown
from orchestrator.owner import Held
from orchestrator.preflight import WorkflowSource, check_online, check_shared
from orchestrator.run_request import Inputs, RunOptions, RunRequest
from orchestrator.servers.pool import ServerPool
from orchestrator.spreading import request_of_part, spread
from orchestrator.startup import Startup, starting
from orchestrator.trust import guarded

if TYPE_CHECKING:
    from orchestrator.check.strangers import Site


class Carrying(Inspector):
    """Carries runs, new ones and those that a journal keeps."""

    def __init__(
        self,
        pool: ServerPool,
        observers: Observers = (),
        journal: Journal | None = None,
        answer: AnswerCallback | None = None,
    ) -> None:
        super().__init__(pool, Held(journal, pool))
        self._answer, self._observers, self._journal = answer, tuple(observers), journal
        if journal is not None:
            journal.on_commit = self._telemetry.on_commit
            share(pool, journal.location)

    @property
    def journal_location(self) -> Location | None:
        """Where the journal is; None without one."""
        return None if self._journal is None else self._journal.location

    async def _kept(self, request: RunRequest, **more: Any) -> KeptRun | None:
        if self._journal is None:
            return None
        record = replace(record_of(request, self._pool), **more)
        return await self._journal.begin(record, hiding=self.hiding)

    def _kept_in(self) -> Journal:
        if self._journal is None:
            raise JournalError("give the Orchestrator a journal, as in journal='runs.db'")
        return self._journal

    def _own(self, options: RunOptions) -> RunOptions:
        options["observers"] = (*self._observers, *options.get("observers", ()))
        options.setdefault("answer", self._answer)
        return options

    @asynccontextmanager
    async def _resumed(
        self,
        run_id: str,
        unknown: Unknown,
        options: RunOptions,
        *,
        to_end: bool = False,
        most_lost: int | None = None,
    ) -> AsyncIterator[Run]:
        journal, secrets = self._kept_in(), self.hiding
        how: dict[str, Any] = {"to_end": to_end, "most_lost": most_lost}
        record, kept = await journal.resume(run_id, unknown, secrets, **how)
        async with letting_go(kept):
            if isinstance(kept.recorder, PartRecorder):
                request = request_of_part(kept.recorder, options, self._pool)
            else:
                ends = {"to_end": to_end, "has_begun": not kept.was_queued}
                request = request_of(record, self._own(options), self._pool, **ends)
            if record.kind == "fork" and record.origin is not None:
                of = journal.location, record.origin, request.workflow, secrets
                request = request.reusing(await to_thread.run_sync(reuse_of, *of))
        checks = not to_end and request.needs is None and not kept.losses.is_end
        async with self._carried(request, kept, checks=checks) as run:
            if kept.losses.is_end:
                run.end(Stop.lost(kept.losses.owners), at_once=kept.losses.is_bare)
            yield run

    async def _carry_part(self, kept: KeptRun, drain: Drain | None, run_id: str) -> None:
        """Carry a part of a run that this process carries, too; who leaves that leaves both."""
        options, most_lost = RunOptions(drain=drain), kept.losses.most
        async with self._resumed(run_id, kept.unknown, options, most_lost=most_lost) as run:
            kept.here = self._kept_in().carried(run_id)
            try:
                await run.execute()
            finally:
                kept.here = None

    @asynccontextmanager
    async def _carried(
        self, request: RunRequest, kept: KeptRun | None, *, checks: bool = True
    ) -> AsyncIterator[Run]:
        settle_memo(request.workflow, kept, self._pool)
        if kept is not None and request.needs is None:
            carry = partial(self._carry_part, kept, request.settings.drain)
            request = spread(request, kept, self._pool, carry)
        async with AsyncExitStack() as stack:
            if kept is not None:
                await stack.enter_async_context(unless_refused(kept))
            try:
                run = await stack.enter_async_context(self._begun(request, kept, checks))
            except get_cancelled_exc_class():
                if kept is not None:
                    await keep_unbegun(request, kept)
                raise
            if kept is not None:
                await stack.enter_async_context(carried(run, kept, self._pool.start_soon))
            await stack.enter_async_context(self._pool.noting(run, request.inputs))
            yield run

    @asynccontextmanager
    async def _begun(
        self, request: RunRequest, kept: KeptRun | None, checks: bool
    ) -> AsyncIterator[Run]:
        loaded, recorder = request.workflow, None if kept is None else kept.recorder
        if not checks:
            named: Iterable[str] = loaded.plan.servers
            losses = Losses() if kept is None else kept.losses
            if losses.is_end or request.needs is None:
                # It ends before it goes on: nothing is called but what `finally` has.
                has_begun = kept is not None and not kept.was_queued
                last = loaded.plan.closing(inside=has_begun)
                named = dict.fromkeys(server for each in last for server in each.servers)
            if losses.is_bare:  # what is kept of it stays as it is
                named, recorder = (), None
            await self._pool.open(named, request.times)
            await self._pool.learn_prompts(loaded.plan.prompt_servers.intersection(named))
            yield self._new_run(request, recorder=recorder)
            return
        # A run that goes on is refused as it is: begun, it would end with what is found later.
        goes_on = kept is not None and not kept.is_new
        is_ready = all(map(self._pool.usable, loaded.plan.servers))
        if goes_on or is_ready or loaded.timeout_s is not None:
            await self._open(request)
            yield self._new_run(request, recorder=recorder)
            return
        async with starting(loaded, self._pool, request.times) as startup:
            run = self._new_run(request, startup, recorder)
            startup.on_problem = partial(run.cancel, at_once=True)
            yield run

    def _request(self, workflow: WorkflowSource, inputs: Inputs, options: RunOptions) -> RunRequest:
        """The one way into `begin`, `prepare` and `prepare_dry_run`."""
        if not self.is_open:
            raise RuntimeError("use 'async with Orchestrator(...) as orchestrator', or start()")
        check_shared(self._pool)
        request = RunRequest.of(workflow, inputs, self._own(options), self._pool)
        return replace(request, settings=self._pool.settings_of(request.settings))

    async def _open(self, request: RunRequest) -> None:
        """Wait until all servers are ready or have failed, and check the plan against them."""
        plan = request.workflow.plan
        await self._pool.open(plan.servers, request.times)
        await self._pool.learn_prompts(plan.prompt_servers)
        check_online(request.workflow, self._pool)

    def _new_run(
        self,
        request: RunRequest,
        startup: Startup | None = None,
        recorder: Recorder | None = None,
        reached: set[Site] | None = None,
    ) -> Run:
        pool, plan = self._pool, request.workflow.plan
        names = plan.servers if plan.tasks else list(pool.servers)  # it grows
        listen = partial(pool.subscribe, servers=names) if startup is None else startup.listen
        known = pool.catalog.of(names)
        of_pool = pool.policies, pool.locks, listen, startup
        servers = Servers(known, *of_pool, request.times.ms, pool.servers.budget)
        caller = guarded(request.whole, pool, reached)
        return request.run(caller, servers, recorder=recorder, telemetry=self._telemetry)
