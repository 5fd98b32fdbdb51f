"""A chaos test: `python -m tests.chaos workers`. Workers are hit while they carry runs."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from orchestrator import Orchestrator
from orchestrator.journal.location import Address
from tests.chaos.fleet import Fleet, Member, until
from tests.chaos.load import expected, workflow
from tests.chaos.trial import ROOT
from tests.postgres import Server, server

STRIKES = 100
QUICK_STRIKES = 3
RUNS = 8
WORKERS = 4, 6, 4  # how many, with how many runs at once, and how few of them are too few
QUICK_WORKERS = 3, 6, 1
SHOWN_FAULTS = 20
LATE_S = 10.0  # after which what is said of a run is shown
KINDS = {
    "kill": "kill -9",
    "memory": "no memory left as a big answer comes",
    "freeze": "SIGSTOP, and SIGCONT later",
    "drop": "cut off: nothing passes",
    "close": "cut off: connections end",
    "blip": "connections end for a moment",
    "leave": "SIGTERM",
}
ODDS = {"kill": 6, "memory": 1, "freeze": 2, "drop": 1, "close": 1, "blip": 1, "leave": 1}
QUICK = ("kill", "freeze", "leave")


@dataclass
class Strike:
    """A worker that was hit.

    Attributes:
        kind: How.
        runs: The runs that it carried, with their epochs.
        after_s: After how long each was carried by another one.
        lines: How many lines the ledger had then.
        kept: The keys of the calls whose outcome was kept by then.
    """

    kind: str
    runs: Mapping[str, int]
    after_s: Mapping[str, float]
    lines: int
    kept: set[str]


@dataclass
class Siege:
    """Workers under load that are hit one after the other, and what has to hold."""

    fleet: Fleet
    ledger: Path
    submit: Callable[[int], str]
    chance: random.Random
    runs: dict[str, int] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    late: list[tuple[str, int, set[str]]] = field(default_factory=list)
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)

    def load(self) -> None:
        """Have as many runs under way as there should be."""
        for _ in range(RUNS - self.fleet.open_runs(list(self.runs))):
            n = len(self.runs)
            self.runs[self.submit(n)] = n

    def lines(self) -> list[str]:
        """What the servers have noted."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def keys(self, of: Iterable[tuple[str, str, int]]) -> set[str]:
        """The keys of calls: of the run and the task that each is of, and its item."""
        found = set[str]()
        for run, path, item in of:
            if run in self.runs and path != "polled":
                parts = [item] if item >= 0 else range(6) if path in ("each", "looks") else [-1]
                key = f"{self.runs[run]}-{path}"
                found |= {key if part < 0 else f"{key}-{part}" for part in parts}
        return found

    def strike(self, kind: str) -> Strike:
        """Hit a worker that carries runs, and wait until others have them."""
        self.fleet.complete()
        member, runs = until(self._busy, "a worker that carries runs")
        if kind == "memory":
            before = Counter(self.lines())
            with suppress(TimeoutError):  # all of them have had theirs
                until(lambda: self._answers_big(runs, before), "a big answer", 5.0)
            runs = self.fleet.carried_by(member)
        kept = self._held()
        lines, since = len(self.lines()), self.fleet.now_s()
        HITS[kind](self, member)
        if kind == "freeze":  # it may stand between what it has kept and the call that follows
            runs |= self.fleet.carried_by(member)  # some maybe since a moment
            self.in_flight |= self.keys(self.fleet.about_to_leave(runs)) - kept
        if kind == "memory":
            runs, since = self._until_it_ends(member), self.fleet.now_s()
        after = {} if kind == "blip" else self.fleet.taken_over_after(runs, since)
        if lost := [run for run, took in after.items() if took == float("inf")]:
            self.faults.append(f"nobody has taken over after {kind}: {lost}")
        if late := [run for run, took in after.items() if took > LATE_S]:
            print(*self.fleet.said_of(late), sep="\n", flush=True)
        strike = Strike(kind, runs, after, lines, kept)
        self.strikes.append(strike)
        self._undo(kind, member, runs)
        self.ended = self.fleet.written() | self.ended
        return strike

    def _busy(self) -> tuple[Member, dict[str, int]] | None:
        self.load()
        member = self.chance.choice(self.fleet.members)
        time.sleep(self.chance.uniform(0, 0.3))
        runs = self.fleet.carried_by(member)
        return (member, runs) if runs and self._is_calling(runs) else None

    def _is_calling(self, runs: Mapping[str, int]) -> bool:
        """Whether a call of any of these runs is under way, or was when a worker was killed."""
        lines = self.lines()
        begun = Counter(line[6:] for line in lines if line.startswith("begin "))
        open_ = begun - Counter(line[4:] for line in lines if line.startswith("end "))
        numbers = {str(self.runs[run]) for run in runs}
        return any(key.partition("-")[0] in numbers for key in open_)

    def _until_it_ends(self, member: Member) -> dict[str, int]:
        """The runs that a worker without memory leaves; none if what it has is enough for long."""

        def has_ended() -> bool:
            self.load()
            return not member.is_alive

        with suppress(TimeoutError):
            until(has_ended, f"the end of {member.log}", 20.0)
        return {} if member.is_alive else self.fleet.carried_by(member)

    def _answers_big(self, runs: Mapping[str, int], before: Counter[str]) -> bool:
        keys = [f"end {self.runs[run]}-big" for run in runs]
        now = Counter(self.lines())
        return any(now[key] > before[key] for key in keys) or not keys

    def _held(self) -> set[str]:
        """The keys of calls that nobody may make again.

        A worker that comes back may read what others have kept since, until it learns that it is
        late, which may be within a later strike. It may write nothing of that, apart from calls
        that were about to leave when it was stopped: these were in flight, and kept as such.
        """
        reads = [f"{n}-{name}" for n in self.stale for name in ("looks", "big")]
        kept = self.keys(self.fleet.settled()) - self.in_flight
        return {key for key in kept if not key.startswith(tuple(reads))}

    def _undo(self, kind: str, member: Member, runs: Mapping[str, int]) -> None:
        if kind in ("freeze", "drop", "close"):
            time.sleep(self.chance.uniform(0, 1))
            self.stale |= {self.runs[run] for run in runs}
            held = self._held()  # before the lines: what begins in between is not made again
            self.late.append(
                (f"{kind} {len(self.strikes) - 1}, once back", len(self.lines()), held)
            )
            member.send(signal.SIGCONT)
            member.way.open()
        elif kind == "leave":
            code = until(lambda: (member.process.poll() is not None) and [member.process.poll()],
                         f"the end of {member.log}")  # fmt: skip
            if code != [0]:
                self.faults.append(f"a worker that was asked to end has ended with {code[0]}")
        elif kind == "kill":
            member.process.wait()
        elif kind == "memory" and member.is_alive:  # what it had was enough
            member.limit_memory(None)

    def end(self) -> None:
        """Let all runs end, and see whether all is as it should be."""
        self.fleet.complete()
        until(lambda: self.fleet.open_runs(list(self.runs)) == 0, "the end of all runs", 300.0)
        results = self.fleet.results()
        for run, n in self.runs.items():
            if results.get(run) != ("success", expected(n)):
                self.faults.append(f"run {n} ({run}) has come to {results.get(run)}")
                print(*self.fleet.failures(run), *self.fleet.said_of([run]), sep="\n", flush=True)
        self.ended = self.fleet.written() | self.ended
        time.sleep(2.0)  # for what those write that were frozen
        if changed := {run for run, now in self.fleet.written().items() if now != self.ended[run]}:
            self.faults.append(f"something was written of runs that had ended: {changed}")
        lines = self.lines()
        moments = [(f"{s.kind} {n}", s.lines, s.kept) for n, s in enumerate(self.strikes)]
        for kind, since, kept in moments + self.late:
            again = {line[6:] for line in lines[since:] if line.startswith("begin ")}
            if repeated := again & kept:
                self.faults.append(f"repeated after {kind}: {sorted(repeated)}")

    def repeated(self) -> int:
        """How many calls were made more than once, as they were under way."""
        begun = Counter(line for line in self.lines() if line.startswith("begin "))
        return sum(n > 1 for key, n in begun.items() if not key.endswith("polled"))


def _blip(member: Member) -> None:
    member.way.close()
    time.sleep(1.0)
    member.way.open()


HITS: Mapping[str, Callable[[Siege, Member], None]] = {
    "kill": lambda _, member: member.send(signal.SIGKILL),
    "memory": lambda _, member: member.limit_memory(0),
    "freeze": lambda _, member: member.send(signal.SIGSTOP),
    "drop": lambda _, member: member.way.drop(),
    "close": lambda _, member: member.way.close(),
    "blip": lambda _, member: _blip(member),
    "leave": lambda _, member: member.send(signal.SIGTERM),
}


@contextmanager
def siege(
    postgres: Server, home: Path, seed: int, ms: int, *, is_quick: bool = False
) -> Iterator[Siege]:
    """Workers, and what submits runs to them."""
    ledger, flow = home / "ledger", workflow(ms)
    words = json.dumps(["-m", "tests.chaos.ledger", str(ledger)])
    config = home / "servers.toml"
    config.write_text(
        f"[servers.ledger]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n"
        f"cwd = {json.dumps(str(ROOT))}\nwrites = 'parallel'\n"
        "[journal]\nkeep_runs = 1000000\n"  # all are looked at in the end
    )
    engine = Orchestrator.from_config(config, journal=Address(postgres.url("postgres")))

    def submit(portal: BlockingPortal) -> Callable[[int], str]:
        return lambda n: portal.call(engine.queue, flow, {"n": n})

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(engine),
        Fleet(postgres, home, *(QUICK_WORKERS if is_quick else WORKERS)) as fleet,
    ):
        yield Siege(fleet, ledger, submit(portal), random.Random(seed))


def report(siege: Siege) -> None:
    """Print what came of it."""
    for kind, title in KINDS.items():
        mine = [each for each in siege.strikes if each.kind == kind]
        times = [s for each in mine for s in each.after_s.values()]
        runs = sum(len(each.runs) for each in mine)
        took = ""
        if times:
            took = f", taken over after {statistics.median(times):.1f} s, at most {max(times):.1f}"
        print(f"{title:38} {len(mine):4} times, {runs:4} runs{took}")
    times = [s for each in siege.strikes for s in each.after_s.values()] or [0.0]
    print(
        f"{len(siege.strikes)} strikes, {len(siege.runs)} runs, {len(times)} taken over after "
        f"{statistics.median(times):.1f} s in the median, at most {max(times):.1f} s; "
        f"{siege.repeated()} calls under way were made again, {len(siege.faults)} faults; "
        f"workers ended with {dict(Counter(siege.fleet.codes))}; load {os.getloadavg()[0]:.1f}"
    )
    for fault in siege.faults[:SHOWN_FAULTS]:
        print(f"  {fault}")


def run(kinds: Sequence[str], seed: int, ms: int = 150) -> Siege:
    """Hit a worker in each of these ways, one after the other, and see what comes of it."""
    with server() as postgres, tempfile.TemporaryDirectory() as home:
        assert postgres is not None, "PostgreSQL is not installed"
        with siege(postgres, Path(home), seed, ms, is_quick=kinds == QUICK) as besieged:
            for number, kind in enumerate(kinds):
                strike = besieged.strike(kind)
                took = max(strike.after_s.values(), default=0.0)
                print(f"{number}: {kind}, {len(strike.runs)} runs, {took:.1f} s", flush=True)
            besieged.end()
            report(besieged)
            return besieged


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos workers",
        description="Kill, freeze and cut off workers at random moments, under load: each run has\n"
        "to come to what an undisturbed one comes to, and no call whose outcome was kept may be\n"
        "made again. Tells after how long others took over.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--strikes", type=int, default=STRIKES, help="(default: %(default)s)")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these (repeatable)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STRIKES} strikes")
    parser.add_argument("--seed", type=int, help="of what is chosen by chance; default: any")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    chance, names = random.Random(f"kinds {seed}"), options.kind or list(KINDS)
    weights = [ODDS[name] for name in names]
    kinds = chance.choices(names, weights, k=options.strikes)
    print(f"seed {seed}")
    besieged = run(QUICK if options.quick else kinds, seed)
    return 1 if besieged.faults else 0
