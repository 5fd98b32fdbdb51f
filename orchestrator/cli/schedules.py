"""`orchestrator schedule` and `schedules`: workflows that are run again and again."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, database_of, path_of, worker_command
from orchestrator.cli.streams import write_json
from orchestrator.documents.text import quoted
from orchestrator.journal import schedules as kept
from orchestrator.journal.location import Address, store_of
from orchestrator.journal.orders import Order
from orchestrator.journal.schedules import Schedule

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("schedule", "workflow", "cron", "zone", "next", "last run", "missed")


def schedules(options: argparse.Namespace) -> int:
    """`orchestrator schedules`."""
    journal = database_of(path_of(options, configured(options)), "schedules are in")
    if options.remove is not None:
        store_of(journal).session().call(lambda db: kept.remove(db, options.remove))
        print(f"schedule {quoted(options.remove)} is removed", file=sys.stderr)
        return 0
    found = kept.known(journal)
    if options.json:
        write_json([each.to_dict() for each in found])
        return 0
    from orchestrator.cli.rows import new_console

    new_console().print(_table(found))
    for each in found:
        if each.missed:
            passed = f"{each.missed:,} of its times passed while no worker was connected"
            complain(f"schedule {quoted(each.name)}: {passed}")
    return 0


def _table(found: list[Schedule]) -> Table:
    from orchestrator.cli.rows import cells, new_table

    table = new_table(*COLUMNS)
    for each in found:
        moment = _moment(each.next, each.zone)
        missed = f"{each.missed:,}" if each.missed else ""
        row = each.name, each.workflow, each.cron, each.zone, moment, each.run or "", missed
        table.add_row(*cells(row))
    return table


def _moment(at_s: float, zone: str) -> str:
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(at_s, ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def schedule(options: argparse.Namespace) -> int:
    """`orchestrator schedule`."""
    from orchestrator.cli.cluster import asked, lacking
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.cluster.waiting import lacks

    try:
        from orchestrator.cluster.cron import Cron
    except ImportError as error:
        raise lacking("a schedule", error) from None
    cron = Cron(options.cron, options.zone)
    workflow, inputs, engine = asked(options)
    order = Order(None, options.priority, 0.0, options.max_runs, tuple(options.labels))
    next_s = cron.next(time.time())
    of_time = options.cron, options.zone, options.catch_up
    new = Schedule(options.name or workflow.name, workflow.name, *of_time, order, next_s)
    journal = engine.journal_location
    assert isinstance(journal, Address)  # which the command line has checked
    settings = {"schedule": options.schedule, "max_concurrency": options.max_concurrency}

    async def put() -> Schedule | None:
        async with engine:
            earlier = {each.name: each for each in kept.known(journal)}
            await engine.schedule(new, workflow, inputs, **settings)
        return earlier.get(new.name)

    before = in_event_loop(put)
    of = f"schedule {quoted(new.name)}, {new.cron} ({new.zone}): the next run is at"
    was = "" if before is None else f"; it was {before.cron} ({before.zone}) of {before.workflow}"
    print(f"{of} {cron.at(next_s)}{was}", file=sys.stderr)
    order = replace(order, servers=tuple(workflow.plan.servers))
    if missing := lacks(journal, order, worker_command(options)).text:
        complain(f"nothing carries its runs now: {missing}")
    return 0
