"""A run with every policy that is killed and resumed until it is done, and what has to hold."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos import processes

ROOT = Path(__file__).resolve().parents[2]
MOST_PROCESSES = 12
WRITES = ("each", "stand", "inner", "last", "clean", "approved", "told")


class Ended(NamedTuple):
    """How a process ended: its exit code, None if it was killed, and what it wrote."""

    code: int | None
    out: str
    err: str


Process = Callable[[list[str], Path, float | None], Ended]
"""Runs `orchestrator` with these words and this journal, and kills it at a moment, unless that is
None."""


def _call(
    task: str, tool: str, key: str | None = None, ms: int = 30, **more: Any
) -> dict[str, Any]:
    arguments = {"key": key or task, "ms": ms}
    return {"id": task, "tool": f"ledger:{tool}", "arguments": arguments, **more}


def every_policy(ms: int, wait_s: float) -> dict[str, Any]:
    """A workflow with every policy, whose calls take so many milliseconds."""
    inner = {
        "inputs": {"n": {"type": "integer"}},
        "tasks": [
            _call("first", "read", "inner-$INPUT.n-first", ms),
            _call("second", "write", "inner-$INPUT.n-second", ms, depends_on=["first"]),
        ],
    }
    stand_in = {"tool": "ledger:write", "arguments": {"key": "stood-in", "ms": ms}}
    asks = {"message": "Which one?", "schema": {"type": "integer"}}
    return {
        "name": "every-policy",
        "max_concurrency": 6,
        "tasks": [
            _call("each", "write", "each-$INDEX", ms, for_each=list(range(8)), locks=["book"]),
            _call("flaky", "flaky", "flaky-$INDEX", ms, for_each=[0, 1, 2],
                  retry={"max_attempts": 9, "initial_s": wait_s, "jitter": 0}),
            _call("polled", "poll", ms=ms,
                  repeat={"until": "LAST.done", "every_s": wait_s, "max_times": 9}),
            _call("stand", "broken", ms=ms, fallback=stand_in),
            _call("late", "read", ms=ms, delay_s=6 * wait_s),
            {"id": "inner", "workflow": inner, "for_each": [0, 1, 2], "arguments": {"n": "$INDEX"}},
            _call("never", "write", ms=ms, when=False),
            {"id": "asked", "ask": asks},
            _call("told", "write", "told", ms, when="OUTPUT.asked == `7`"),
            _call("approved", "write", ms=ms, approve=True),
            _call("last", "write", ms=ms, depends_on=["each", "inner", "late"]),
        ],
        "finally": [_call("clean", "write", ms=ms)],
        "output": {
            name: f"${{OUTPUT[{name}]}}"
            for name in ("each", "flaky", "polled", "stand", "late", "inner", "never", "asked",
                         "told", "approved", "last")
        },
    }  # fmt: skip


@dataclass
class Trial:
    """A run that is killed and resumed, in a directory of its own.

    Attributes:
        killed: Of each process that carried it, whether it was killed.
        asked: How often a person was asked what becomes of a call.
        faults: What did not hold.
    """

    home: Path
    chance: random.Random
    process: Process
    workflow: dict[str, Any]
    killed: list[bool] = field(default_factory=list)
    asked: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal, self.ledger = self.home / "runs.db", self.home / "ledger"
        self.flow, self.servers = self.home / "flow.json", self.home / "servers.toml"
        self.flow.write_text(json.dumps(self.workflow))
        words = json.dumps(["-m", "tests.chaos.ledger", str(self.ledger)])
        self.servers.write_text(
            f"[servers.ledger]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n"
            f"cwd = {json.dumps(str(ROOT))}\nwrites = 'parallel'\n"
        )

    @property
    def kills(self) -> int:
        """How often it was killed."""
        return sum(self.killed)

    def until_done(self, *kills: float | None) -> dict[str, Any]:
        """Kill it at these moments, one process after the other, and then let it end.

        Returns:
            The result document.
        """
        for moment in [*kills, *[None] * MOST_PROCESSES]:
            if (done := self._next(moment)) is not None:
                return done
        self.faults.append(f"has not ended after {MOST_PROCESSES} more processes")
        return {}

    def _next(self, moment: float | None) -> dict[str, Any] | None:
        kept, before = self._kept_keys(), self._begun()
        unknown = "ask" if self.chance.random() < 0.3 else "repeat"
        done = self._carry(moment, unknown)
        self._check(kept, before)
        if done is not None and done.get("status") == "paused":
            self._answer(done, before)
            return None
        return done

    def _carry(self, moment: float | None, unknown: str) -> dict[str, Any] | None:
        """Run or resume; the result document, or None if it was killed before."""
        words = ["run", str(self.flow)]
        if self._rows("select status from run"):
            words = ["resume", "last", "--unknown", unknown]
        result = self.home / "result.json"
        result.unlink(missing_ok=True)
        ended = self._process([*words, "-q", "--output", str(result)], moment)
        self.killed.append(ended.code is None)
        if ended.code is None:
            return None
        if "has ended with status" in ended.err:  # it was killed after its end was kept
            return dict(json.loads(self._process(["show", "last", "--json"], None).out))
        if not result.exists():
            self.faults.append(f"exit code {ended.code}: {ended.err[-500:]}")
            return {}
        return dict(json.loads(result.read_text()))

    def _process(self, words: list[str], moment: float | None) -> Ended:
        ended = self.process([*words, "--servers", str(self.servers)], self.journal, moment)
        rows = self._rows("pragma quick_check")
        if rows not in ([], [("ok",)]):
            self.faults.append(f"the journal is damaged: {rows}")
        return ended

    def _answer(self, paused: dict[str, Any], before: Counter[str]) -> None:
        after = self._begun()
        for question in paused["questions"]:
            where = [question["task"]]
            if question["item"] is not None:
                where += ["--item", str(question["item"])]
            if question["kind"] == "unknown":
                self.asked += 1
                key = _key_of(question["task"], question["item"])
                if after[key] != before[key]:
                    self.faults.append(f"{key} was called again while a person was asked")
                where.append("repeat")
            elif question["kind"] == "ask":
                where.append("7")
            ended = self._process(["answer", "last", *where], None)
            if ended.code != 0:
                self.faults.append(f"an answer was refused: {ended.err}")

    def _check(self, kept: set[str], before: Counter[str]) -> None:
        after = self._begun()
        if again := sorted(key for key in kept if after[key] != before[key]):
            self.faults.append(f"called again although that was kept: {', '.join(again)}")
        noted = self._kept_keys() | self._intended_keys()
        names = tuple(name for name in WRITES if name not in ("stand", "inner"))
        for key in sorted(after):
            if (key.startswith((*names, "stood")) or key.endswith("second")) and key not in noted:
                self.faults.append(f"{key} left without an intention in the journal")

    def _kept_keys(self) -> set[str]:
        """The keys of the calls whose outcome is in the journal."""
        query = "select kind, path, item, fallback from record where kind in (?, ?, ?)"
        keys = set()
        for kind, path, item, fallback in self._rows(query, "task", "item", "answer"):
            name = path.partition("[")[0]
            if "/" not in path and name in ("polled", "inner") and kind != "task":
                continue
            keys.add(_key_of(path, item))
            if name == "stand" and (fallback or kind == "task"):
                keys.add("stood-in")
        return keys

    def _intended_keys(self) -> set[str]:
        """The keys of the calls of which the intention is in the journal."""
        rows = self._rows("select path, item, fallback from record where kind like 'intent%'")
        return {"stood-in" if fallback else _key_of(path, item) for path, item, fallback in rows}

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

    def compare(self, done: dict[str, Any], expected: dict[str, Any]) -> None:
        """Note what differs from an undisturbed run, and the programs that are left."""
        for part in ("output", "status", "summary"):
            if done.get(part) != expected[part]:
                self.faults.append(f"{part} is {done.get(part)}, not {expected[part]}")
        if left := self._left():
            self.faults.append(f"left behind: {left}")

    def _left(self) -> list[processes.Process]:
        """The programs that it left behind, which end when their stdin does."""
        ends_by = time.monotonic() + 30
        while (found := processes.marked(str(self.ledger))) and time.monotonic() < ends_by:
            time.sleep(0.05)
        return found


def environment_of(journal: Path) -> dict[str, str]:
    """The environment of a process with this journal."""
    return {**os.environ, "ORCHESTRATOR_JOURNAL": str(journal)}


def _key_of(path: str, item: int | None) -> str:
    name = re.sub(r"inner\[(\d+)\]/", r"inner-\1-", path)
    return name if item is None or item < 0 else f"{name}-{item}"
