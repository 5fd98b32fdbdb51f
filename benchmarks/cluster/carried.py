"""Runs that are submitted to a journal and carried by workers, whose calls return at once.

python -m benchmarks.cluster.carried URL
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import anyio
import psycopg
from anyio.from_thread import start_blocking_portal

from benchmarks.cluster.instant import NAME, TOOL, InstantPool
from benchmarks.cluster.place import started
from benchmarks.peer_programs.runs_of_tasks import (
    AT_ONCE,
    PROCESSES,
    TASKS,
    answer,
    needs,
    until,
)
from benchmarks.scenarios import Document, call
from orchestrator import Orchestrator, Workflow
from orchestrator.journal.journal import Journal


def workflow() -> Document:
    """A run: the same tasks as those of the others."""
    tasks = [
        call(f"t{task}", f"{NAME}:{TOOL}", [f"t{each}" for each in needs(task)], n=task)
        for task in range(TASKS)
    ]
    return {"name": "nothing", "tasks": tasks}


def main(url: str) -> None:
    """Answer what is asked for."""
    loaded = Workflow.load(workflow())
    engine = Orchestrator(InstantPool(), journal=Journal(url, keep_runs=1_000_000))
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stack.enter_context(portal.wrap_async_context_manager(engine))
        command = "benchmarks.cluster.instant", url, str(AT_ONCE)
        for _ in range(PROCESSES):
            stack.enter_context(started(command, "ready"))
        database = stack.enter_context(psycopg.connect(url, autocommit=True))

        async def submit(runs: int) -> list[str]:
            ids = list[str]()

            async def one() -> None:
                ids.append(await engine.queue(loaded))

            async with anyio.create_task_group() as group:
                for _ in range(runs):
                    group.start_soon(one)
            return ids

        def do(runs: int) -> None:
            ids = portal.call(submit, runs)
            query = """select count(*) from orchestrator.run
                where id = any(%s) and status='success'"""
            until(lambda: database.execute(query, (ids,)).fetchone() == (runs,))

        answer(do)


if __name__ == "__main__":
    main(sys.argv[1])
