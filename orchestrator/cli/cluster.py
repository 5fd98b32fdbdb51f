"""`orchestrator submit` and `worker`: runs that a queue hands to one of several machines."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from orchestrator.cli import FAILED, WAITING
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of
from orchestrator.cli.pool import pool_of
from orchestrator.cli.signals import Ending, in_event_loop
from orchestrator.cli.tool_sources import lock_of, read_servers, servers_for
from orchestrator.client import Orchestrator
from orchestrator.errors import JournalError
from orchestrator.journal import history
from orchestrator.journal.history import OPEN, PAUSED, RUNNING
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address
from orchestrator.servers.config import JournalTable

if TYPE_CHECKING:
    from orchestrator.servers.config import Server

LOOK_S = 0.5


def _engine(
    options: argparse.Namespace, servers: Mapping[str, Server]
) -> tuple[Orchestrator, Journal]:
    """What keeps runs in the database that the options name, or carries them.

    Raises:
        JournalError: They name none.
    """
    table = configured(options) or JournalTable()
    location = path_of(options, table)
    if not isinstance(location, Address):
        why = f"{options.command} needs a journal in PostgreSQL, and {location} is a file"
        raise JournalError(f"{why}: name one with --database postgresql://USER@HOST/DATABASE")
    days, runs = table.keep_days, table.keep_runs
    journal = Journal(location, keep_days=days, keep_runs=runs, outputs=table.outputs)
    return Orchestrator(pool_of(options, dict(servers), lock_of(options)), journal=journal), journal


def submit(options: argparse.Namespace) -> int:
    """`orchestrator submit`."""
    from orchestrator.cli.values import inputs_of
    from orchestrator.workflow.model import Workflow

    workflow = Workflow.load(options.file)
    inputs = inputs_of(options, workflow.inputs.get)
    engine, journal = _engine(options, servers_for(options, workflow))
    settings = {"schedule": options.schedule, "max_concurrency": options.max_concurrency}

    async def put() -> str:
        async with engine:
            return await engine.queue(workflow, inputs, **settings)

    run = in_event_loop(put)
    if not options.wait:
        print(run)
        print(f'submitted; "orchestrator show {run}" shows how it is', file=sys.stderr)
        return 0
    print(f"run {run} is submitted", file=sys.stderr)
    while (status := history.find(journal.location, run).status) in (RUNNING, *OPEN):
        if status == PAUSED:
            break
        time.sleep(LOOK_S)
    from orchestrator.cli.journal import show

    options.run, options.task = run, None
    show(options)
    return {"success": 0, PAUSED: WAITING}.get(status, FAILED)


def worker(options: argparse.Namespace) -> int:
    """`orchestrator worker`."""
    engine, journal = _engine(options, read_servers(options))
    try:
        from orchestrator.cluster.dispatch import DbosDispatch
    except ImportError as error:
        fix = "pip install 'mcp-orchestrator[cluster]'"
        raise JournalError(f"a worker needs more packages ({error}): {fix}") from None
    from orchestrator.cluster.worker import Worker

    address = journal.location
    assert isinstance(address, Address)
    at_once = {"at_once": options.at_once, "unknown": options.unknown}
    working = Worker(engine, journal, DbosDispatch(address), **at_once, tell=complain)

    async def session() -> None:
        scope = anyio.CancelScope()

        def cancel(_: str) -> bool:
            scope.cancel()
            return False

        def ready() -> None:
            complain(f"worker {working.name} carries runs of {address}; Ctrl-C hands them over")

        async def work() -> None:
            with scope:
                await working.work(ready)

        await Ending(engine, cancel).during(work)

    in_event_loop(session)
    return 0
