"""What a run, a record and an idle worker cost: processor time, which other load changes little.

Each is the difference of two measurements, in which all else is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import anyio
import psycopg
from dbos import DBOSClient

from benchmarks.cluster import place, slots
from benchmarks.measure import Bench, Measurement
from orchestrator.cluster.dispatch import IDLE_S, DbosDispatch
from orchestrator.cluster.offers import QUEUE
from orchestrator.cluster.release import handed
from orchestrator.journal.history import reading
from orchestrator.journal.location import Address
from orchestrator.journal.postgres_session import PostgresSession
from orchestrator.journal.records import WRITE
from orchestrator.journal.store import Database
from tests.postgres import Server

SELDOM_S = 2.0
AT_A_LOOK = 10  # runs that a look puts into the queue where four workers have short ones
_RUN = """insert into run values(?, 'w', 'running', 'run', null, 1, 0, 0.0, null, null, '{}', null)
on conflict do nothing"""
_PAYLOAD = '{"status": "success", "attempts": 1, "output": "' + "x" * 500 + '"}'


@dataclass(frozen=True)
class Costs:
    """Processor time, microseconds.

    Attributes:
        commit_us: Of the database for a commit without rows, and `row_us` for each record in it.
        submit_us: Of the database for a run that is submitted, and `put_us` for one that is put
            into the queue; `worker_put_us` of the worker that puts it.
        run_us: Of the database for the rest of a run without its records: handed out and ended.
        poll_us: Of the database for a question of a worker to the queue.
        beat_us: Of the database for a worker in each second, without its questions, and `look_us`
            for what one worker does for all in each second.
        worker_run_us: Of a worker and its servers for a run, and `worker_task_us` for each call.
        connections: How many connections an idle worker has.
    """

    commit_us: float
    row_us: float
    submit_us: float
    put_us: float
    worker_put_us: float
    run_us: float
    poll_us: float
    beat_us: float
    look_us: float
    worker_run_us: float
    worker_task_us: float
    connections: float


def measure(postgres: Server, config: Path, bench: Bench) -> Costs:
    """Measure all costs on this machine."""
    commit_us, row_us = _journal(postgres, bench)
    poll_us, beat_us, look_us, connections = _idle(postgres, bench)
    submit_us, put_us, worker_put_us = _submissions(postgres, config, bench)
    of_run = {tasks: _runs(postgres, config, tasks, bench) for tasks in (1, slots.TASKS)}
    more = slots.TASKS - 1
    (db_us, worker_us), (_, most_us) = of_run[1], of_run[slots.TASKS]
    worker_task_us = (most_us - worker_us) / more
    costs = Costs(
        commit_us=commit_us,
        row_us=row_us,
        submit_us=submit_us,
        put_us=put_us,
        worker_put_us=worker_put_us,
        run_us=max(0.0, db_us - submit_us - put_us - commit_us - row_us),
        poll_us=poll_us,
        beat_us=beat_us,
        look_us=max(0.0, look_us),
        worker_run_us=max(0.0, worker_us - worker_task_us),
        worker_task_us=worker_task_us,
        connections=connections,
    )
    for each in fields(Costs):
        bench.record(Measurement("costs", each.name, values={"cost": asdict(costs)[each.name]}))
    return costs


def _journal(postgres: Server, bench: Bench) -> tuple[float, float]:
    """Of a commit, and of a row in it: commits of few and of many rows; and rows a second."""
    sizes, commits = (1, 50), 50 if bench.quick else 400
    per_commit: dict[int, float] = {}
    for connections in (1, 2, 4, 8):
        for size in sizes:
            url = place.fresh(postgres, f"journal{connections}_{size}")
            sessions = [PostgresSession(Address(url)) for _ in range(connections)]
            for number, session in enumerate(sessions):
                session.open()
                session.commit(partial(_begin, f"r{number}"))
            threads = [
                threading.Thread(target=_write, args=(session, f"r{number}", size, commits))
                for number, session in enumerate(sessions)
            ]
            before, began = place.used_s(place.process_of(postgres)), time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took_s = time.perf_counter() - began
            used_s = place.used_s(place.process_of(postgres)) - before
            per_commit[size] = used_s * 1e6 / commits / connections
            values = {
                "rows_a_second": size * commits * connections / took_s,
                "commits_a_second": commits * connections / took_s,
            }
            variant = f"journal: {connections} connections, commits of {size} rows"
            bench.record(Measurement("costs", variant, values=values))
            for session in sessions:
                session.close()
    few, many = sizes
    row_us = (per_commit[many] - per_commit[few]) / (many - few)
    return max(0.0, per_commit[few] - row_us), row_us


def _begin(run: str, db: Database) -> None:
    db.execute(_RUN, (run,))


def _write(session: PostgresSession, run: str, size: int, commits: int) -> None:
    for commit in range(commits):
        rows = [
            (run, "task", f"t{commit}.{row}", -1, False, 0, 0.0, _PAYLOAD) for row in range(size)
        ]
        session.commit(partial(_put, rows))


def _put(rows: Sequence[tuple[object, ...]], db: Database) -> None:
    db.executemany(WRITE, rows)


def _idle(postgres: Server, bench: Bench) -> tuple[float, float, float, float]:
    """Of a question to a queue, of each second besides, for all workers; connections of one."""
    few, many = 1, 5
    few_us, _ = _seconds(postgres, few, SELDOM_S, bench)
    seldom_us, connections = _seconds(postgres, many, SELDOM_S, bench)
    often_us, _ = _seconds(postgres, many, IDLE_S, bench)
    poll_us = max(0.0, often_us - seldom_us) / many / (1 / IDLE_S - 1 / SELDOM_S)
    worker_us = max(0.0, seldom_us - few_us) / (many - few)
    return poll_us, max(0.0, worker_us - poll_us / SELDOM_S), few_us - worker_us, connections


def _seconds(postgres: Server, workers: int, every_s: float, bench: Bench) -> tuple[float, float]:
    """What idle workers cost the database in a second; and the connections of one."""
    seconds = 4 if bench.quick else 15
    url = place.fresh(postgres, f"idle{workers}_{every_s * 100:.0f}")
    command = "benchmarks.cluster.instant", url, str(slots.AT_ONCE), str(every_s)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(place.started(command, "ready"))
        time.sleep(5)  # what is done once
        before = place.used_s(place.process_of(postgres))
        time.sleep(seconds)
        used_s = place.used_s(place.process_of(postgres)) - before
        with psycopg.connect(url) as db:
            query = "select count(*) - 1 from pg_stat_activity where datname=current_database()"
            (connections,) = db.execute(query).fetchone() or (0,)
    return used_s * 1e6 / seconds, connections / workers


def _submissions(postgres: Server, config: Path, bench: Bench) -> tuple[float, float, float]:
    """Of a run that is submitted, and of one that is put into a queue, without its worker."""
    runs, url = 40 if bench.quick else 300, place.fresh(postgres, "submissions")
    with place.workers(url, config, 1, 1):
        pass  # the tables are there
    process = place.process_of(postgres)
    before = place.used_s(process)
    _, ids = anyio.run(place.submit, url, config, slots.workflow(slots.DELAY_MS), runs)
    submit_us = (place.used_s(process) - before) * 1e6 / runs
    queue = DbosDispatch(Address(url))
    queue._client = client = DBOSClient(system_database_engine=queue._engine)
    try:
        queue.put([(ids[0], QUEUE, 0)])
        with reading(Address(url)) as db:
            before, own = place.used_s(process), time.process_time()
            for some in (ids[start : start + AT_A_LOOK] for start in range(0, runs, AT_A_LOOK)):
                queue.put([(run, QUEUE, 0) for run in some])
                handed(db, some)
            own_us = (time.process_time() - own) * 1e6 / runs
            return submit_us, (place.used_s(process) - before) * 1e6 / runs, own_us
    finally:
        client.destroy()
        queue._engine.dispose()


def _runs(postgres: Server, config: Path, tasks: int, bench: Bench) -> tuple[float, float]:
    """Of a run with so many calls: of the database, and of its worker."""
    runs, url = 40 if bench.quick else 200, place.fresh(postgres, f"runs{tasks}")
    with place.workers(url, config, 1, slots.AT_ONCE) as (worker,):
        _submitted(url, config, tasks, 10)  # its server starts
        of_all = place.process_of(postgres), worker
        before = [place.used_s(each) for each in of_all]
        _submitted(url, config, tasks, runs)
        after = [place.used_s(each) for each in of_all]
    of_database, of_worker = (
        (late - early) * 1e6 / runs for early, late in zip(before, after, strict=True)
    )
    return of_database, of_worker


def _submitted(url: str, config: Path, tasks: int, runs: int) -> None:
    document = slots.workflow(slots.DELAY_MS, tasks)
    _, ids = anyio.run(place.submit, url, config, document, runs)
    place.last_end(url, ids)
