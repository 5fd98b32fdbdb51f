"""All peers in turns: each does one repetition a round, every second round in reverse order."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.cold import write_servers, write_workflow
from benchmarks.measure import Measurement
from benchmarks.peer_programs.orchestrator_runs import document
from benchmarks.peers import jobs
from benchmarks.peers.catalog import OURS, VARIABLES, Peer
from benchmarks.peers.environments import Environments, InstallError
from benchmarks.peers.jobs import Job
from benchmarks.peers.programs import PeerFailedError, Program, cold

# Before each warm repetition: the one before may have left work to its servers.
SETTLE_S = 0.2

Side = Callable[[], float]  # one repetition; it returns its time in milliseconds
Times = dict[int, float]  # of a peer, by round


@dataclass(frozen=True, slots=True)
class Request:
    """What is measured, of which peers, and how often."""

    peers: Sequence[Peer]
    jobs: Sequence[Job]
    warm_rounds: int
    cold_rounds: int
    environments: Environments


@dataclass(slots=True)
class Report:
    """A measurement for each job and peer, or by job and peer the reason why there is none."""

    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def fail(self, peer: Peer, failed: Sequence[Job], reason: str) -> None:
        """Note why a peer has no numbers for some jobs."""
        self.failures |= {(job.name, peer.name): reason for job in failed}


def measure(request: Request, progress: Callable[[str], None]) -> Report:
    """Measure all peers; one that fails is left out, and the others go on."""
    report, pythons = Report(), dict[str, str]()
    for peer in request.peers:
        try:
            pythons[peer.name] = request.environments.python(peer)
        except InstallError as error:
            report.fail(peer, request.jobs, f"not installed: {error}")
    peers = [peer for peer in request.peers if peer.name in pythons]
    warm = [job for job in request.jobs if not job.cold]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        programs: dict[str, Program] = {}
        for peer in peers if warm else ():
            try:
                command = program(pythons[peer.name], peer, warm, folder)
                programs[peer.name] = Program(command, variables(peer, folder))
                stack.callback(programs[peer.name].close)
            except PeerFailedError as error:
                report.fail(peer, warm, str(error))
        for job in request.jobs:
            rounds, pause_s = request.warm_rounds, SETTLE_S
            sides: dict[str, Side] = {name: partial(p.do, job) for name, p in programs.items()}
            if job.cold:
                rounds, pause_s = request.cold_rounds, 0.0
                sides = {p.name: cold_side(pythons[p.name], p, job, folder) for p in peers}
            most = {peer.name: peer.most_rounds.get(job.name, rounds) for peer in peers}
            samples, failed = take_turns(sides, rounds, most, pause_s)
            report.failures |= {(job.name, name): reason for name, reason in failed.items()}
            for name, times in samples.items():
                measured = measurement(job, name, times, samples.get(OURS, {}))
                report.measurements.append(measured)
                progress(f"{job.name}, {name}: {measured.quantity('p50_ms'):.1f} ms")
    return report


def program(python: str, peer: Peer, planned: Sequence[Job], folder: Path) -> list[str]:
    """The command that starts a peer's program, with its plan in a file."""
    path = folder / f"{peer.path}-{planned[0].name}.json"
    path.write_text(json.dumps(jobs.plan(planned, peer.way)), encoding="utf-8")
    return [python, "-m", f"benchmarks.peer_programs.{peer.program}", str(path)]


def cold_side(python: str, peer: Peer, job: Job, folder: Path) -> Side:
    """A fresh process for each repetition."""
    command = [*program(python, peer, [job], folder), "--once", job.name]
    # Ours is the command that a user would type, which does more than the program.
    if peer.name == OURS:
        servers = write_servers(folder / "servers.toml", *job.servers)
        workflow = write_workflow(folder, job.name, document(job.name, job.calls))
        command = [python, "-m", "orchestrator", "run", "--servers", str(servers), "--json"]
        command.append(str(workflow))
    return partial(cold, command, variables(peer, folder), job)


def variables(peer: Peer, folder: Path) -> dict[str, str]:
    """The environment of a peer's process: no other packages, and a Prefect of its own."""
    # These would make the packages of this process visible in the environments of the peers.
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PREFECT_HOME": str(folder / peer.path), **VARIABLES}


def take_turns(
    sides: Mapping[str, Side], rounds: int, most: Mapping[str, int], pause_s: float = 0.0
) -> tuple[dict[str, Times], dict[str, str]]:
    """Run all sides in each round, a side in no more than `most` rounds.

    Returns:
        The samples of each side by round, and the reasons why others have none.
    """
    samples: dict[str, Times] = {name: {} for name in sides}
    failed: dict[str, str] = {}
    # Round -1 is the warm-up, without the sides whose rounds are limited: they take minutes.
    for number in range(-1, rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            takes_part = most[name] >= rounds if number < 0 else number < most[name]
            if not takes_part or name in failed:
                continue
            time.sleep(pause_s)
            try:
                sample = sides[name]()
            except PeerFailedError as error:
                failed[name] = str(error)
                del samples[name]
            else:
                if number >= 0:
                    samples[name][number] = sample
    return samples, failed


def measurement(job: Job, name: str, mine: Times, ours: Times) -> Measurement:
    """The numbers of a peer, with its times over ours in the rounds that both have."""
    # A peer with limited rounds is compared in these alone.
    both = [number for number in mine if number in ours] if name != OURS else []
    ratios = {OURS: [mine[number] / ours[number] for number in both]} if both else {}
    return Measurement(job.name, name, list(mine.values()), ratios)
