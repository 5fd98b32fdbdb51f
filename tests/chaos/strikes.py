"""One run in whose middle a server is hit, from its servers' start to their last process."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

import anyio

from benchmarks.delays import check
from benchmarks.scenarios import HERE
from orchestrator import Orchestrator, Server
from orchestrator.engine.events import Event, ServerFailed, ServerStarting, TaskSettled
from orchestrator.engine.run import Run
from tests.chaos import processes
from tests.chaos.hits import HITS, SERVERS, Outcome, Schedule, Strike
from tests.chaos.processes import Process

LIMIT_S = 60.0
"""A run that is not over by then, with all its processes gone, hangs."""


def servers(mark: str, options: Sequence[str]) -> dict[str, Server]:
    """The servers; each has its name and the mark on its command line."""
    return {
        name: Server(
            name=name,
            command=sys.executable,
            args=["-m", "mock_servers.faulty", "--name", f"{mark}.{name}", *options],
            cwd=str(HERE),
        )
        for name in SERVERS
    }


class Watch:
    """An observer that writes the outcome down as it is told."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._hit_at: float | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case TaskSettled(task=task, result=result):
                self._outcome.settled[task] += 1
                self._outcome.results[task] = result
                if result.status == "error":
                    self._note_error()
            case ServerFailed():
                self._note_error()
            case ServerStarting(server=server) if server == self._outcome.strike.server:
                self._outcome.starts += 1

    def note_hit(self, *, in_time: bool) -> None:
        """The server is hit now."""
        self._outcome.in_time = in_time
        self._hit_at = time.perf_counter()

    def _note_error(self) -> None:
        if self._hit_at is not None and self._outcome.first_error_ms is None:
            self._outcome.first_error_ms = (time.perf_counter() - self._hit_at) * 1000


async def strike_once(strike: Strike, expected_s: float, limit_s: float = LIMIT_S) -> Outcome:
    """Run a workflow on servers of its own, and hit one of them.

    Args:
        strike: What to do.
        expected_s: How long the run is expected to take, seconds.
        limit_s: After so many seconds it counts as hanging, and is cancelled.
    """
    outcome = Outcome(strike)
    mark = f"kills-{uuid.uuid4().hex}"
    others = {process.pid for process in processes.children()}
    try:
        with anyio.fail_after(limit_s):
            await _run(strike, expected_s, mark, outcome)
        outcome.trouble = ""
    except Exception as error:
        outcome.trouble = f"{type(error).__name__}: {error}".rstrip(": ")
    finally:
        outcome.left = _left(mark, others)
        _clean_up(mark)
    return outcome


def _left(mark: str, others: set[int]) -> list[Process]:
    """What a run has left: by the mark, and by us as the parent."""
    ours = [process for process in processes.children() if process.pid not in others]
    return list({process.pid: process for process in (*ours, *processes.marked(mark))}.values())


def _clean_up(mark: str) -> None:
    for process in processes.marked(mark):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def _run(strike: Strike, expected_s: float, mark: str, outcome: Outcome) -> None:
    watch = Watch(outcome)
    document = strike.workflow()
    targets = servers(mark, HITS[strike.hit].options)
    async with Orchestrator(targets, observers=[watch]) as orchestrator:
        run = await orchestrator.prepare(document, schedule=strike.schedule)
        [target] = processes.marked(f"{mark}.{strike.server}")
        began_at = time.perf_counter()
        await _execute(run, target, strike, expected_s, watch)
        ended_at = time.perf_counter()
    outcome.run_s = ended_at - began_at
    outcome.close_s = time.perf_counter() - ended_at


async def _execute(
    run: Run, target: Process, strike: Strike, expected_s: float, watch: Watch
) -> None:
    """Execute a run; at the moment, or else at its end, the server is hit."""
    ended = anyio.Event()

    async def hit() -> None:
        with anyio.move_on_after(strike.moment * expected_s):
            await ended.wait()
        watch.note_hit(in_time=not ended.is_set())
        os.kill(target.pid, HITS[strike.hit].signal)

    async with anyio.create_task_group() as group:
        group.start_soon(hit)
        await run.execute()
        ended.set()


async def undisturbed_s(seed: int, schedule: Schedule) -> float:
    """How long a run takes in which no server is hit, seconds.

    Raises:
        RunFailedError: A task failed all the same.
    """
    document = Strike.choose(seed, 0).workflow()
    with anyio.fail_after(LIMIT_S):
        async with Orchestrator(servers(f"kills-{uuid.uuid4().hex}", ())) as orchestrator:
            result = await orchestrator.run(document, schedule=schedule)
    check(result)
    return result.duration_ms / 1000
