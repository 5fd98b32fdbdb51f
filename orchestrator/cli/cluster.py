"""`orchestrator submit` and `worker`: runs that a queue hands to one of several machines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.following import check_on, follow, has_key
from orchestrator.cli.history import configured, database_of, path_of, worker_command
from orchestrator.cli.journal import journal_of
from orchestrator.cli.pool import pool_of
from orchestrator.cli.signals import Ending, in_event_loop
from orchestrator.cli.tool_sources import lock_of, read_servers, servers_for
from orchestrator.client import Orchestrator
from orchestrator.cluster.waiting import why
from orchestrator.engine.settings import MAX_RUN_MB
from orchestrator.journal.history import find
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Address, lacking
from orchestrator.journal.orders import Order, Submitted
from orchestrator.servers.config import JournalTable
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.servers.config import Server


def _engine(
    options: argparse.Namespace, servers: Mapping[str, Server]
) -> tuple[Orchestrator, Journal]:
    """What keeps runs in the database that the options name, or carries them.

    Raises:
        JournalError: They name none.
    """
    table = configured(options) or JournalTable()
    named = "--on" if options.command == "run" else "--database"
    database_of(path_of(options, table), f"{options.command} needs", named)
    journal = journal_of(options, table, warn=None)
    return Orchestrator(pool_of(options, servers, lock_of(options)), journal=journal), journal


def run_on(options: argparse.Namespace) -> int:
    """`orchestrator run --on`."""
    check_on(options)
    options.journal, options.order = options.on, Order()
    return follow(options, *asked(options))


def submit(options: argparse.Namespace) -> int:
    """`orchestrator submit`."""
    workflow, inputs, engine = asked(options)
    if options.wait:
        options.order = _order(options)
        options.quiet, options.max_run_mb = True, MAX_RUN_MB
        for name in ("output", "report", "perfetto", "metrics", "events"):
            setattr(options, name, None)
        return follow(options, workflow, inputs, engine)
    settings = {"schedule": options.schedule, "max_concurrency": options.max_concurrency}

    async def put() -> Submitted:
        async with engine:
            return await engine.submit(workflow, inputs, order, **settings)

    order = _order(options)
    submitted = in_event_loop(put)
    print(submitted.run)
    how = f'"orchestrator show {submitted.run}" shows how it is'
    done = "submitted" if submitted.is_new else has_key(submitted, order)
    print(f"{done}; {how}", file=sys.stderr)
    journal = engine.journal_location
    assert journal is not None
    if waits := why(journal, find(journal, submitted.run), worker_command(options)).text:
        complain(f"the run waits: {waits}")
    return 0


def _order(options: argparse.Namespace) -> Order:
    labels = tuple(options.labels)
    return Order(options.key, options.priority, options.due, options.max_runs, labels)


def asked(options: argparse.Namespace) -> tuple[Workflow, dict[str, Any], Orchestrator]:
    """The workflow, its inputs, and what submits it."""
    from orchestrator.cli.values import inputs_of

    workflow = Workflow.load(options.file)
    inputs = inputs_of(options, workflow.inputs.get)
    return workflow, inputs, _engine(options, servers_for(options, workflow))[0]


def worker(options: argparse.Namespace) -> int:
    """`orchestrator worker`."""
    engine, journal = _engine(options, read_servers(options))
    try:
        from orchestrator.cluster.dispatch import DbosDispatch
    except ImportError as error:
        raise lacking("a worker", error) from None
    from orchestrator.cluster.worker import Worker

    import_module("mcp")  # now, since a run that is taken over should not wait for it
    address = journal.location
    assert isinstance(address, Address)
    named = ("at_once", "labels", "unknown", "drain_s")
    settings = {name: getattr(options, name) for name in named}
    working = Worker(engine, journal, DbosDispatch(address), **settings, tell=complain)

    async def session() -> None:
        scope = anyio.CancelScope()

        def cancel(name: str) -> bool:
            if working.leave():
                complain(f"{name}: takes nothing more; once more cancels the calls under way")
                return True
            is_first = not scope.cancel_called
            scope.cancel()
            return is_first

        def ready() -> None:
            complain(f"worker {working.name} carries runs of {address}; Ctrl-C hands them over")

        async def work() -> None:
            with scope:
                await working.work(ready)

        await Ending(engine, cancel).during(work)

    in_event_loop(session)
    return 0
