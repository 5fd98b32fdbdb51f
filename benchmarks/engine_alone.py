"""The engine without servers: time and memory for each task, next to bare anyio."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Collection

import anyio

from benchmarks.delays import check
from benchmarks.measure import Bench, Measurement, Side, take_turns, timed
from benchmarks.scenarios import nothing
from orchestrator import Run, Workflow
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.settings import RunSettings

WIDTH = 100  # of each generation
BARE = "bare anyio"
SMALLEST = 1_000
SIZES = (SMALLEST, 10_000, 100_000)

# `max_concurrency`; None leaves it to the workflow's default.
LIMITS: dict[str, int | None] = {"unlimited": 0, "default limit": None}


async def measure(_: Collection[str], bench: Bench) -> None:
    await memory(SMALLEST, None)  # what is imported on the way belongs to no task
    for count in SIZES[:2] if bench.quick else SIZES:
        await _size(count, bench)


async def _size(count: int, bench: Bench) -> None:
    """One size: bare anyio, and the engine under each limit with the smallest size beside it."""
    peaks = {name: await memory(count, limit) for name, limit in LIMITS.items()}
    workflow, load_ms = await _load(count)
    small, _ = await _load(SMALLEST)
    sides = {BARE: Side(lambda: bare(count))}
    for name, limit in LIMITS.items():
        sides[name] = _engine(workflow, limit)
        if count > SMALLEST:
            # In the same rounds, since the speed of the machine changes between sizes.
            sides[f"{name}, smallest"] = _engine(small, limit, times=4)
    rounds = bench.pick({1_000: 30, 10_000: 12}.get(count, 6), 3)
    times = await take_turns(sides, rounds, warm_up=not bench.quick)
    for name in (BARE, *LIMITS):
        values = times.per_task(name, count)
        if name in LIMITS:
            values |= peaks[name] | {"load_per_task_us": load_ms * 1000 / count}
        growth = times.ratio(name, f"{name}, smallest")
        ratios = {
            "bare_anyio": times.ratio(name, BARE),
            "growth": [ratio * SMALLEST / count for ratio in growth],
        }
        variant, note = f"{count:,} {name}", f"generations of {WIDTH} tasks"
        bench.record(Measurement("engine", variant, times.flat(name), ratios, values, note))


async def _load(count: int) -> tuple[Workflow, float]:
    document, loaded = nothing(count, WIDTH), []

    async def load() -> None:
        loaded.append(Workflow.load(document))

    time_ms = await timed(load)
    return loaded[0], time_ms


def _engine(workflow: Workflow, limit: int | None, times: int = 1) -> Side:
    async def run() -> None:
        check(await Run(workflow, return_at_once, RunSettings(max_concurrency=limit)).execute())

    return Side(run, times)


async def return_at_once(call: Call, _: Attempt) -> None:
    """A caller whose calls take no time."""


async def do_nothing() -> None:
    """A task for bare anyio."""


async def bare(count: int) -> None:
    """As many tasks as a workflow has, in a task group for each generation."""
    for _ in range(count // WIDTH):  # a group waits for its tasks, as a generation does
        async with anyio.create_task_group() as group:
            for _ in range(WIDTH):
                group.start_soon(do_nothing)


async def memory(count: int, limit: int | None) -> dict[str, float]:
    """Bytes for each task, at the peak: of the loaded workflow, and of the run on top of it."""
    document = nothing(count, WIDTH)
    gc.collect()
    tracemalloc.start()
    try:
        workflow = Workflow.load(document)
        gc.collect()
        loaded, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        # Its outputs are None, so that they do not count.
        result = await Run(workflow, return_at_once, RunSettings(max_concurrency=limit)).execute()
        _, peak = tracemalloc.get_traced_memory()
        check(result)
    finally:
        tracemalloc.stop()
    return {
        "workflow_bytes_per_task": loaded / count,
        "run_bytes_per_task": (peak - loaded) / count,
        "bytes_per_task": peak / count,
    }
