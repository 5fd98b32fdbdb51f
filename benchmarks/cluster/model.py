"""Workers and their database on a clock that jumps: what one machine cannot hold.

What is real: the engine decides when the calls of a run start (it runs here, with calls that only
wait), `pace_of` how often workers ask, and the writer's `gather_s` what is committed together. What
is modelled: processors are queues, first come first served, with the costs that were measured. The
network, the disk of the database and the programs of the servers take no time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import median

import anyio
from anyio.abc import TaskGroup

from benchmarks.cluster import slots
from benchmarks.cluster.costs import Costs
from benchmarks.measure import Bench, Measurement, percentile
from orchestrator import Run, Workflow
from orchestrator.calls.call import Attempt, Call
from orchestrator.cluster.dispatch import pace_of
from orchestrator.cluster.lookout import TURN_S
from orchestrator.cluster.release import AHEAD, SOME
from orchestrator.engine.settings import RunSettings
from orchestrator.journal.postgres_session import PostgresSession
from orchestrator.recordings.clock import INSTANT

US = 1e-6
_FASTER = 0.9  # an interval of DBOS becomes shorter by so much with each question


class Processors:
    """Processors that serve who comes first."""

    def __init__(self, number: int) -> None:
        self._free = [0.0] * number
        self.used_s = 0.0

    async def use(self, us: float) -> None:
        """Wait for a processor, and use it so long."""
        now = anyio.current_time()
        begins = max(now, heapq.heappop(self._free))
        heapq.heappush(self._free, begins + us * US)
        self.used_s += us * US
        await anyio.sleep(begins + us * US - now)


@dataclass(frozen=True)
class Scene:
    """What is simulated.

    Attributes:
        workers: How many, and `at_once` how many runs each carries.
        runs: How many are submitted: all at once, or so many `a_second`.
        database: The processors of the database; 0: it shares `shared` ones with all workers.
        tasks: How many calls a run has, `concurrency` how many are made at once in it, and
            `delay_ms` how long each takes.
    """

    workers: int
    runs: int
    a_second: float = 0.0
    database: int = 0
    shared: int = 2
    at_once: int = slots.AT_ONCE
    tasks: int = slots.TASKS
    concurrency: int = slots.MAX_CONCURRENCY
    delay_ms: int = slots.DELAY_MS


@dataclass
class Seen:
    """What came of it: seconds on the clock that jumps.

    Attributes:
        took_s: From the first submission to the last end.
        waits_s: From the submission of each run to its begin.
        database: How many processors of the database were in use, as long as runs were submitted.
    """

    took_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    database: float = 0.0

    def wait_s(self, percent: float) -> float:
        """A percentile of the waits."""
        return percentile(self.waits_s, percent)


@lru_cache(maxsize=16)
def profile(tasks: int, concurrency: int, delay_ms: int) -> tuple[tuple[float, int], ...]:
    """When calls of a run end, seconds after its begin, and how many at each moment.

    The engine runs it, on the clock that jumps.
    """
    ends: dict[float, int] = {}

    async def call(_: Call, __: Attempt) -> None:
        await anyio.sleep(delay_ms / 1000)
        now = round(anyio.current_time(), 6)
        ends[now] = ends.get(now, 0) + 1

    async def run() -> float:
        document = slots.workflow(delay_ms, tasks) | {"max_concurrency": concurrency}
        began = anyio.current_time()
        await Run(Workflow.load(document), call, RunSettings()).execute()
        return began

    began = anyio.run(run, **INSTANT)
    return tuple((moment - began, number) for moment, number in sorted(ends.items()))


SECONDS = 20.0  # are simulated


def _scene(
    workers: int, each: int, tasks: int, processors: int, at_once: int = slots.AT_ONCE
) -> tuple[str, Scene]:
    """So many workers with so many calls a minute for each, and the processors of the database."""
    rate = workers * each / 60 / tasks
    of_all = Scene(workers, round(rate * SECONDS), rate, processors, at_once=at_once, tasks=tasks)
    calls = f"{workers * each:,} calls a minute"
    return f"{workers:,} workers, {calls}, runs of {tasks}, {processors} processors", of_all


SCENES = dict(
    (
        _scene(10, 1_000, 50, 4),
        _scene(100, 1_000, 50, 4),
        _scene(300, 1_000, 50, 8),
        _scene(1_000, 1_000, 50, 8),
        _scene(1_000, 1_000, 500, 4),
        _scene(1_000, 1_000, 500, 8),
        _scene(100, 10_000, 500, 4, at_once=10),
    )
)


class Cluster:
    """Workers that carry runs of one queue, on the clock that jumps."""

    def __init__(self, scene: Scene, costs: Costs) -> None:
        self.scene, self.costs, self.random = scene, costs, random.Random(1)
        shared = Processors(scene.shared)
        self.database = Processors(scene.database) if scene.database else shared
        # A worker is one process of Python, that runs on one processor at a time.
        own = [Processors(1) if scene.database else shared for _ in range(scene.workers)]
        self._carriers = [_Carrier(self, each) for each in own]
        self.journal = deque[float]()  # when each run was submitted that is not in the queue
        self.queue = deque[float]()
        self.left, self.seen = scene.runs, Seen()

    async def simulate(self) -> Seen:
        """Submit all runs, and carry them to their ends."""
        async with anyio.create_task_group() as group:
            for carrier in self._carriers:
                group.start_soon(carrier.work, group)
                group.start_soon(carrier.beat)
            group.start_soon(self._look)
            await self._submit()
            while self.left:
                await anyio.sleep(0.01)
            self.seen.took_s = anyio.current_time()
            group.cancel_scope.cancel()
        scene = self.scene
        seconds = scene.runs / scene.a_second if scene.a_second else self.seen.took_s
        self.seen.database = self.database.used_s / seconds
        return self.seen

    async def _submit(self) -> None:
        rate = self.scene.a_second
        for number in range(self.scene.runs):
            if rate:
                await anyio.sleep(max(0.0, number / rate - anyio.current_time()))
            await self.database.use(self.costs.submit_us)
            self.journal.append(anyio.current_time())

    async def _look(self) -> None:
        """Put into the queue what was submitted, as one worker does at a time."""
        ahead = self.scene.workers * self.scene.at_once * AHEAD
        while True:
            await anyio.sleep(TURN_S)
            await self.database.use(self.costs.look_us * TURN_S)
            most = min(SOME, ahead - len(self.queue), len(self.journal))
            for _ in range(most):
                await self._carriers[0].own.use(self.costs.worker_put_us)
                await self.database.use(self.costs.put_us)
                self.queue.append(self.journal.popleft())

    def pace_s(self) -> float:
        """How long a worker pauses between two questions."""
        return pace_of(self.scene.workers, waits=bool(self.queue), recent=True)


class _Carrier:
    """One worker: it asks, carries what it gets, and commits what settles."""

    def __init__(self, cluster: Cluster, own: Processors) -> None:
        self._cluster, self.own = cluster, own
        self._scene, self._costs, self._database = cluster.scene, cluster.costs, cluster.database
        self._free = self._scene.at_once
        self._rows, self._commits = 0, anyio.Lock()

    async def work(self, group: TaskGroup) -> None:
        """Ask the queue for runs until this is cancelled."""
        interval_s, queue = self._cluster.pace_s(), self._cluster.queue
        await anyio.sleep(interval_s * self._cluster.random.random())
        while True:
            interval_s = max(self._cluster.pace_s(), interval_s * _FASTER)
            await anyio.sleep(interval_s)
            await self._database.use(self._costs.poll_us)
            while self._free and queue:
                self._free -= 1
                group.start_soon(self._carry, queue.popleft(), group)

    async def beat(self) -> None:
        """Be alive until this is cancelled."""
        while True:
            await anyio.sleep(1)
            await self._database.use(self._costs.beat_us)

    async def _carry(self, submitted: float, group: TaskGroup) -> None:
        scene, costs = self._scene, self._costs
        await self._database.use(costs.run_us / 2)
        await self.own.use(costs.worker_run_us)
        self._cluster.seen.waits_s.append(anyio.current_time() - submitted)
        before = 0.0
        for moment, calls in profile(scene.tasks, scene.concurrency, scene.delay_ms):
            await anyio.sleep(moment - before)
            await self.own.use(calls * costs.worker_task_us)
            if not self._rows:
                group.start_soon(self._gathered)
            self._rows += calls
            before = moment
        await self._commit()
        await self._database.use(costs.run_us / 2)
        self._free += 1
        self._cluster.left -= 1

    async def _gathered(self) -> None:
        await anyio.sleep(PostgresSession.gather_s)
        await self._commit()

    async def _commit(self) -> None:
        async with self._commits:  # a worker has one writer
            rows, self._rows = self._rows, 0
            if rows:
                await self._database.use(self._costs.commit_us + rows * self._costs.row_us)


def simulate(scene: Scene, costs: Costs) -> Seen:
    """What comes of a scene with these costs."""
    profile(scene.tasks, scene.concurrency, scene.delay_ms)  # it has an event loop of its own
    return anyio.run(Cluster(scene, costs).simulate, **INSTANT)


def measure(costs: Costs, measured: Mapping[int, Sequence[float]], bench: Bench) -> None:
    """Predict what was measured on this machine, and then what it cannot hold.

    Args:
        costs: What was measured here.
        measured: By the number of workers, how long their runs took, milliseconds.
        bench: Receives the numbers.
    """
    for workers, times in measured.items():
        runs = workers * (slots.QUICK_RUNS if bench.quick else slots.RUNS)
        seen = simulate(Scene(workers, runs), costs)
        values = {
            "predicted_ms": seen.took_s * 1000,
            "of_measured": seen.took_s * 1000 / median(times),
        }
        bench.record(Measurement("model", f"here, {workers} workers", times, values=values))
    for title, scene in SCENES.items():
        if bench.quick:
            scene = replace(scene, runs=scene.runs // 20)
        seen = simulate(scene, costs)
        values = {
            "database": seen.database,
            "wait_ms": seen.wait_s(50) * 1000,
            "wait_p95_ms": seen.wait_s(95) * 1000,
        }
        bench.record(Measurement("model", title, values=values))
