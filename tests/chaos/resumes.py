"""A chaos test: `python -m tests.chaos resumes`. Runs are killed at random moments, and resumed."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import processes

RUNS = 300
QUICK_RUNS = 5
MOST_KILLS = 3
LIMIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]


def _call(
    task: str, tool: str, key: str | None = None, ms: int = 30, **more: Any
) -> dict[str, Any]:
    arguments = {"key": key or task, "ms": ms}
    return {"id": task, "tool": f"ledger:{tool}", "arguments": arguments, **more}


INNER = {
    "inputs": {"n": {"type": "integer"}},
    "tasks": [
        _call("first", "read", "inner-$INPUT.n-first"),
        _call("second", "write", "inner-$INPUT.n-second", depends_on=["first"]),
    ],
}
WORKFLOW: dict[str, Any] = {
    "name": "every-policy",
    "max_concurrency": 6,
    "tasks": [
        _call("each", "write", "each-$INDEX", for_each=list(range(8)), locks=["book"]),
        _call("flaky", "flaky", "flaky-$INDEX", for_each=[0, 1, 2],
              retry={"max_attempts": 9, "initial_s": 0.05, "jitter": 0}),
        _call("polled", "poll", repeat={"until": "LAST.done", "every_s": 0.05, "max_times": 9}),
        _call("stand", "broken", fallback={"tool": "ledger:write",
                                           "arguments": {"key": "stood-in", "ms": 30}}),
        _call("late", "read", delay_s=0.3),
        {"id": "inner", "workflow": INNER, "for_each": [0, 1, 2], "arguments": {"n": "$INDEX"}},
        _call("never", "write", when=False),
        _call("last", "write", depends_on=["each", "inner", "late"]),
    ],
    "finally": [_call("clean", "write")],
    "output": {name: f"${{OUTPUT[{name}]}}" for name in
               ("each", "flaky", "polled", "stand", "late", "inner", "never", "last")},
}  # fmt: skip


@dataclass
class Trial:
    """A run that is killed and resumed, in a directory of its own."""

    home: Path
    chance: random.Random
    kills: int = 0
    asked: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal, self.ledger = self.home / "runs.db", self.home / "ledger"
        self.flow, self.servers = self.home / "flow.json", self.home / "servers.toml"
        self.flow.write_text(json.dumps(WORKFLOW))
        words = json.dumps(["-m", "tests.chaos.ledger", str(self.ledger)])
        self.servers.write_text(
            f"[servers.ledger]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n"
            f"cwd = {json.dumps(str(ROOT))}\nwrites = 'parallel'\n"
        )

    def carry(
        self, *, kill_after_s: float | None, unknown: str = "repeat"
    ) -> dict[str, Any] | None:
        """Run or resume; the result document, or None if it was killed before."""
        words = ["run", str(self.flow)]
        if self._status() is not None:
            words = ["resume", "last", "--unknown", unknown]
        result = self.home / "result.json"
        result.unlink(missing_ok=True)
        command = [sys.executable, "-m", "orchestrator", *words, "-q", "--output", str(result)]
        environment = {**os.environ, "ORCHESTRATOR_JOURNAL": str(self.journal)}
        with subprocess.Popen(
            [*command, "--servers", str(self.servers)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                _, said = process.communicate(timeout=kill_after_s or LIMIT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.kills += 1
                if kill_after_s is None:
                    self.faults.append(f"did not end within {LIMIT_S:g} s")
                return None
        if process.returncode == 2 and unknown == "ask" and "may have been carried out" in said:
            self.asked += 1
            return None
        if "has ended with status" in said:  # it was killed after its end was kept
            shown = [*command[:3], "show", "last", "--json", "--servers", str(self.servers)]
            told = subprocess.run(
                shown, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            return dict(json.loads(told.stdout))
        if not result.exists():
            self.faults.append(f"exit code {process.returncode}: {said[-500:]}")
            return {}
        document: dict[str, Any] = json.loads(result.read_text())
        return document

    def until_done(self, typical_s: float) -> dict[str, Any]:
        """Kill and resume it some times, and then let it end."""
        for _ in range(self.chance.randint(1, MOST_KILLS)):
            done = self._next(self.chance.uniform(0.3, 1.1) * typical_s)
            if done is not None:
                return done
        return self._next(None) or {}

    def _next(self, kill_after_s: float | None) -> dict[str, Any] | None:
        kept, before = self._kept_keys(), self._begun()
        if kept and self.chance.random() < 0.3:
            done = self.carry(kill_after_s=None, unknown="ask")
            if done is not None:  # nothing was unknown, so it went on
                self._check(kept, before)
                return done
            if self._begun() != before:
                self.faults.append("it called something although it refused to go on")
        done = self.carry(kill_after_s=kill_after_s)
        self._check(kept, before)
        return done

    def _check(self, kept: set[str], before: Counter[str]) -> None:
        after = self._begun()
        again = sorted(key for key in kept if after[key] != before[key])
        if again:
            self.faults.append(f"called again although that was kept: {', '.join(again)}")

    def _status(self) -> str | None:
        rows = self._rows("select status from run")
        return str(rows[0][0]) if rows else None

    def _kept_keys(self) -> set[str]:
        """The keys of the calls whose outcome is in the journal."""
        query = "select kind, path, item, fallback from record where kind in (?, ?, ?)"
        keys = set()
        for kind, path, item, fallback in self._rows(query, "task", "item", "answer"):
            name = re.sub(r"inner\[(\d+)\]/", r"inner-\1-", path)
            if name in ("polled", "inner") and kind != "task":
                continue
            keys.add(name if item < 0 else f"{name}-{item}")
            if name == "stand" and (fallback or kind == "task"):
                keys.add("stood-in")
        return keys

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        if not self.journal.exists():
            return []
        with closing(sqlite3.connect(self.journal, timeout=30)) as db:
            try:
                return db.execute(query, values).fetchall()
            except sqlite3.OperationalError:  # killed before its tables were there
                return []

    def _begun(self) -> Counter[str]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(line[6:] for line in lines if line.startswith("begin "))

    def left(self) -> list[processes.Process]:
        """The programs that it left behind, which end when their stdin does."""
        ends_by = time.monotonic() + 30
        while (found := processes.marked(str(self.ledger))) and time.monotonic() < ends_by:
            time.sleep(0.1)
        return found


def series(count: int, seed: int, first: int) -> Iterator[Trial]:
    """Trials, and how each ended."""
    with tempfile.TemporaryDirectory() as home:
        whole = Trial(Path(home), random.Random(0))
        began = time.monotonic()
        expected = whole.carry(kill_after_s=None) or {}
        typical_s = time.monotonic() - began
    for number in range(first, first + count):
        with tempfile.TemporaryDirectory() as home:
            trial = Trial(Path(home), random.Random(f"{seed}/{number}"))
            done = trial.until_done(typical_s)
            for part in ("output", "status", "summary"):
                if done.get(part) != expected[part]:
                    trial.faults.append(f"{part} is {done.get(part)}, not {expected[part]}")
            if left := trial.left():
                trial.faults.append(f"left behind: {left}")
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
