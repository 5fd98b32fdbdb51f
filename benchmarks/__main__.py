"""The command line: `python -m benchmarks`, and the benchmarks with a command of their own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import anyio
from rich.console import Console

from benchmarks import options, plot, report, suite, targets
from benchmarks.measure import Measurement, RunFailedError, Settings

DESCRIPTION = """\
Measure how fast workflows run: against a sequential run, against the same
calls by hand, and against bare anyio. Sides that are compared run in turns."""

EXAMPLES = """\
examples:
  python -m benchmarks                          everything, in about a quarter of an hour
  python -m benchmarks --quick --check          what the gate runs, in about one and a half minutes
  python -m benchmarks --only five --only uneven --plot speed.png

exit codes:
  0  measured, and with --check every target holds
  1  a target is missed, or a run that was to be timed failed
  2  the usage is wrong

commands (python -m benchmarks NAME --help):
"""

# Benchmarks with a command of their own: the function `main` of a module.
COMMANDS = {
    "adversary": "servers that do harm, beside one that does none",
    "cluster": "runs on several workers and one PostgreSQL, beside DBOS steps and Dask tasks",
    "peers": "the same work with what people use instead, side by side",
    "traces": "graphs recorded from real systems, run for real",
}

# How often a scenario that misses a target is measured again before it counts: a busy machine
# rarely slows it down three times, and a real loss misses every time.
SECOND_LOOKS = 2


def parser() -> argparse.ArgumentParser:
    commands = (f"  {name:8}  {title}" for name, title in COMMANDS.items())
    rounds = "rounds of each scenario, instead of its own"
    parser = options.parser("", DESCRIPTION, EXAMPLES + "\n".join(commands), rounds)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(suite.SCENARIOS),
        metavar="NAME",
        help="measure only this scenario (repeatable); --list shows them",
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    options.add_check_and_backend(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the ratios; needs matplotlib"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in COMMANDS:
        code: int = import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
        return code
    args = parser().parse_args(arguments)
    if args.list:
        for name, title in suite.SCENARIOS.items():
            print(f"{name:12}  {title}")
        return 0
    # Before anything is measured: that takes a quarter of an hour.
    if args.plot and (missing := plot.missing()):
        print(missing, file=sys.stderr)
        return 2
    code = 1
    try:
        code = measure_and_report(args)
    except* RunFailedError as group:
        print(*report.failures(group), sep="\n", file=sys.stderr)
    return code


def measure_and_report(args: argparse.Namespace) -> int:
    """Measure the selected scenarios, show them, and return the exit code."""
    settings = Settings(args.quick, args.rounds, args.backend)
    names = args.only or list(suite.SCENARIOS)
    stopwatch = suite.Stopwatch()
    facts, measurements = report.machine(settings), _measure(names, settings, stopwatch)
    verdicts = targets.judge(measurements, names, quick=args.quick)
    for _ in range(SECOND_LOOKS if args.check else 0):
        again = list(dict.fromkeys(v.target.scenario for v in verdicts if not v.holds))
        if not again:
            break
        # Nothing is picked: a scenario that is measured again counts as it came out the last time.
        measurements = [each for each in measurements if each.scenario not in again]
        measurements += _measure(again, settings, stopwatch)
        verdicts = targets.judge(measurements, names, quick=args.quick)
    if args.json:
        report.save(args.json, report.document(facts, measurements, verdicts))
    if args.plot:
        plot.draw(measurements, facts, args.plot)
    tables = list(report.tables(measurements))
    missed = [verdict for verdict in verdicts if not verdict.holds] if args.check else []
    if args.check:
        tables.append(report.verdict_table(verdicts, "Targets"))
    if missed:
        title = f"{len(missed)} of {len(verdicts)} missed"
        tables.append(report.verdict_table(missed, title))
    report.show(facts, tables)
    print(f"{stopwatch}")
    return 1 if missed else 0


def _measure(
    names: Sequence[str], settings: Settings, stopwatch: suite.Stopwatch
) -> list[Measurement]:
    progress = Console(stderr=True)

    def record(measured: Measurement) -> None:
        line = f"  {report.line(measured)}"
        progress.print(line, highlight=False, markup=False, style="dim", soft_wrap=True)

    async def run() -> list[Measurement]:
        return await suite.run(names, settings, record, progress.print, stopwatch)

    return anyio.run(run, backend=settings.backend)


if __name__ == "__main__":
    sys.exit(main())
