"""A chaos test: `python -m tests.chaos resumes`. Runs are killed at random moments, and resumed."""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.trial import ROOT, Ended, Trial, environment_of, every_policy

RUNS = 300
QUICK_RUNS = 5
MOST_KILLS = 3
LIMIT_S = 120.0


def killed_after(words: list[str], journal: Path, moment: float | None) -> Ended:
    """Kill it after so many seconds."""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=ROOT,
        env=environment_of(journal),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, said = process.communicate(timeout=moment or LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, said = process.communicate()
            if moment is None:
                raise
            return Ended(None, out, said)
        return Ended(process.returncode, out, said)


def series(count: int, seed: int, first: int) -> Iterator[Trial]:
    """Trials, and how each ended."""
    workflow = every_policy(30, 0.05)
    with tempfile.TemporaryDirectory() as home:
        whole = Trial(Path(home), random.Random(0), killed_after, workflow)
        began = time.monotonic()
        expected = whole.until_done()
        typical_s = (time.monotonic() - began) / 3  # it pauses, is answered, and goes on
    for number in range(first, first + count):
        with tempfile.TemporaryDirectory() as home:
            chance = random.Random(f"{seed}/{number}")
            trial = Trial(Path(home), chance, killed_after, workflow)
            kills = [
                chance.uniform(0.3, 1.1) * typical_s for _ in range(chance.randint(1, MOST_KILLS))
            ]
            trial.compare(trial.until_done(*kills), expected)
            print(f"run {number}: {trial.kills} kills, {trial.faults or 'as it should be'}")
            yield trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos resumes",
        description="Kill runs with every policy at random moments, and resume them until they\n"
        "are done: each has to come to what an undisturbed run comes to, and no call whose\n"
        "outcome was kept may be made again. Linux only.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="how many (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs")
    parser.add_argument("--seed", type=int, help="of what is chosen by chance; default: any")
    parser.add_argument("--first", type=int, default=0, help="begin with this run of the series")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    count = QUICK_RUNS if options.quick else options.runs
    trials = list(series(count, seed, options.first))
    kills, asked = sum(each.kills for each in trials), sum(each.asked for each in trials)
    wrong = sum(bool(each.faults) for each in trials)
    print(f"seed {seed}: {count} runs, {kills} kills, {asked} times asked, {wrong} runs wrong")
    return 1 if wrong else 0
