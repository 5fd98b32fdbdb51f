"""Runs on several workers: `python -m benchmarks cluster`.

    slots     four workers beside what their slots allow
    limits    a limit and a rate of all workers, as the server counts and as calls leave
    waiting   what runs that wait cost a worker
    tasks     a task of a run beside a step of DBOS and a task of Dask
    costs     what a database pays for each run, record, and idle worker
    model     the same on a clock that jumps, with these costs, for as many workers as you like

Its PostgreSQL syncs what it commits, in a temporary directory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import options, report, targets
from benchmarks.measure import Bench, Measurement
from benchmarks.peers import ENVIRONMENTS
from benchmarks.targets import Target

DESCRIPTION = """\
Runs on several workers and one PostgreSQL that syncs what it commits: beside what the
slots of the workers allow, with and without many runs that wait, and beside an engine
task for each call (DBOS, Dask). `model` predicts what one machine cannot hold."""

TITLES = {
    "slots": "50 tasks of 50 ms in each run, 50 runs for each worker, submitted at once",
    "limits": "3 calls at once and 20 in a second for four workers, whose runs all want them",
    "waiting": "the memory of a worker that carries one run",
    "tasks": "runs of 50 tasks that do nothing, on two processes",
    "costs": "processor time of PostgreSQL, and of a worker",
    "model": "the same on a clock that jumps, with the costs above",
}
TARGETS = (
    Target("slots", "4 workers, 2 runs in each", "of_ideal", "<=", 1.3, 1.3),
    Target("limits", "3 at once", "most_at_once", "<=", 3, 3),
    Target("limits", "20 in 1 s", "most_in_1_s", "<=", 20, 20),
    Target("waiting", "10,000 runs wait", "grown_mb", "<=", 50, 20, only="full"),
    Target("tasks", "DBOS, a step for each", "orchestrator", ">=", 5, 5),
    Target("tasks", "Dask, a task for each", "orchestrator", ">=", 5, 5),
)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parts = (f"  {name:8}{title}" for name, title in TITLES.items())
    parser = options.parser(
        "cluster", DESCRIPTION, "\n".join(["parts:", *parts]), "rounds of each part"
    )
    parser.add_argument("--only", action="append", choices=list(TITLES), metavar="PART")
    parser.add_argument("--environments", type=Path, metavar="DIR", default=ENVIRONMENTS)
    options.add_check(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 1 with `--check` if a target is missed."""
    from benchmarks.cluster import costs, limits, model, place, slots, tasks

    args = parser().parse_args(arguments)
    names = args.only or list(TITLES)
    found: list[Measurement] = []

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    def record(measured: Measurement) -> None:
        found.append(measured)
        numbers = {name: round(each, 2) for name, each in measured.values.items()}
        tell(
            f"  {report.line(measured)}"
            if measured.times_ms
            else f"  {measured.variant}: {numbers}"
        )

    bench = Bench(args.quick, args.rounds, record=record)
    facts = report.machine(bench)
    with place.durable() as postgres, place.configured() as config:
        if "slots" in names:
            slots.measure(postgres, config, bench)
        if "limits" in names:
            limits.measure(postgres, bench)
        if "waiting" in names:
            slots.measure_waiting(postgres, config, bench)
        if "tasks" in names:
            tasks.measure(postgres, args.environments.resolve(), bench, tell)
        if "costs" in names or "model" in names:
            known = costs.measure(postgres, config, bench)
    if "model" in names:
        model.measure(known, slots.times_of(found), bench)
    verdicts = targets.judge(found, names, quick=args.quick, targets=TARGETS)
    if args.json:
        report.save(args.json, report.document(facts, found, verdicts))
    tables = [
        report.table(name, TITLES[name], [each for each in found if each.scenario == name])
        for name in names
    ]
    if args.check:
        tables.append(report.verdict_table(verdicts, "Targets"))
    report.show(facts, tables)
    return 1 if args.check and not all(each.holds for each in verdicts) else 0
