"""Runs that are kept in a journal: what is kept of a request, and how one is taken up again."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from orchestrator.engine.events import Announcer, StartTimes
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.journal.database import JournalError
from orchestrator.journal.journal import BEAT_S, KeptRun, RunRecord
from orchestrator.preflight import check_offline
from orchestrator.run_request import RunOptions, RunRequest
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("orchestrator")

_KEPT = ("schedule", "max_concurrency", "estimates", "max_run_mb", "started_at")


def record_of(request: RunRequest) -> RunRecord:
    """What is kept of a request before the first call."""
    workflow, settings = request.workflow, request.settings
    kept = {name: getattr(settings, name) for name in _KEPT}
    document = workflow.to_dict(whole=True)
    return RunRecord(settings.run_id, workflow.name, document, request.inputs, kept)


def request_of(record: RunRecord, options: RunOptions, pool: ServerPool) -> RunRequest:
    """The request that a record was made of; of the options, only `observers` count.

    Raises:
        WorkflowError: Its servers are not configured here.
    """
    workflow = Workflow.load(dict(record.workflow))
    inputs = check_offline(workflow, pool, record.inputs)
    settings = RunSettings(run_id=record.id, random=random.random, **record.settings)
    observers = options.get("observers", ())
    return RunRequest(workflow, inputs, settings, observers, StartTimes(Announcer(observers)))


@asynccontextmanager
async def carried(run: Run, kept: KeptRun, start_soon: Callable[..., None]) -> AsyncIterator[None]:
    """Note meanwhile that the run is carried, end it if that is asked for, and keep its result."""
    ended = anyio.CancelScope()

    async def beat() -> None:
        with ended:
            while True:
                await anyio.sleep(BEAT_S)
                kept.beat()
                if kept.is_asked_to_end:
                    run.cancel("cancelled by another process")

    start_soon(beat)
    try:
        yield
    finally:
        ended.cancel()
        with anyio.CancelScope(shield=True):
            await _finish(run, kept)


async def _finish(run: Run, kept: KeptRun) -> None:
    if run.result is None:  # it can be taken up again
        kept.free()
        return
    try:
        await kept.finish(run.result)
    except JournalError as error:
        run.not_kept = str(error)
        logger.warning("%s", error)
