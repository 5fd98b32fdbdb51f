"""All peers in turns: every round each does one repetition, every second round in reverse order.

The rule of this file: who fails is left out from then on, with the reason; the others go on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from benchmarks.cold import write_servers, write_workflow
from benchmarks.measure import Measurement, Settings
from benchmarks.peer_programs.orchestrator_runs import document
from benchmarks.peers import jobs, talks
from benchmarks.peers.catalogue import OURS, Peer
from benchmarks.peers.environments import Environments, InstallError, versions
from benchmarks.peers.jobs import Job
from benchmarks.peers.talks import PeerFailedError, Sample, Talk
from benchmarks.report import machine

SETTLE_S = 0.2
"""Before each warm repetition: what the one before has left to its servers is done by then."""

Tell = Callable[[str], None]
Side = Callable[[], Awaitable[Sample]]
Samples = dict[int, Sample]
"""The repetitions of one peer, by round."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be measured, of whom, and how often."""

    peers: Sequence[Peer]
    jobs: Sequence[Job]
    warm_rounds: int
    cold_rounds: int
    environments: Environments


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        facts: The machine and the date.
        peers: Who was asked for, in order, and `jobs` what.
        measurements: A measurement for each job and peer, if there is one.
        failures: By job and peer, why there is none.
        versions: By peer, the versions of its packages that ran.
    """

    facts: dict[str, Any]
    peers: Sequence[Peer]
    jobs: Sequence[Job]
    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def fail(self, peer: Peer, failed: Sequence[Job], reason: str) -> None:
        """Note why a peer has no numbers for some jobs."""
        self.failures |= {(job.name, peer.name): reason for job in failed}


async def measure(request: Request, tell: Tell) -> Report:
    """Measure what was asked for."""
    report = Report(machine(Settings()), request.peers, request.jobs)
    pythons = await _pythons(request, report, tell)
    with tempfile.TemporaryDirectory() as name:
        series = _Series(request, report, tell, pythons, Path(name))
        if warm := [job for job in request.jobs if not job.cold]:
            await series.warm(warm)
        for job in request.jobs:
            if job.cold:
                await series.cold(job)
    return report


async def _pythons(request: Request, report: Report, tell: Tell) -> dict[str, str]:
    """The interpreter of each peer that can be had."""
    pythons: dict[str, str] = {}
    for peer in request.peers:
        try:
            tell(f"environment of {peer.name}")
            python = await anyio.to_thread.run_sync(request.environments.python, peer)
            report.versions[peer.name] = versions(python, peer.packages)
            pythons[peer.name] = python
        except InstallError as error:
            tell(f"  {error}")
            report.fail(peer, request.jobs, f"not installed: {error}")
    return pythons


@dataclass(frozen=True, slots=True)
class _Series:
    """What the measurements of all jobs share."""

    request: Request
    report: Report
    tell: Tell
    pythons: Mapping[str, str]
    folder: Path

    @property
    def peers(self) -> dict[str, Peer]:
        """Those that can be had, by name."""
        return {peer.name: peer for peer in self.request.peers if peer.name in self.pythons}

    async def warm(self, warm: Sequence[Job]) -> None:
        """All programs are open at once, and idle but for the one whose turn it is."""
        async with AsyncExitStack() as stack:
            open_talks: dict[str, Talk] = {}
            for peer in self.peers.values():
                command = self._program(peer, warm)
                opened = talks.opened(command, talks.variables(peer, self.folder))
                try:
                    open_talks[peer.name] = await stack.enter_async_context(opened)
                except PeerFailedError as error:
                    self.report.fail(peer, warm, str(error))
            for job in warm:
                sides = {name: partial(talk.do, job) for name, talk in open_talks.items()}
                await self._measure(job, sides, self.request.warm_rounds)

    async def cold(self, job: Job) -> None:
        """A fresh process for each repetition."""
        sides: dict[str, Side] = {}
        for peer in self.peers.values():
            python, variables = self.pythons[peer.name], talks.variables(peer, self.folder)
            if peer.by_command:
                command = self._orchestrator(python, job)
            else:
                command = [*self._program(peer, [job]), "--once", job.name]
            sides[peer.name] = partial(talks.cold, command, python, variables, job)
        await self._measure(job, sides, self.request.cold_rounds)

    def _program(self, peer: Peer, planned: Sequence[Job]) -> list[str]:
        return talks.command(self.pythons[peer.name], peer, write_plan(self.folder, peer, planned))

    def _orchestrator(self, python: str, job: Job) -> list[str]:
        """What a user would type."""
        servers = write_servers(self.folder / "servers.toml", *job.servers)
        workflow = write_workflow(self.folder, job.name, document(job.name, job.calls))
        run = ["run", "--servers", str(servers), "--json", str(workflow)]
        return [python, "-m", "orchestrator", *run]

    async def _measure(self, job: Job, sides: Mapping[str, Side], rounds: int) -> None:
        """Measure a job with all peers, and note the measurements and the failures."""
        peers = self.peers
        most = {name: peers[name].most_rounds.get(job.name, rounds) for name in sides}
        pause_s = 0.0 if job.cold else SETTLE_S
        samples, failed = await take_turns(sides, rounds, most, pause_s)
        for name, mine in samples.items():
            made = measurement(job, peers[name], mine, samples.get(OURS, {}))
            self.report.measurements.append(made)
            self.tell(f"{job.name}, {name}: {made.quantity('p50_ms'):.1f} ms")
        for name, reason in failed.items():
            self.report.fail(peers[name], [job], reason)
            self.tell(f"{job.name}, {name}: {reason}")


def write_plan(folder: Path, peer: Peer, planned: Sequence[Job]) -> Path:
    """The file that a peer's program is started with."""
    path = folder / f"{peer.path}-{planned[0].name}.json"
    path.write_text(json.dumps(jobs.plan(planned, peer.way)), encoding="utf-8")
    return path


async def take_turns(
    sides: Mapping[str, Side], rounds: int, most: Mapping[str, int], pause_s: float = 0.0
) -> tuple[dict[str, Samples], dict[str, str]]:
    """Run all sides in each round, every second time in the opposite order.

    Each runs once before, without counting, unless it is limited to fewer rounds than the others:
    what takes minutes has nothing to warm.

    Args:
        sides: What is compared, by name.
        rounds: How many rounds count.
        most: By name, after how many rounds a side leaves.
        pause_s: How long to wait before each repetition.

    Returns:
        The samples of each side by round, and why a side has none.
    """
    samples: dict[str, Samples] = {name: {} for name in sides}
    failed: dict[str, str] = {}

    async def turn(name: str, number: int) -> None:
        await anyio.sleep(pause_s)
        try:
            sample = await sides[name]()
        except PeerFailedError as error:
            failed[name] = str(error)
            del samples[name]
        else:
            samples[name][number] = sample

    for number in range(-1, rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            takes_part = most[name] >= rounds if number < 0 else number < most[name]
            if takes_part and name not in failed:
                await turn(name, number)
        if number < 0:
            for found in samples.values():
                found.clear()
    return samples, failed


def measurement(job: Job, peer: Peer, mine: Samples, ours: Samples) -> Measurement:
    """The numbers of a peer, with its times over ours in the rounds that both have."""
    both = [number for number in mine if number in ours]
    ratios = {OURS: [mine[number].ms / ours[number].ms for number in both]}
    return Measurement(
        scenario=job.name,
        variant=peer.name,
        times_ms=[sample.ms for sample in mine.values()],
        ratios=ratios if both and peer.name != OURS else {},
        values={
            "cpu_ms": median(sample.cpu_ms for sample in mine.values()),
            "peak_rss_mb": max(sample.rss_mb for sample in mine.values()),
        },
        note=peer.note,
    )
