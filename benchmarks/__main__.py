"""The command line: `python -m benchmarks`, and the benchmarks with a command of their own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import anyio
from rich.console import Console

from benchmarks import plot, report, suite, targets
from benchmarks.measure import Measurement, RunFailedError, Settings, positive

MIN_WIDTH = 140

EXAMPLES = """\
examples:
  python -m benchmarks                          everything, in about a quarter of an hour
  python -m benchmarks --quick --check          what the gate runs, in about a minute
  python -m benchmarks --only five --only uneven --plot speed.png

exit codes:
  0  measured, and with --check every target holds
  1  a target is missed, or a run that was to be timed failed
  2  the usage is wrong

commands (python -m benchmarks NAME --help):
{commands}
"""

COMMANDS = {
    "peers": "the same work with what people use instead, side by side",
    "traces": "graphs recorded from real systems, run for real",
}
"""Benchmarks of their own kind: each is a module here whose `main` takes the arguments."""

# How often a scenario that misses a target is measured again before it counts: what a busy machine
# slows down once it rarely slows down three times, and what is really lost stays lost.
SECOND_LOOKS = 2


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure how fast workflows run: against a sequential run, against the same\n"
        "calls by hand, and against bare anyio. Sides that are compared run in turns.",
        epilog=EXAMPLES.format(
            commands="\n".join(f"  {name:8}  {what}" for name, what in COMMANDS.items())
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    made.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if a target is missed by more than its margin",
    )
    made.add_argument(
        "--only",
        action="append",
        choices=list(suite.SCENARIOS),
        metavar="NAME",
        help="measure only this scenario (repeatable); --list shows them",
    )
    made.add_argument("--list", action="store_true", help="list the scenarios and leave")
    made.add_argument(
        "--rounds", type=positive, metavar="N", help="rounds of each scenario, instead of its own"
    )
    made.add_argument(
        "--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="save all numbers as JSON")
    made.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the ratios; needs matplotlib",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        code: int = import_module(f"benchmarks.{given[0]}").main(given[1:])
        return code
    options = parser().parse_args(given)
    if options.list:
        for name, scenario in suite.SCENARIOS.items():
            print(f"{name:12}  {scenario.title}")
        return 0
    if options.plot and (missing := plot.missing()):
        print(missing, file=sys.stderr)
        return 2
    code = 1
    try:
        code = measure_and_report(options)
    except* RunFailedError as failures:  # a group, where it came out of a task group of the SDK
        for failure in _leaves(failures):
            print(failure, file=sys.stderr)
    return code


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure


def measure_and_report(options: argparse.Namespace) -> int:
    """Measure what was asked for, and show it."""
    settings = Settings(options.quick, options.rounds, options.backend)
    wanted = options.only or list(suite.SCENARIOS)
    facts, measurements = report.machine(settings), _measure(wanted, settings)
    verdicts = targets.judge(measurements, wanted, quick=options.quick)
    for _ in range(SECOND_LOOKS if options.check else 0):
        missed = list(dict.fromkeys(v.target.scenario for v in verdicts if not v.holds))
        if not missed:
            break
        again = _measure(missed, settings)
        measurements = replaced(measurements, again)
        verdicts = targets.judge(measurements, wanted, quick=options.quick)
    if options.json:
        document = report.document(facts, measurements, verdicts)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        plot.draw(measurements, facts, options.plot)
    console = _console()
    console.print(report.heading(facts), highlight=False)
    for table in report.tables(measurements):
        console.print(table)
    return conclude(verdicts, console) if options.check else 0


def replaced(
    measurements: Sequence[Measurement], again: Sequence[Measurement]
) -> list[Measurement]:
    """The measurements, with whole scenarios measured again in the place of what they gave before.

    Nothing is picked: a scenario that was measured again counts as it came out the last time.
    """
    scenarios = {measurement.scenario for measurement in again}
    return [*(m for m in measurements if m.scenario not in scenarios), *again]


def _measure(wanted: Sequence[str], settings: Settings) -> list[Measurement]:
    progress = Console(stderr=True)

    def tell(measured: Measurement) -> None:
        line = f"  {report.line(measured)}"
        progress.print(line, highlight=False, markup=False, style="dim", soft_wrap=True)

    async def run() -> list[Measurement]:
        return await suite.run(wanted, settings, tell, progress.print)

    return anyio.run(run, backend=settings.backend)


def conclude(verdicts: Sequence[targets.Verdict], console: Console) -> int:
    """Show which targets hold and which are missed; 1 if any is."""
    missed = [verdict for verdict in verdicts if not verdict.holds]
    console.print(report.verdict_table(verdicts, "Targets"))
    if missed:
        console.print(report.verdict_table(missed, f"{len(missed)} of {len(verdicts)} missed"))
    return 1 if missed else 0


def _console() -> Console:
    """Wide enough for the table where the output is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, MIN_WIDTH))


if __name__ == "__main__":
    sys.exit(main())
