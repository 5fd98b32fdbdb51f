"""A chaos test: `python -m tests.chaos kills`. In each of many runs one of five servers is hit."""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.measure import percentile
from tests.chaos import processes, strikes
from tests.chaos.hits import HITS, Outcome, Schedule, Strike

RUNS = 300
QUICK_RUNS = 2 * len(HITS)
"""Every way to hit, under both schedules."""
WATCHDOG_S = strikes.LIMIT_S + 30
"""A run that cannot even be cancelled ends the whole process, with every stack on stderr."""
SHOWN_FAULTS = 5
MIN_WIDTH = 150
HEADINGS = (
    "runs",
    "ended",
    "settled",
    "left",
    "bystanders\nfailed",
    "hit in\ntime",
    "its\nstarts",
    "P50",
    "P95",
    "max",
    "longest\nrun, s",
    "longest\nclose, s",
)

EXAMPLES = """\
examples:
  python -m tests.chaos kills                       300 runs, in about a quarter of an hour
  python -m tests.chaos kills --quick               what a gate runs
  python -m tests.chaos kills --seed 7 --first 41 --runs 1    one run of a series again

exit codes:
  0  every run ended, settled, left no process and cost no other server a task
  1  one did not
  2  the usage is wrong
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.chaos kills",
        description="Run workflows of 200 tasks over 5 servers, and hit one of the servers at a\n"
        "random moment of each: all tasks have to settle, no process may stay, and no task of\n"
        "another server may fail. Linux only.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--runs", type=_positive, metavar="N", help=f"how many (default: {RUNS})")
    option("--quick", action="store_true", help=f"{QUICK_RUNS} runs")
    option("--seed", type=int, metavar="N", help="of what is chosen by chance; default: any")
    option("--first", type=int, default=0, metavar="N", help="begin with this run of the series")
    option(
        "--hit",
        action="append",
        choices=list(HITS),
        metavar="NAME",
        help=f"only this way to hit (repeatable): {', '.join(HITS)}",
    )
    option("--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s")
    option("--json", type=Path, metavar="FILE", help="save what came of every run")
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    options = parser().parse_args(arguments)
    if not processes.AVAILABLE:
        print("processes are found in /proc, which is not there: run it on Linux", file=sys.stderr)
        return 2
    seed = random.randrange(10**6) if options.seed is None else options.seed
    count = options.runs or (QUICK_RUNS if options.quick else RUNS)
    ways = list(dict.fromkeys(options.hit or HITS))
    chosen = [
        Strike.choose(seed, number, ways) for number in range(options.first, options.first + count)
    ]
    with _collected_log() as logged:
        outcomes = list(series(chosen, options.backend))
    if options.json:
        document = {"backend": options.backend, "runs": [each.to_dict() for each in outcomes]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    report(outcomes, logged, f"seed {seed} on {options.backend}")
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def series(chosen: Sequence[Strike], backend: str) -> Iterator[Outcome]:
    """Strike again and again, each time in an event loop of its own."""
    expected: dict[Schedule, float] = {}
    for done, strike in enumerate(chosen, start=1):
        if strike.schedule not in expected:
            measure = partial(strikes.undisturbed_s, strike.seed, strike.schedule)
            expected[strike.schedule] = anyio.run(measure, backend=backend)
        with _watchdog():
            run = partial(strikes.strike_once, strike, expected[strike.schedule])
            outcome: Outcome = anyio.run(run, backend=backend)
        _tell(outcome, done, len(chosen))
        yield outcome


@contextmanager
def _watchdog() -> Iterator[None]:
    timer = threading.Timer(WATCHDOG_S, _abandon)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _abandon() -> None:
    faulthandler.dump_traceback(sys.__stderr__ or 2)
    for process in processes.children():
        os.kill(process.pid, signal.SIGKILL)
    os._exit(1)


def _tell(outcome: Outcome, done: int, count: int) -> None:
    """Say at once what is wrong, and how to see it again; else now and then how far it is."""
    if outcome.faults:
        strike = outcome.strike
        print(f"run {strike.number}: {strike}", *outcome.faults[:SHOWN_FAULTS], sep="\n  ")
    elif done % 25 == 0:
        print(f"  {done} of {count} runs", file=sys.stderr)


@contextmanager
def _collected_log() -> Iterator[Counter[str]]:
    """How often each warning or error was logged, instead of showing them."""
    logged: Counter[str] = Counter()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged[f"{record.name}: {record.msg}"] += 1

    handler = Handler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield logged
    finally:
        logging.getLogger().removeHandler(handler)


def report(outcomes: Sequence[Outcome], logged: Counter[str], title: str) -> None:
    """Print the tables, what was logged, and the line that counts."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, MIN_WIDTH))
    console.print(table(outcomes, title))
    console.print(ends(outcomes))
    for message, often in logged.most_common():
        console.print(f"logged {often} times: {message}", markup=False, highlight=False)
    print(last_line(outcomes))


def table(outcomes: Sequence[Outcome], title: str) -> Table:
    """What came of each way to hit."""
    shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    shown.caption = (
        "hit in time: before the last task had settled; its starts: of the server that was hit\n"
        "P50, P95, max: from the hit to the first error told after it, ms"
    )
    shown.caption_justify = "left"
    shown.add_column("the server", no_wrap=True)
    for heading in HEADINGS:
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, hit in HITS.items():
        if mine := [outcome for outcome in outcomes if outcome.strike.hit == name]:
            shown.add_row(hit.title, *_row(mine))
    return shown


def _row(outcomes: Sequence[Outcome]) -> list[str]:
    errors_ms = [each.first_error_ms for each in outcomes if each.first_error_ms is not None]
    return [
        *map(str, (len(outcomes), *_counts(outcomes))),
        str(sum(outcome.in_time for outcome in outcomes)),
        str(sum(outcome.starts for outcome in outcomes)),
        *(
            f"{percentile(errors_ms, percent):.1f}" if errors_ms else ""
            for percent in (50, 95, 100)
        ),
        f"{max(outcome.run_s for outcome in outcomes):.2f}",
        f"{max(outcome.close_s for outcome in outcomes):.2f}",
    ]


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int, int, int]:
    """How many ended and settled; how many processes were left, and how many bystanders failed."""
    return (
        sum(outcome.has_ended for outcome in outcomes),
        sum(outcome.has_settled for outcome in outcomes),
        sum(len(outcome.left) for outcome in outcomes),
        sum(len(outcome.bystanders_failed) for outcome in outcomes),
    )


def ends(outcomes: Sequence[Outcome]) -> Table:
    """How the tasks of the servers that were hit ended: succeeded, skipped, or what error."""
    by_hit: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        by_hit.setdefault(outcome.strike.hit, Counter()).update(outcome.of_the_hit)
    kinds = list(sum(by_hit.values(), Counter()))
    shown = Table(
        box=SIMPLE_HEAD,
        title="how the tasks of the server that was hit ended",
        title_justify="left",
        title_style="",
    )
    shown.add_column("", no_wrap=True)
    for kind in kinds:
        shown.add_column(kind, justify="right")
    for name in filter(by_hit.__contains__, HITS):
        shown.add_row(HITS[name].title, *(str(by_hit[name][kind]) for kind in kinds))
    return shown


def last_line(outcomes: Sequence[Outcome]) -> str:
    """The line that counts."""
    ended, settled, left, failed = _counts(outcomes)
    mixed_up = sum(len(outcome.mixed_up) for outcome in outcomes)
    line = f"{len(outcomes)} runs: {ended} ended, {settled} settled, {left} processes left, "
    line += f"{failed} bystanders failed"
    return f"{line}, {mixed_up} answers mixed up" if mixed_up else line


if __name__ == "__main__":
    sys.exit(main())
