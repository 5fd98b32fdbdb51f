"""The same work with what people use instead: `python -m benchmarks peers`.

    jobs          the workloads
    catalog       the peers
    environments  a virtual environment for each set of requirements
    rounds        all peers in turns
    programs      a running program, and a fresh process for a cold start

The programs are in `benchmarks.peer_programs`. All peers call the same server programs, which run
on the Python of this command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from benchmarks import options, report, scenarios
from benchmarks.measure import Measurement, Settings
from benchmarks.peers import jobs, rounds
from benchmarks.peers.catalog import PEERS
from benchmarks.peers.environments import Environments

ROUNDS, QUICK_ROUNDS = 20, 3
COLD_ROUNDS, QUICK_COLD_ROUNDS = 5, 1
ENVIRONMENTS = scenarios.HERE / ".benchmarks" / "peers"
DESCRIPTION = """\
Run the same calls with what people use instead, on the same mock servers, in
turns, each in an environment of its own that pip makes when it is first needed.
Exit code 1: a peer could not be installed or failed; the reason is printed below its table."""


def parser() -> argparse.ArgumentParser:
    peers = (f"  {peer.name:25}{peer.note}" for peer in PEERS.values())
    rounds = f"default: {ROUNDS} warm and {COLD_ROUNDS} cold"
    parser = options.parser("peers", DESCRIPTION, "\n".join(["peers:", *peers]), rounds)
    option = parser.add_argument
    option("--only", action="append", choices=list(PEERS), metavar="PEER", help="repeatable")
    option("--workload", action="append", choices=list(jobs.JOBS), help="repeatable")
    option(
        "--environments",
        metavar="DIR",
        default=str(ENVIRONMENTS),
        help="where the environments are; `none` uses the packages of this Python",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    settings = Settings(args.quick, args.rounds)
    here = args.environments == "none"
    request = rounds.Request(
        peers=[PEERS[name] for name in PEERS if name in (args.only or PEERS)],
        jobs=[jobs.JOBS[name] for name in jobs.JOBS if name in (args.workload or jobs.JOBS)],
        warm_rounds=settings.pick(ROUNDS, QUICK_ROUNDS),
        cold_rounds=settings.pick(COLD_ROUNDS, QUICK_COLD_ROUNDS),
        environments=Environments(None if here else Path(args.environments).resolve()),
    )
    facts = report.machine(settings)
    measured = rounds.measure(request, lambda line: print(line, file=sys.stderr))
    if args.json:
        failures = [
            {"workload": job, "peer": peer, "reason": reason}
            for (job, peer), reason in measured.failures.items()
        ]
        numbers = [each.to_dict() for each in measured.measurements]
        document = {"machine": facts, "measurements": numbers, "failures": failures}
        report.save(args.json, document)
    report.show(facts, tables(request, measured))
    return 1 if measured.failures else 0


def tables(request: rounds.Request, measured: rounds.Report) -> Iterator[Table]:
    """A table for each job; a peer without numbers has an empty row, and a note with the reason."""
    by_peer = {(each.scenario, each.variant): each for each in measured.measurements}
    for job in request.jobs:
        rows: list[Measurement] = []
        for peer in request.peers:
            reason = measured.failures.get((job.name, peer.name), "not measured")
            failed = Measurement(job.name, peer.name, note=f"{peer.name}: {reason}")
            rows.append(by_peer.get((job.name, peer.name), failed))
        yield report.table(job.name, job.title, rows)
