"""`orchestrator stats`: what the runs in the journal have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from orchestrator.cli.history import configured, path_of
from orchestrator.cli.streams import write_json
from orchestrator.documents.text import counted, duration, quoted
from orchestrator.journal.totals import Total, totals_of

SHOWN = 20
HOUR_MS = 3_600_000
_MEASURES = ("ended", "succeeded", "P50", "P95", "total")


def stats(options: argparse.Namespace) -> int:
    """`orchestrator stats`."""
    path = path_of(options, configured(options))
    totals = totals_of(path, since=options.since, workflow=options.workflow)
    if options.json:
        write_json(totals.to_dict())
        return 0
    from orchestrator.cli.rows import print_rows
    from orchestrator.journal.totals import most

    if not totals.runs.ended:
        of = f" of a workflow {quoted(options.workflow)}" if options.workflow else ""
        print(f"{path}: no run{of} has ended", file=sys.stderr)
        return 0
    tables: list[tuple[str, list[tuple[str, Total]]]] = [
        ("workflow", [*most(totals.workflows), ("all", totals.runs)]),
        (
            "task",
            [
                (f"{task} ({workflow})" if len(totals.workflows) > 1 else task, total)
                for (workflow, task, _), total in most(totals.tasks)
            ],
        ),
        ("server", most(totals.servers)),
        ("tool", most(totals.tools)),
    ]
    for what, rows in tables:
        more = len(rows) - SHOWN
        if rows:
            print_rows((what, *_MEASURES), _cells(rows[:SHOWN]))
        if more > 0:
            print(f"and {counted(more, f'more {what}')} (--json has all)\n", file=sys.stderr)
    return 0


def _cells(rows: Iterable[tuple[str, Total]]) -> Iterable[tuple[str, ...]]:
    for name, total in rows:
        rate = total.success_rate
        times = [total.percentile(0.5), total.percentile(0.95)]
        times.append(sum(total.times_ms) if total.times_ms else None)
        yield (
            name,
            f"{total.ended.total():,}",
            "" if rate is None else f"{rate:.1%}",
            *("" if each is None else _time(each) for each in times),
        )


def _time(milliseconds: float) -> str:
    long = milliseconds >= HOUR_MS
    return f"{milliseconds / HOUR_MS:,.1f} h" if long else duration(milliseconds)
