"""Runs that are kept in a journal: what is kept of a request, and how one is taken up again."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.documents.encode import to_json
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.engine.events import Announcer, StartTimes
from orchestrator.engine.reuse import Reuse
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.settled import Settled
from orchestrator.errors import JournalError, Problem, WorkflowError
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import find
from orchestrator.journal.kept import (
    check_complete,
    check_outputs,
    documents_of,
    kept_request,
)
from orchestrator.journal.kept_run import BEAT_S, KeptRun, RunRecord
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.part import PartRecorder
from orchestrator.journal.records import Key, Record
from orchestrator.preflight import WorkflowSource, check_end, check_offline, not_shared
from orchestrator.run_request import Inputs, RunOptions, RunRequest, asking, new_settings
from orchestrator.servers.config import secrets_by_name
from orchestrator.servers.policies import RESOURCES, limits_of
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.graph import below
from orchestrator.workflow.header import without_tasks
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("orchestrator")

ON_REQUEST = "cancelled on request"
_KEPT = ("schedule", "max_concurrency", "estimates", "max_run_mb", "started_at")


def record_of(request: RunRequest, pool: ServerPool) -> RunRecord:
    """What is kept of a request before the first call."""
    workflow, settings = request.workflow, request.settings
    kept = {name: getattr(settings, name) for name in _KEPT}
    grows = not workflow.plan.tasks
    document = workflow.to_dict(whole=not grows) | ({"tasks": []} if grows else {})
    named = pool.servers if grows else workflow.plan.servers
    limits = {name: limits_of(pool.servers[name]) for name in named}
    if any(hold.number is not None for hold in workflow.plan.locks):
        limits[RESOURCES] = dict(pool.servers.locking.resources)
    of_run = settings.run_id, workflow.name, document, request.inputs, kept
    return RunRecord(*of_run, limits={name: each for name, each in limits.items() if each})


def share(pool: ServerPool, journal: Location) -> None:
    """Have the journal grant what holds for all processes that have it.

    Raises:
        ConfigError: It cannot.
    """
    if any(pool.unshared):
        granter = store_of(journal).granter()
        if granter is None:
            raise not_shared(pool, f"the journal is {journal}")
        pool.share(granter)


def hiding(pool: ServerPool) -> Hiding:
    """What hides the secrets of the servers in what is kept."""
    return Hiding(secrets_by_name(pool.servers))


def workflow_of(document: Mapping[str, Any]) -> Workflow:
    """The workflow of a run that is kept."""
    return _loaded(to_json(document))


@lru_cache(maxsize=1)  # a command shows it, and then runs it: 10,000 tasks take a second
def _loaded(text: str) -> Workflow:
    document = json.loads(text)
    return Workflow.load(document) if document["tasks"] else without_tasks(document)


def request_of(
    record: RunRecord,
    options: RunOptions,
    pool: ServerPool,
    *,
    to_end: bool = False,
    has_begun: bool = True,
) -> RunRequest:
    """The request that a record was made of; some options count as `Runs.resume` says.

    One that is taken up `to_end` needs only the servers of its `finally`.

    Raises:
        WorkflowError: Its servers are not configured here.
    """
    workflow = workflow_of(record.workflow)
    inputs = dict(record.inputs)
    if to_end:
        check_end(workflow, pool, has_begun=has_begun)
    else:
        inputs = check_offline(workflow, pool, inputs)
    settings = RunSettings(run_id=record.id, random=random.random, **record.settings)
    settings = asking(settings, options)
    observers = options.get("observers", ())
    return RunRequest(workflow, inputs, settings, observers, StartTimes(Announcer(observers)))


def reused(
    journal: Location, run_id: str, again: frozenset[str], alone: frozenset[str], hiding: Hiding
) -> tuple[RunRecord, dict[Key, Record]]:
    """The record of a new run like an earlier one, and what it reuses of that: what succeeded.

    Of a `for_each` that failed, the items that succeeded are reused, too.

    Raises:
        JournalError: There is no such run.
        WorkflowError: A task that has to be made again is unknown.
    """
    earlier = find(journal, run_id)
    kept = documents_of(journal, earlier.id, hiding.restore)
    check_outputs(earlier.id, kept.request)
    check_complete(earlier.id, kept.request)
    workflow = workflow_of(kept.request["workflow"])
    for task in (again | alone) - workflow.plan.tasks.keys():
        message = f"unknown task {quoted(task)}{did_you_mean(task, workflow.plan.tasks)}"
        raise WorkflowError(workflow.name, [Problem("usage", message)])
    graph, ended, last = workflow.plan.graph, kept.tasks, workflow.plan.finally_
    # What is made again is cleaned up again.
    afresh = (
        alone
        | set(() if last is None else last.tasks)
        | {
            task
            for each in again
            for task in (each, *(below(graph, each) if each in graph else ()))
        }
    )
    whole = {
        task for task, result in ended.items() if result.status == "success" and task not in afresh
    }
    settings = new_settings()
    told = kept.request["settings"] | {"started_at": settings.started_at}
    document, inputs = kept.request["workflow"], kept.request["inputs"]
    of_run = settings.run_id, workflow.name, document, inputs, told, "retry", earlier.id
    record = RunRecord(*of_run, limits=kept.request.get("limits"))
    of_items = workflow.plan.tasks.keys() - whole - afresh
    return record, dict(kept.records.parts(whole, of_items))


def forked(
    journal: Location, run_id: str, workflow: WorkflowSource | None, inputs: Inputs, hiding: Hiding
) -> tuple[str, Workflow, dict[str, Any]]:
    """The id of a run that is forked, and the workflow and the inputs of the new one.

    Raises:
        JournalError: There is no such run.
        WorkflowError: The workflow is wrong.
    """
    earlier = find(journal, run_id)
    request = kept_request(journal, earlier.id, hiding.restore)
    check_outputs(earlier.id, request)
    if workflow is None:
        check_complete(earlier.id, request)
    new = workflow_of(request["workflow"]) if workflow is None else Workflow.load(workflow)
    kept = {name: value for name, value in request["inputs"].items() if name in new.inputs}
    return earlier.id, new, kept | dict(inputs or {})


def reuse_of(journal: Location, run_id: str, now: Workflow, hiding: Hiding) -> Reuse | None:
    """What a fork takes over from its origin; None if that is not kept any more."""
    try:
        origin = find(journal, run_id).id
    except JournalError:
        return None
    kept = documents_of(journal, origin, hiding.restore)
    workflow, settings = workflow_of(kept.request["workflow"]), kept.request["settings"]
    about = {"id": run_id, "started_at": settings["started_at"], "workflow": workflow.name}
    settled = Settled(kept.request["inputs"], about)
    for result in kept.records.settled("", settled.scope.wrapped).values():
        settled.add(result)
    return Reuse(workflow, settled, now)


def settle_memo(workflow: Workflow, kept: KeptRun | None, pool: ServerPool) -> None:
    """Have no memo where each call is made, and say so where `cache` has no effect."""
    if kept is not None and not pool.uses_memo:
        kept.recorder.memo = None
    task = next(workflow.plan.cached, None)
    if task is not None and pool.uses_memo and (kept is None or kept.recorder.memo is None):
        why = "there is no journal" if kept is None else "the journal keeps no outputs"
        logger.warning("cache has no effect: %s (task %s)", why, quoted(task))


@asynccontextmanager
async def carried(run: Run, kept: KeptRun, start_soon: Callable[..., None]) -> AsyncIterator[None]:
    """Note meanwhile that the run is carried, end it if that is asked for, and keep its result."""
    ended = anyio.CancelScope()

    async def beat() -> None:
        with ended:
            while True:
                await anyio.sleep(BEAT_S)
                kept.claim.beat(run.status)
                if run.questions:
                    await kept.recorder.read_replies()
                    run.take_replies()
                if isinstance(recorder := kept.recorder, PartRecorder):
                    await recorder.look()
                    if recorder.is_orphan:
                        run.cancel(f"run {recorder.part.of}, of which it is a part, has ended")
                    elif recorder.halted is not None:
                        run.stop_items(recorder.part.task, recorder.halted)
                if kept.lease.error is not None:  # what it does now is of no use
                    run.cancel(str(kept.lease.error))
                if kept.claim.is_asked_to_end:
                    run.cancel(ON_REQUEST)

    start_soon(beat)
    try:
        yield
    finally:
        ended.cancel()
        with anyio.CancelScope(shield=True):
            await _finish(run, kept)


@asynccontextmanager
async def unless_refused(kept: KeptRun) -> AsyncIterator[None]:
    """Forget a run that began in the block, and that the check against its servers refuses."""
    try:
        async with letting_go(kept):
            try:
                yield
            except WorkflowError:
                if kept.is_new:
                    with anyio.CancelScope(shield=True):
                        await kept.forget()
                raise
    finally:
        kept.claim.free()


@asynccontextmanager
async def letting_go(kept: KeptRun) -> AsyncIterator[None]:
    """Let others have a run that an error leaves the block with; they see that before it does."""
    try:
        yield
    except BaseException as error:
        with anyio.CancelScope(shield=isinstance(error, Exception)):
            await kept.let_go()
        raise


async def keep_unbegun(request: RunRequest, kept: KeptRun) -> None:
    """Keep that a run was cancelled before it began; one that is taken up stays as it was."""
    if not kept.is_new:
        return
    with anyio.CancelScope(shield=True):
        unseen = replace(request, observers=())
        run = unseen.run(never, Servers(), recorder=kept.recorder)
        run.cancel("cancelled while its servers started", at_once=True)
        await run.execute()
        await _finish(run, kept)


async def never(call: object, _: object) -> None:
    """Make no call: of a run that was ended before it began there is none."""
    raise AssertionError(f"{call!r} of a run that did not begin")


async def _finish(run: Run, kept: KeptRun) -> None:
    if run.result is None:  # it can be taken up again
        kept.claim.free()
        return
    try:
        await kept.finish(run.result, run.waits_s)
    except JournalError as error:
        run.not_kept = str(error)
        logger.warning("%s", error)
