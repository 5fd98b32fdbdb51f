"""What people use instead, on the same work: `python -m benchmarks peers`.

    jobs          what is measured, as data: calls, needs, and what each call gives
    catalogue     who is measured, as data: program, requirements, what a reader has to know
    environments  a virtual environment for each library
    talks         the talk with a peer's program that runs; a fresh process for a cold start
    rounds        all peers in turns
    tables        the numbers as tables, JSON and Markdown, and where we are not first

The programs themselves are in `benchmarks/peer_programs`. All peers call the same server programs,
which run on the Python of this command.

The rule of this file: options, where the output goes, and the exit code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import anyio
from rich.console import Console

from benchmarks import scenarios
from benchmarks.measure import positive
from benchmarks.peers import jobs, rounds, tables
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.environments import Environments

ROUNDS, QUICK_ROUNDS = 20, 3
COLD_ROUNDS, QUICK_COLD_ROUNDS = 5, 1
ENVIRONMENTS = scenarios.HERE / ".benchmarks" / "peers"
MIN_WIDTH = 150

EXAMPLES = """\
examples:
  python -m benchmarks peers                               everything, in about half an hour
  python -m benchmarks peers --quick --workload five       a first look
  python -m benchmarks peers --only orchestrator --only 'gather, by layers' --environments none

peers:
{peers}

workloads:
{workloads}

exit codes:
  0  measured
  1  a peer could not be installed, or failed; its row says why
  2  the usage is wrong
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks peers",
        description="Run the same calls with what people use instead, on the same mock servers,\n"
        "in turns, each in an environment of its own that is made by pip when first needed.",
        epilog=EXAMPLES.format(
            peers="\n".join(f"  {name}" for name in PEERS),
            workloads="\n".join(f"  {name:8}  {job.title}" for name, job in jobs.JOBS.items()),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--quick", action="store_true", help="fewer rounds")
    option("--only", action="append", choices=list(PEERS), metavar="PEER", help="repeatable")
    option(
        "--workload", action="append", choices=list(jobs.JOBS), metavar="NAME", help="repeatable"
    )
    option("--rounds", type=positive, metavar="N", help=f"{ROUNDS} warm and {COLD_ROUNDS} cold")
    option(
        "--environments",
        metavar="DIR",
        default=str(ENVIRONMENTS),
        help="where the environments are; `none` takes what is installed here",
    )
    option("--json", type=Path, metavar="FILE", help="save all numbers")
    option("--markdown", action="store_true", help="print Markdown for the documentation")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    options = parser().parse_args(arguments)
    progress = Console(stderr=True)

    def tell(line: str) -> None:
        progress.print(line, highlight=False, markup=False, style="dim", soft_wrap=True)

    report = anyio.run(rounds.measure, _request(options), tell)
    _show(options, report)
    return 1 if report.failures else 0


def _request(options: argparse.Namespace) -> rounds.Request:
    none = options.environments == "none"
    return rounds.Request(
        peers=[PEERS[name] for name in PEERS if name in (options.only or PEERS)],
        jobs=[jobs.JOBS[name] for name in jobs.JOBS if name in (options.workload or jobs.JOBS)],
        warm_rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        cold_rounds=options.rounds or (QUICK_COLD_ROUNDS if options.quick else COLD_ROUNDS),
        environments=Environments(None if none else Path(options.environments).resolve()),
    )


def _show(options: argparse.Namespace, report: rounds.Report) -> None:
    if options.json:
        text = json.dumps(tables.document(report), indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.markdown:
        print(tables.markdown(report))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, MIN_WIDTH))
    console.print(tables.heading(report), highlight=False, markup=False)
    for table in tables.tables(report):
        console.print(table)
    for line in tables.behind(report):
        console.print(line, highlight=False, markup=False)
