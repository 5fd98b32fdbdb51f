"""The engine without servers: time and memory for each task, next to bare anyio."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Collection, Sequence
from functools import partial

import anyio

from benchmarks.delays import check
from benchmarks.measure import Bench, Measurement, Side, take_turns, timed
from benchmarks.scenarios import nothing
from orchestrator import Run, Workflow
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.settings import RunSettings

WIDTH = 100  # of each generation
BARE = "bare anyio"
# Every other size is measured in the same rounds as the smallest, since the speed of a machine
# changes within seconds.
SMALLEST, OFTEN = 1_000, 4
ROUNDS = {10_000: 12, 100_000: 6}
QUICK_ROUNDS = {4_000: 5}

# `max_concurrency`; None leaves it to the workflow's default.
LIMITS: dict[str, int | None] = {"unlimited": 0, "default limit": None}


async def measure(_: Collection[str], bench: Bench) -> None:
    await memory(SMALLEST)  # what is imported on the way belongs to no task
    gc.collect()
    gc.freeze()  # and its objects are not looked at before and in each run
    try:
        for number, size in enumerate(QUICK_ROUNDS if bench.quick else ROUNDS):
            await _size(size, bench, recorded=(size,) if number else (SMALLEST, size))
    finally:
        gc.unfreeze()


async def _size(size: int, bench: Bench, recorded: Sequence[int]) -> None:
    """Bare anyio, and the engine under each limit: a size, and the smallest beside it."""
    sides: dict[str, Side] = {}
    load_us: dict[int, float] = {}
    for count, often in ((SMALLEST, OFTEN), (size, 1)):
        workflow, load_ms = await _load(count)
        load_us[count] = load_ms * 1000 / count
        sides[f"{count:,} {BARE}"] = Side(partial(bare, count), often)
        sides |= {f"{count:,} {name}": _engine(workflow, LIMITS[name], often) for name in LIMITS}
    rounds = bench.pick(ROUNDS.get(size, 0), QUICK_ROUNDS.get(size, 0))
    times = await take_turns(sides, rounds, warm_up=not bench.quick)
    for count in recorded:
        peaks = await memory(count)
        for name in (BARE, *LIMITS):
            side, smallest = f"{count:,} {name}", f"{SMALLEST:,} {name}"
            values = times.per_task(side, count)
            if name in LIMITS:
                values |= peaks[name] | {"load_per_task_us": load_us[count]}
                values["bare_anyio_fastest"] = times.fastest(side, f"{count:,} {BARE}")
            if name in LIMITS and count > SMALLEST:
                values["growth_fastest"] = times.fastest(side, smallest) * SMALLEST / count
            growth = times.ratio(side, smallest)
            ratios = {
                "bare_anyio": times.ratio(side, f"{count:,} {BARE}"),
                "growth": [ratio * SMALLEST / count for ratio in growth],
            }
            note = f"generations of {WIDTH} tasks"
            bench.record(Measurement("engine", side, times.flat(side), ratios, values, note))


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


async def memory(count: int) -> dict[str, dict[str, float]]:
    """By limit, bytes for each task at the peak: of the loaded workflow, and of the run."""
    document = nothing(count, WIDTH)
    peaks: dict[str, dict[str, float]] = {}
    gc.collect()
    tracemalloc.start()
    try:
        workflow = Workflow.load(document)
        for name, limit in LIMITS.items():
            gc.collect()
            loaded, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            # Its outputs are None, so that they do not count.
            check(await Run(workflow, return_at_once, RunSettings(max_concurrency=limit)).execute())
            _, peak = tracemalloc.get_traced_memory()
            peaks[name] = {
                "workflow_bytes_per_task": loaded / count,
                "run_bytes_per_task": (peak - loaded) / count,
                "bytes_per_task": peak / count,
            }
    finally:
        tracemalloc.stop()
    return peaks
