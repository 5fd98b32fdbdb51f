"""`orchestrator ui`: the page that shows runs."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of
from orchestrator.cli.streams import hidden
from orchestrator.cli.tool_sources import configured_servers, lock_of, servers_for
from orchestrator.errors import WorkflowError
from orchestrator.journal.location import Location, store_of

if TYPE_CHECKING:
    import socket

    from orchestrator.client import Orchestrator
    from orchestrator.ui.guard import Keys
    from orchestrator.ui.servers import Configured


def ui(options: argparse.Namespace) -> int:
    """`orchestrator ui`."""
    from orchestrator.cli.exporting import exporting
    from orchestrator.ui.server import listen

    options.offline = False
    path = path_of(options, configured(options))
    with listen(options.port) as listening, exporting():
        _serve(options, path, listening)
    return 0


def _serve(options: argparse.Namespace, path: Location, listening: socket.socket) -> None:
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.ui.actions import Actions
    from orchestrator.ui.app import Page
    from orchestrator.ui.guard import Keys
    from orchestrator.ui.server import serve
    from orchestrator.ui.servers import Servers

    _check(path)
    keys = Keys(listening.getsockname()[1])
    actions = Actions(path, lambda run: _orchestrator(options, path, run))

    async def session() -> None:
        page = Page(path, actions, Servers(path, partial(_configured, options)), hidden)
        await serve(page, keys, listening, lambda: _ready(keys, path, opens=not options.no_browser))

    in_event_loop(session)
    for run in actions.ended:
        complain(f'run {run} has ended with the page; "orchestrator retry {run}" goes on with it')


def _check(path: Location) -> None:
    """Raise `JournalError` if the journal cannot be read; one that is not there yet is fine."""
    if store_of(path).exists():
        from orchestrator.journal.history import reading

        with reading(path):
            return


def _ready(keys: Keys, journal: Location, *, opens: bool) -> None:
    print(f"the page is at {keys.link}", file=sys.stderr, flush=True)
    print("Ctrl-C ends it; the link is good as long as it runs, for you alone", file=sys.stderr)
    missing = "" if store_of(journal).exists() else ", which does not exist yet"
    print(f"it shows the runs of {journal}{missing}", file=sys.stderr, flush=True)
    if opens:
        webbrowser.open(keys.link_once)


def _orchestrator(options: argparse.Namespace, path: Location, run: str) -> Orchestrator:
    """What carries a run: with the servers as they are configured now."""
    from orchestrator.cli.journal import journal_for
    from orchestrator.cli.pool import pool_of
    from orchestrator.client import Orchestrator
    from orchestrator.durable import workflow_of
    from orchestrator.journal.kept import kept_request

    servers = servers_for(options, workflow_of(kept_request(path, run)["workflow"]))
    options.no_journal = False
    return Orchestrator(
        pool_of(options, servers, lock_of(options)), journal=journal_for(options, servers)
    )


def _configured(options: argparse.Namespace) -> Configured:
    """What the files say of servers now; what is wrong with them is shown."""
    from orchestrator.cli.pool import warm_place
    from orchestrator.ui.servers import Configured

    servers, lock, wrong = dict[str, Any](), None, ""
    try:
        servers = configured_servers(options) or {}
        lock = lock_of(options)
    except WorkflowError as error:
        wrong = str(error)
    return Configured(servers, lock, None if options.no_pool else warm_place(options), wrong)
