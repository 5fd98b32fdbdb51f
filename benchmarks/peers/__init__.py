"""The same work with what people use instead: `python -m benchmarks peers`.

    jobs          the workloads
    catalog       the peers
    environments  a virtual environment for each set of requirements
    rounds        all peers in turns
    programs      a program that runs, and a fresh process for a cold start

The programs are in `benchmarks.peer_programs`. All peers call the same server programs, which run
on the Python of this command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import report, scenarios
from benchmarks.measure import Settings, positive
from benchmarks.peers import jobs, rounds
from benchmarks.peers.catalog import OURS, PEERS
from benchmarks.peers.environments import Environments

ROUNDS, QUICK_ROUNDS = 20, 3
COLD_ROUNDS, QUICK_COLD_ROUNDS = 5, 1
ENVIRONMENTS = scenarios.HERE / ".benchmarks" / "peers"
HEADINGS = ("n", "P50, ms", "P95, ms", "x orchestrator")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks peers",
        description="Run the same calls with what people use instead, on the same mock servers,\n"
        "in turns, each in an environment of its own that pip makes when it is first needed.\n"
        "Exit code 1: a peer could not be installed or failed, and its row says why.",
        epilog="\n".join(["peers:", *(f"  {peer.name:25}{peer.note}" for peer in PEERS.values())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--quick", action="store_true", help="fewer rounds")
    option("--only", action="append", choices=list(PEERS), metavar="PEER", help="repeatable")
    option("--workload", action="append", choices=list(jobs.JOBS), help="repeatable")
    option("--rounds", type=positive, metavar="N", help=f"{ROUNDS} warm and {COLD_ROUNDS} cold")
    option(
        "--environments",
        metavar="DIR",
        default=str(ENVIRONMENTS),
        help="where the environments are; `none` takes what is installed here",
    )
    option("--json", type=Path, metavar="FILE", help="save all numbers")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    none = options.environments == "none"
    request = rounds.Request(
        peers=[PEERS[name] for name in PEERS if name in (options.only or PEERS)],
        jobs=[jobs.JOBS[name] for name in jobs.JOBS if name in (options.workload or jobs.JOBS)],
        warm_rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        cold_rounds=options.rounds or (QUICK_COLD_ROUNDS if options.quick else COLD_ROUNDS),
        environments=Environments(None if none else Path(options.environments).resolve()),
    )
    facts = report.machine(Settings())
    made = rounds.measure(request, lambda line: print(line, file=sys.stderr))
    if options.json:
        failures = [
            {"workload": job, "peer": peer, "reason": why}
            for (job, peer), why in made.failures.items()
        ]
        numbers = [each.to_dict() for each in made.measurements]
        document = {"machine": facts, "measurements": numbers, "failures": failures}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.is_terminal else Console(width=max(console.width, 150))
    console.print(report.heading(facts), highlight=False)
    for table in tables(request, made):
        console.print(table)
    return 1 if made.failures else 0


def tables(request: rounds.Request, made: rounds.Report) -> Iterator[Table]:
    """A table for each job."""
    found = {(each.scenario, each.variant): each for each in made.measurements}
    for job in request.jobs:
        title = Text.assemble((job.name, "bold"), f": {job.title}", style="")
        shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
        shown.add_column("", min_width=24, no_wrap=True)
        for name in HEADINGS:
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("", overflow="fold")
        for peer in request.peers:
            if (each := found.get((job.name, peer.name))) is None:
                reason = made.failures.get((job.name, peer.name), "not measured")
                shown.add_row(peer.name, *[""] * len(HEADINGS), Text(reason))
                continue
            shown.add_row(
                peer.name,
                str(len(each.times_ms)),
                f"{each.quantity('p50_ms'):.1f}",
                f"{each.quantity('p95_ms'):.1f}",
                report.ratio(each.ratios[OURS]) if OURS in each.ratios else "",
            )
        yield shown
