"""A task of a run beside a step of DBOS and a task of Dask: none of them does anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.cluster import place
from benchmarks.measure import Bench, Measurement
from benchmarks.peer_programs.runs_of_tasks import TASKS
from benchmarks.peers.catalog import Peer
from benchmarks.peers.environments import Environments
from benchmarks.peers.jobs import Job
from benchmarks.peers.programs import Program
from benchmarks.scenarios import HERE
from tests.postgres import Server

DASK = Peer("Dask, a task for each", "dask_tasks", ("dask[distributed]==2026.8.0",), "")
OURS, DBOS = "a run of orchestrator", "DBOS, a step for each"
RUNS, QUICK_RUNS = 200, 10


def measure(
    postgres: Server, environments: Path, bench: Bench, progress: Callable[[str], None]
) -> None:
    """All sides in turns: so many runs at once, on two processes with four runs at once each."""
    dask = Environments(environments).python(DASK)
    job = Job(str(QUICK_RUNS if bench.quick else RUNS), "", ())
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.cluster.carried"],
        DBOS: [sys.executable, "-m", "benchmarks.peer_programs.dbos_steps"],
        DASK.name: [dask, "-m", f"benchmarks.peer_programs.{DASK.program}"],
    }
    names = {OURS: "carried", DBOS: "steps"}
    variables = {name: each for name, each in os.environ.items() if name != "PYTHONPATH"}
    variables["PYTHONPATH"] = str(HERE)
    times: dict[str, list[float]] = {name: [] for name in commands}
    used: dict[str, list[float]] = {name: [] for name in commands}
    with ExitStack() as stack:
        sides = {}
        for name, command in commands.items():
            where = [place.fresh(postgres, names[name])] if name in names else []
            sides[name] = Program([*command, *where], variables)
            stack.callback(sides[name].close)
        for number in range(-1, bench.pick(7, 1)):
            for name in list(sides)[:: -1 if number % 2 else 1]:
                side, tasks = sides[name], int(job.name) * TASKS
                before = place.used_s(side.process)
                took_ms = side.do(job)
                if number >= 0:  # the first round is for what is done once
                    times[name].append(took_ms)
                    used[name].append((place.used_s(side.process) - before) * 1e6 / tasks)
                progress(f"tasks, {name}: {took_ms * 1000 / tasks:.0f} us a task")
    for name, of_side in times.items():
        ratios = [mine / ours for mine, ours in zip(of_side, times[OURS], strict=True)]
        values = {
            "per_task_us": median(of_side) * 1000 / tasks,
            "cpu_per_task_us": median(used[name]),
        }
        more = {"orchestrator": ratios} if name != OURS else {}
        bench.record(Measurement("tasks", name, of_side, more, values))
