"""Workers as programs, each with its own way to the database, and what their journal says."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.proxy import Proxy
from tests.chaos.trial import ROOT
from tests.postgres import PASSWORD, USER, Server

PATIENCE_S = 120.0
_NAME = re.compile(r"worker (\w+) carries runs")


def until(holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait for something, which comes back."""
    ends_at = time.monotonic() + patience_s
    while not (found := holds()):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{what}: not within {patience_s:g} s")
        time.sleep(0.05)
    return found


@dataclass(eq=False)
class Member:
    """A worker.

    Attributes:
        process: Its process.
        way: Its way to the database.
        log: The file with what it says.
        name: Its name.
    """

    process: subprocess.Popen[bytes]
    way: Proxy
    log: Path
    name: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def limit_memory(self, size: int | None) -> None:
        """Let it take more memory only up to a size; below what it has, that is none."""
        what, process = resource.RLIMIT_AS, self.process.pid
        hard = resource.prlimit(process, what)[1]
        resource.prlimit(process, what, (hard if size is None else size, hard))


class Fleet:
    """Workers on one database; open it with `with`.

    Args:
        server: The server.
        home: A directory, with a servers.toml.
        size: How many workers there are at a time.
        at_once: How many runs each carries at once.
        least: With fewer than these, new ones begin.

    Attributes:
        members: Those that are not known to have ended.
        codes: How others have ended.
    """

    def __init__(
        self, server: Server, home: Path, size: int, at_once: int, least: int | None = None
    ) -> None:
        self._server, self._home, self._size, self._at_once = server, home, size, at_once
        self._least = size if least is None else least
        self.members: list[Member] = []
        self.codes: list[int] = []
        self._began = 0
        self.db = psycopg.connect(server.url("postgres"), autocommit=True)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.process.kill()
            member.process.wait()
            member.way.__exit__()
        self.db.close()

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says, in the tables of the journal."""
        self.db.execute("set search_path to orchestrator")
        return self.db.execute(query.encode(), values).fetchall()

    def complete(self) -> None:
        """Have workers begin in place of those that have ended, and wait until they are known."""
        for member in [each for each in self.members if not each.is_alive]:
            self.members.remove(member)
            self.codes.append(member.process.wait())
            member.way.__exit__()
        missing = self._size - len(self.members) if len(self.members) < self._least else 0
        new = [self._begin() for _ in range(missing)]
        self.members += new
        for member in new:
            member.name = until(partial(_said, member), f"a worker, {member.log}")

    def _begin(self) -> Member:
        self._began += 1
        way, log = Proxy(self._server.port), self._home / f"worker-{self._began}.log"
        way.__enter__()
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{way.port}/postgres"
        words = [sys.executable, "-m", "orchestrator", "worker", "--unknown", "repeat"]
        words += ["--at-once", str(self._at_once), "--no-pool"]
        settings = {"PYTHONPATH": str(ROOT), "ORCHESTRATOR_JOURNAL": url}
        with log.open("wb") as said:
            process = subprocess.Popen(
                words, cwd=self._home, env=os.environ | settings, stdin=subprocess.DEVNULL,
                stdout=said, stderr=said,
            )  # fmt: skip
        return Member(process, way, log)

    def carried_by(self, member: Member) -> dict[str, int]:
        """The runs that a worker carries, with their epochs."""
        rows = self.ask(
            """select run.id, epoch from carrier join run on run.id=carrier.run
            where status='running' and process=(select process from carrier where run=%s)""",
            f"worker {member.name}",
        )
        return dict(rows)

    def now_s(self) -> float:
        """The time of the database."""
        return float(self.ask("select now_s()")[0][0])

    def taken_over_after(self, runs: Mapping[str, int], since: float) -> dict[str, float]:
        """After how many seconds each was carried by another process, or had ended there."""
        left, after = dict(runs), dict[str, float]()
        ends_at = time.monotonic() + PATIENCE_S
        while left and time.monotonic() < ends_at:
            rows = self.ask(
                "select id, epoch, status, now_s() from run where id = any(%s)", list(left)
            )
            for run, epoch, status, now in rows:
                if epoch > left[run]:
                    after[run] = now - since
                    del left[run]
                elif status not in ("running", "queued"):  # it had ended in that moment
                    del left[run]
            time.sleep(0.05)
        return after | dict.fromkeys(left, float("inf"))

    def said_of(self, runs: Sequence[str]) -> list[str]:
        """What workers say of runs, and what the database does."""
        logs = sorted(self._home.glob("*.log"), key=lambda log: log.stat().st_mtime)
        lines = [f"{log.stem}: {line}" for log in logs for line in log.read_text().splitlines()]
        query = "select to_jsonb(t) - 'request' - 'result' from {} as t where {}=%s"
        rows = [
            f"{table}: {row}"
            for run in runs
            for table, key in (("run", "id"), ("carrier", "run"), ("queued", "run"))
            for row in self.ask(query.format(table, key), run)
        ]
        return [line for line in lines if any(run in line for run in runs)] + rows

    def open_runs(self, runs: Sequence[str]) -> int:
        """How many of these have not ended."""
        query = "select count(*) from run where id = any(%s) and status in ('queued', 'running')"
        return int(self.ask(query, list(runs))[0][0])

    def settled(self) -> set[tuple[str, str, int]]:
        """Of what the outcome is kept: run, path, item (-1: the whole task)."""
        rows = self.ask("select run, path, item from record where kind in ('task', 'item')")
        return set(rows)

    def about_to_leave(self, runs: Iterable[str]) -> set[tuple[str, str, int]]:
        """The calls of these runs that may have left by what is kept."""
        query = "select run, path, item from record where kind like 'intent%%' and run = any(%s)"
        return set(self.ask(query, list(runs)))

    def results(self) -> dict[str, tuple[str, Any]]:
        """The status and the output of each run that has ended."""
        rows = self.ask("select id, status, result from run where result is not null")
        return {run: (status, json.loads(result)["output"]) for run, status, result in rows}

    def failures(self, run: str) -> list[str]:
        """What the tasks and the items of a run have failed with."""
        query = """select path, item, left(payload, 500) from record
        where run=%s and kind in ('task', 'item') and payload not like '%%"status": "success"%%'"""
        return [f"{path} {item}: {payload}" for path, item, payload in self.ask(query, run)]

    def written(self) -> dict[str, tuple[int, int]]:
        """Of each run that has ended, what tells whether anything of it is written after that."""
        rows = self.ask(
            """select id, epoch, (select max(moment) from record where run=run.id) from run
            where result is not null"""
        )
        return {run: (epoch, moment) for run, epoch, moment in rows}


def _said(member: Member) -> str:
    assert member.is_alive, member.log.read_text()
    found = _NAME.search(member.log.read_text())
    return "" if found is None else found[1]
