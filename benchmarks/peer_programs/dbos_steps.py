"""DBOS: a workflow for each run, and in it a step for each task; those of a layer run together.

`python -m benchmarks.peer_programs.dbos_steps URL` puts the workflows into a queue of DBOS, and
starts the processes that take them from there: `... URL NAME`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import uuid
from typing import Any

import psycopg
from dbos import DBOS, DBOSClient

from benchmarks.peer_programs.runs_of_tasks import (
    AT_ONCE,
    LAYERS,
    POLL_S,
    PROCESSES,
    WIDTH,
    answer,
    needs,
    until,
)

QUEUE = "runs"


@DBOS.step()
async def nothing(task: int, above: list[int]) -> int:
    """A task."""
    return task + len(above)


@DBOS.workflow()
async def run() -> int:
    """A run."""
    done: dict[int, int] = {}
    for layer in range(LAYERS):
        tasks = range(layer * WIDTH, (layer + 1) * WIDTH)
        calls = [nothing(task, [done[each] for each in needs(task)]) for task in tasks]
        done |= dict(zip(tasks, await asyncio.gather(*calls), strict=True))
    return len(done)


def carry(url: str, name: str) -> None:
    """Take workflows from the queue until stdin ends."""
    config: Any = {
        "name": "steps",
        "system_database_url": url,
        "application_version": "1",
        "executor_id": name,
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=POLL_S)
    print("ready", flush=True)
    sys.stdin.read()
    DBOS.destroy()


def main(url: str) -> None:
    """Answer what is asked for."""
    command = sys.executable, "-m", "benchmarks.peer_programs.dbos_steps", url
    started = []
    for number in range(PROCESSES):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([*command, f"w{number}"], text=True, **pipes)  # type: ignore[call-overload]
        assert process.stdout.readline().strip() == "ready"
        threading.Thread(target=process.stdout.read, daemon=True).start()
        started.append(process)
    client = DBOSClient(system_database_url=url)
    database = psycopg.connect(url, autocommit=True)

    def do(runs: int) -> None:
        before = f"{uuid.uuid4()}-"
        for number in range(runs):
            options: Any = {
                "queue_name": QUEUE,
                "workflow_name": run.__qualname__,
                "workflow_id": f"{before}{number}",
                "app_version": "1",
            }
            client.enqueue(options)
        query = """select count(*) from dbos.workflow_status
            where workflow_uuid like %s and status='SUCCESS'"""
        until(lambda: database.execute(query, (f"{before}%",)).fetchone() == (runs,))

    answer(do)
    for process in started:
        process.stdin.close()
        process.wait(30)
    client.destroy()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        carry(*sys.argv[1:])
    else:
        main(sys.argv[1])
