"""Many sessions and many calls: tools that compute, and thousands of calls in flight at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from statistics import median

from benchmarks import scenarios
from benchmarks.delays import Runner, check
from benchmarks.measure import (
    Bench,
    Measurement,
    Rounds,
    RunFailedError,
    Side,
    Times,
    own_time,
    take_turns,
    timed,
)
from orchestrator import Orchestrator, RunResult

# Of processor time, for each call: many times what a call costs the client and the server.
BUSY_MS = 20

# By the number of calls in flight, how long each waits, milliseconds: long enough that the first
# has not ended when the last arrives.
SIZES = {100: 400, 1000: 2500, 5000: 12_500}
QUICK_SIZES = {100: 400}
# The size that the cost of a call among more is compared with.
FEW = "1,000"


async def measure(names: Collection[str], bench: Bench) -> None:
    many = "sessions" in names
    counts = ((1, 2) if bench.quick else (1, 2, 4)) if many else (1,)
    delay = scenarios.servers("delay")["delay"]
    servers = {f"delay-{n}": delay.model_copy(update={"sessions": n}) for n in counts}
    async with Orchestrator(servers) as orchestrator:
        await orchestrator.tools()
        if many:
            await _sessions(orchestrator, counts, bench)
        if "inflight" in names:
            await _in_flight(orchestrator, bench)


async def _sessions(orchestrator: Orchestrator, counts: Sequence[int], bench: Bench) -> None:
    calls = 20 if bench.quick else 40
    names = {sessions: f"{sessions} session{'s' if sessions > 1 else ''}" for sessions in counts}
    runners = {
        name: Runner(orchestrator, scenarios.busy(f"delay-{sessions}", calls, BUSY_MS))
        for sessions, name in names.items()
    }
    sides = {name: runner.side(name, {}) for name, runner in runners.items()}
    times = await take_turns(sides, bench.pick(10, 1), warm_up=not bench.quick)
    for sessions, name in names.items():
        check_spread(runners[name].results[name][-1], sessions)
        growth = times.ratio(names[1], name)
        # One session has no ratio to itself.
        values = _throughput(calls, times.flat(name), growth or [1.0], sessions)
        bench.record(
            Measurement("sessions", name, times.flat(name), {"one_session": growth}, values)
        )


def _throughput(
    calls: int, times_ms: Sequence[float], growth: Sequence[float], processes: int
) -> dict[str, float]:
    # So many processes can be worth no more than the cores that run them.
    ideal = min(processes, os.cpu_count() or 1)
    return {
        "calls_per_s": calls * 1000 / median(times_ms),
        "processes": float(processes),
        "ideal_speedup": float(ideal),
        "of_ideal": median(growth) / ideal,
    }


def check_spread(result: RunResult, processes: int) -> None:
    """Raise `RunFailedError` unless so many processes computed, each as often as the others."""
    calls = Counter(task.output["pid"] for task in result.tasks.values())
    if len(calls) != processes or max(calls.values()) - min(calls.values()) > 1:
        raise RunFailedError(
            f"expected an even share of the calls on {processes} processes, got {dict(calls)}"
        )


async def _in_flight(orchestrator: Orchestrator, bench: Bench) -> None:
    # The server counts them itself: what the client calls in flight may wait in a queue.
    sizes = QUICK_SIZES if bench.quick else SIZES
    peaks: dict[int, list[int]] = {calls: [] for calls in sizes}

    async def run(calls: int) -> float:
        graph = scenarios.branches(calls, sizes[calls])
        runner = Runner(orchestrator, graph.workflow("in-flight", "delay-1"))
        await orchestrator.call("delay-1:peak")  # starts a new count
        time_ms = await timed(runner.side("run", {}).run)
        peaks[calls].append((await orchestrator.call("delay-1:peak"))["most"])
        check_answers(runner.results["run"][-1], sizes[calls])
        return time_ms

    sides = {f"{calls:,}": Side(partial(run, calls)) for calls in sizes}
    times = await take_turns(sides, bench.pick(3, 1), warm_up=False, timer=own_time)
    named = dict(zip(times, sizes.items(), strict=True))
    costs = Times({name: _costs(times[name], *size) for name, size in named.items()})
    for name, (calls, _) in named.items():
        values = {"at_once": float(min(peaks[calls])), "per_task_us": median(costs.flat(name))}
        ratios = {"growth": costs.ratio(name, FEW) if calls > 1000 else []}
        bench.record(Measurement("inflight", name, times.flat(name), ratios, values))


def _costs(times: Rounds, calls: int, wait_ms: int) -> Rounds:
    # In microseconds; what the server waits on purpose is not a cost of the call.
    return [[(time_ms - wait_ms) * 1000 / calls for time_ms in of_round] for of_round in times]


def check_answers(result: RunResult, wait_ms: int) -> None:
    """Raise `RunFailedError` unless each call succeeded and received its own answer."""
    check(result)
    for task in result.tasks.values():
        if (task.output["slept_ms"], task.output["label"]) != (wait_ms, task.id):
            raise RunFailedError(f"{task.id} received {task.output!r}")
