"""Four workers beside what their slots allow, and what runs that wait cost a worker."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import anyio
import psycopg

from benchmarks.cluster import place
from benchmarks.measure import Bench, Measurement
from benchmarks.scenarios import Document
from orchestrator.cluster.release import AHEAD
from tests.postgres import Server

TASKS, DELAY_MS = 50, 50
# Settings of a user: so many runs at once on each worker, so many calls at once in each run.
AT_ONCE, MAX_CONCURRENCY = 4, 5
# Workers, and how many runs each has at once. Two processors cannot make the calls that the slots
# of four workers with four runs each allow; with two runs each they can.
SCALES = ((1, AT_ONCE), (2, AT_ONCE), (4, AT_ONCE), (4, 2))
RUNS, QUICK_RUNS = 50, 10  # for each worker
WAITING, QUICK_WAITING = 10_000, 1_000
_COPY = """with copies as (select id || '-' || n as id, id as origin_id
from orchestrator.run, generate_series(1, %s) as n where id = %s), runs as (
insert into orchestrator.run(id, workflow, status, kind, epoch, resumed, started, request)
select c.id, workflow, status, kind, epoch, resumed, started, request
from copies as c join orchestrator.run as r on r.id = origin_id returning id)
insert into orchestrator.queued(run, workflow, servers)
select c.id, workflow, servers from copies as c join orchestrator.queued as q on run = origin_id"""
_AHEAD = """select count(*) filter (where handed), count(*) filter (where not begun)
from orchestrator.queued"""


def workflow(delay_ms: int, tasks: int = TASKS) -> Document:
    """Independent tasks that wait."""
    given = [
        {"id": f"t{n}", "tool": "bare:delay", "arguments": {"ms": delay_ms, "label": f"{n}"}}
        for n in range(tasks)
    ]
    return {"name": "waits", "max_concurrency": MAX_CONCURRENCY, "tasks": given}


def ideal_s(workers: int, runs: int, at_once: int = AT_ONCE) -> float:
    """How long runs take if no slot ever waits, seconds."""
    slots = workers * at_once * MAX_CONCURRENCY
    return runs * TASKS * DELAY_MS / 1000 / slots


def times_of(found: Iterable[Measurement]) -> dict[int, Sequence[float]]:
    """How long runs took with `AT_ONCE`, milliseconds, by the number of workers."""
    of_slots = [each for each in found if each.scenario == "slots" and "," not in each.variant]
    return {int(each.variant.partition(" ")[0]): each.times_ms for each in of_slots}


def measure(postgres: Server, config: Path, bench: Bench) -> None:
    """Submit runs at once, and count from the first submission to the last end."""
    for workers, at_once in SCALES if not bench.quick else SCALES[-1:]:
        runs = workers * (QUICK_RUNS if bench.quick else RUNS)
        url = place.fresh(postgres, f"slots{workers}of{at_once}")
        with place.workers(url, config, workers, at_once) as processes:
            _once(url, config, workers * at_once)  # their servers start
            times, used = list[float](), list[float]()
            for _ in range(bench.pick(5, 1)):
                before = place.used_s(place.process_of(postgres), *processes)
                times.append(_once(url, config, runs))
                after = place.used_s(place.process_of(postgres), *processes)
                used.append((after - before) * 1e6 / runs / TASKS)
        best_s = ideal_s(workers, runs, at_once)
        ratios = {"of_ideal": [each / best_s for each in times]}
        values = {"ideal_ms": best_s * 1000, "cpu_per_task_us": median(used)}
        note = f"{MAX_CONCURRENCY} calls at once in each run, {AT_ONCE} runs in each worker"
        variant = f"{workers} workers" if workers > 1 else "1 worker"
        variant += f", {at_once} runs in each" if at_once != AT_ONCE else ""
        in_ms = [each * 1000 for each in times]
        bench.record(Measurement("slots", variant, in_ms, ratios, values, note))


def _once(url: str, config: Path, runs: int) -> float:
    began, ids = anyio.run(place.submit, url, config, workflow(DELAY_MS), runs)
    return place.last_end(url, ids) - began


def measure_waiting(postgres: Server, config: Path, bench: Bench) -> None:
    """The memory of a worker that carries one run, without and with many that wait."""
    many = QUICK_WAITING if bench.quick else WAITING
    found = {waiting: _memory_mb(postgres, config, waiting) for waiting in (0, many)}
    for waiting, (now_mb, most_mb) in found.items():
        values = {"now_mb": now_mb, "most_mb": most_mb}
        if waiting:
            values["grown_mb"] = most_mb - found[0][1]
        bench.record(Measurement("waiting", f"{waiting:,} runs wait", values=values))


def _memory_mb(postgres: Server, config: Path, waiting: int) -> tuple[float, float]:
    url = place.fresh(postgres, f"waiting{waiting}")
    with place.workers(url, config, 1, 1) as (worker,):
        anyio.run(place.submit, url, config, workflow(3_600_000, 1), 1)
        with psycopg.connect(url, autocommit=True) as db:
            running = "select count(*) from orchestrator.run where status = 'running'"
            place.until(lambda: db.execute(running).fetchone() == (1,))
            if waiting:
                _, (one,) = anyio.run(place.submit, url, config, workflow(DELAY_MS), 1)
                db.execute(_COPY, (waiting - 1, one))
            handed = 1 + min(waiting, AHEAD)  # the others wait in the journal
            place.until(lambda: db.execute(_AHEAD).fetchone() == (handed, waiting))
        time.sleep(10)  # it looks many times
        return place.memory_mb(worker), place.memory_mb(worker, "VmHWM")
