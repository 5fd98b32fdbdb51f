"""`orchestrator schedule` and `schedules`: workflows that are run again and again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.cli import WRONG
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, database_of, path_of, worker_command
from orchestrator.cli.streams import write, write_json
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, listed, name_of, quoted, visible
from orchestrator.journal import schedules as kept
from orchestrator.journal.asked import wants
from orchestrator.journal.location import Address, store_of
from orchestrator.journal.orders import Order
from orchestrator.journal.schedules import Schedule, Scheduled

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("schedule", "cron", "next", "last run")
RUN_DIGITS = 16  # of the id of a run: those of its time and some more, which name no other one
MOST = 20  # characters of an input
MOST_INPUTS = 4


def schedules(options: argparse.Namespace) -> int:
    """`orchestrator schedules`."""
    journal = database_of(path_of(options, configured(options)), "schedules are in")
    if options.remove is not None:
        store_of(journal).session().call(lambda db: kept.remove(db, options.remove))
        print(f"schedule {quoted(options.remove)} is removed", file=sys.stderr)
        return 0
    found, wrong = kept.known(journal)
    if options.json:
        write_json([each.to_dict() for each in found])
    else:
        _show(found)
    for error in wrong:
        complain(error)
    return WRONG if wrong else 0


def _show(found: list[Schedule]) -> None:
    from orchestrator.cli.rows import new_console

    new_console().print(_table(found))
    for each in found:
        if words := list(_with(each)):
            write(f"{name_of(each.name)}: {visible(', '.join(words))}")
    for each in found:
        if each.missed:
            passed = f"{each.missed:,} of its times passed while no worker was connected"
            complain(f"schedule {quoted(each.name)}: {passed}")


def _table(found: list[Schedule]) -> Table:
    """When the schedules are, in 80 columns: a run by the beginning of its id."""
    from orchestrator.cli.rows import cells, new_table

    table = new_table(*COLUMNS)
    for column in table.columns[1:]:
        column.no_wrap = True
    for each in found:
        at = f"{_at(each.next, each.zone):%Y-%m-%d %H:%M}"
        table.add_row(*cells((each.name, each.cron, at, (each.run or "")[:RUN_DIGITS])))
    return table


def _with(schedule: Schedule) -> Iterator[str]:
    """What of a schedule is set, besides of when it is."""
    if schedule.workflow != schedule.name:
        yield f"workflow {name_of(schedule.workflow)}"
    if schedule.zone != "UTC":
        yield schedule.zone
    yield from wants(schedule.order)
    if schedule.catch_up:
        yield "catch-up"
    given = [f"{name}={cut(to_json(value), MOST)}" for name, value in schedule.inputs.items()]
    if given:
        yield listed(given, MOST_INPUTS)


def _at(at_s: float, zone: str) -> datetime:
    """A moment as a clock of the zone shows it, or that of UTC if this machine has not the zone."""
    from zoneinfo import ZoneInfo

    try:
        return datetime.fromtimestamp(at_s, ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return datetime.fromtimestamp(at_s, UTC)


def schedule(options: argparse.Namespace) -> int:
    """`orchestrator schedule`."""
    from orchestrator.cli.cluster import asked
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.cluster.waiting import lacks

    workflow, inputs, engine = asked(options)
    order = Order(None, options.priority, 0.0, options.max_runs, tuple(options.labels))
    of_time = options.cron, options.zone, options.catch_up
    new = Schedule(options.name or workflow.name, workflow.name, *of_time, order)
    journal = engine.journal_location
    assert isinstance(journal, Address)  # which the command line has checked
    settings = {"schedule": options.schedule, "max_concurrency": options.max_concurrency}

    async def put() -> Scheduled:
        async with engine:
            return await engine.schedule(new, workflow, inputs, **settings)

    made = in_event_loop(put)
    print(_said(made), file=sys.stderr)
    order = replace(order, servers=tuple(workflow.plan.servers))
    if missing := lacks(journal, order, worker_command(options)).text:
        complain(f"nothing carries its runs now: {missing}")
    return 0


def _said(made: Scheduled) -> str:
    """What `schedule` has done, in words."""
    now = made.schedule
    first = _at(now.next, now.zone).isoformat(timespec="seconds")
    text = f"schedule {quoted(now.name)}, {now.cron} ({now.zone}): the next run is at {first}"
    if made.is_new:
        return text
    return f"{text}; it was there already, with {', '.join(made.was) or 'all of this'}"
