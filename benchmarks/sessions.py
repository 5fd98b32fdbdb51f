"""Many sessions and many calls: tools that compute, and thousands of calls in flight at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from statistics import median

from benchmarks import scenarios
from benchmarks.delays import Runner, check
from benchmarks.measure import (
    Measurement,
    Record,
    Rounds,
    RunFailedError,
    Settings,
    Times,
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
# The cost of a call is compared with its cost among so many.
FEW = 1000


async def measure(names: Collection[str], settings: Settings, record: Record) -> None:
    """Measure the named scenarios."""
    many = "sessions" in names
    counts = ((1, 2) if settings.quick else (1, 2, 4)) if many else (1,)
    delay = scenarios.servers("delay")["delay"]
    servers = {f"delay-{n}": delay.model_copy(update={"sessions": n}) for n in counts}
    async with Orchestrator(servers) as orchestrator:
        await orchestrator.tools()
        if many:
            await _sessions(orchestrator, counts, settings, record)
        if "inflight" in names:
            await _in_flight(orchestrator, settings, record)


async def _sessions(
    orchestrator: Orchestrator, counts: Sequence[int], settings: Settings, record: Record
) -> None:
    """The same calls that compute, on servers with so many sessions each, in turns."""
    calls = 20 if settings.quick else 40
    names = {sessions: f"{sessions} session{'s' if sessions > 1 else ''}" for sessions in counts}
    runners = {
        name: Runner(orchestrator, scenarios.busy(f"delay-{sessions}", calls, BUSY_MS))
        for sessions, name in names.items()
    }
    sides = {name: runner.side(name, {}) for name, runner in runners.items()}
    times = await take_turns(sides, settings.pick(10, 1), warm_up=not settings.quick)
    for sessions, name in names.items():
        check_spread(runners[name].results[name][-1], sessions)
        growth = times.ratio(names[1], name)
        values = _throughput(calls, times.flat(name), growth or [1.0], sessions)
        record(Measurement("sessions", name, times.flat(name), {"one_session": growth}, values))


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


async def _in_flight(orchestrator: Orchestrator, settings: Settings, record: Record) -> None:
    """So many calls at once on one session, whose server counts them."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    times = Times({str(calls): [] for calls in sizes})
    peaks: dict[int, list[int]] = {calls: [] for calls in sizes}
    for _ in range(settings.pick(3, 1)):
        for calls, wait_ms in sizes.items():
            time_ms, peak = await _at_once(orchestrator, "delay-1", calls, wait_ms)
            times[str(calls)].append([time_ms])
            peaks[calls].append(peak)
    costs = Times({str(n): _costs(times[str(n)], n, wait_ms) for n, wait_ms in sizes.items()})
    for calls in sizes:
        name = str(calls)
        values = {"at_once": float(min(peaks[calls])), "per_task_us": median(costs.flat(name))}
        ratios = {"growth": costs.ratio(name, str(FEW))} if calls > FEW else {}
        record(Measurement("inflight", f"{calls:,}", times.flat(name), ratios, values))


def _costs(times: Rounds, calls: int, wait_ms: int) -> Rounds:
    """What a call costs beside its waiting, microseconds, in each round."""
    return [[(time_ms - wait_ms) * 1000 / calls for time_ms in of_round] for of_round in times]


async def _at_once(
    orchestrator: Orchestrator, server: str, calls: int, wait_ms: int
) -> tuple[float, int]:
    """How long so many calls take, and how many of them the server had at the same time."""
    graph = scenarios.branches(calls, wait_ms)
    runner = Runner(orchestrator, graph.workflow("in-flight", server))
    await orchestrator.call(f"{server}:peak")  # starts a new count
    time_ms = await timed(runner.side("run", {}).run)
    peak: int = (await orchestrator.call(f"{server}:peak"))["most"]
    check_answers(runner.results["run"][-1], wait_ms)
    return time_ms, peak


def check_answers(result: RunResult, wait_ms: int) -> None:
    """Raise `RunFailedError` unless each call succeeded and received its own answer."""
    check(result)
    for task in result.tasks.values():
        if (task.output["slept_ms"], task.output["label"]) != (wait_ms, task.id):
            raise RunFailedError(f"{task.id} received {task.output!r}")
