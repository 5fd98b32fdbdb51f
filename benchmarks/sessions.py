"""Many sessions and many calls: tools that compute, and thousands of calls in flight at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks import scenarios
from benchmarks.delays import Runner, check
from benchmarks.measure import (
    Measurement,
    Rounds,
    RunFailedError,
    Settings,
    Tell,
    flat,
    paired,
    take_turns,
    timed,
)
from orchestrator import Orchestrator, RunResult, Workflow

# Of processor time, for each call: many times what a call costs the client and the server.
BUSY_MS = 20

Sizes = Mapping[int, int]
"""How many calls are in flight, and how long each waits, milliseconds: long enough that the first
has not ended when the last arrives."""

SIZES: Sizes = {100: 400, 1000: 2500, 5000: 12_500}
QUICK_SIZES: Sizes = {100: 400}
# The cost of a call is compared with what it is among so many.
FEW = 1000


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure the scenarios that are wanted."""
    many = "sessions" in wanted
    stdio = ((1, 2) if settings.quick else (1, 2, 4)) if many else (1,)
    delay = scenarios.servers("delay")["delay"]
    servers = {f"delay-{n}": delay.model_copy(update={"sessions": n}) for n in stdio}
    async with Orchestrator(servers) as orchestrator:
        await orchestrator.tools()
        if many:
            await _sessions(orchestrator, stdio, settings, tell)
        if "inflight" in wanted:
            await _in_flight(orchestrator, settings, tell)


async def _sessions(
    orchestrator: Orchestrator, counts: Sequence[int], settings: Settings, tell: Tell
) -> None:
    """The same calls that compute, on servers with so many sessions each, in turns."""
    calls = 20 if settings.quick else 40
    runners = {
        _plural(sessions): Runner(orchestrator, scenarios.busy(f"delay-{sessions}", calls, BUSY_MS))
        for sessions in counts
    }
    sides = {name: runner.side(name, {}) for name, runner in runners.items()}
    times = await take_turns(sides, settings.pick(10, 1), warm_up=not settings.quick)
    for sessions, (name, runner) in zip(counts, runners.items(), strict=True):
        check_spread(runner.last(name), sessions)
        growth = paired(times[_plural(1)], times[name])
        values = _throughput(calls, times[name], growth, sessions)
        ratios = {"one_session": growth} if sessions > 1 else {}
        tell(Measurement("sessions", name, flat(times[name]), ratios, values))


def _throughput(
    calls: int, times: Rounds, growth: Sequence[float], processes: int
) -> dict[str, float]:
    """Calls a second; and what is the most that so many processes can be worth on these cores."""
    ideal = min(processes, os.cpu_count() or 1)
    return {
        "calls_per_s": calls * 1000 / median(flat(times)),
        "processes": float(processes),
        "ideal_speedup": float(ideal),
        "of_ideal": median(growth) / ideal,
    }


def _plural(sessions: int) -> str:
    return f"{sessions} session{'s' if sessions > 1 else ''}"


def check_spread(result: RunResult, processes: int) -> None:
    """Raise `RunFailedError` unless so many processes computed, each as often as the others."""
    calls = Counter(task.output["pid"] for task in result.tasks.values())
    if len(calls) != processes or max(calls.values()) - min(calls.values()) > 1:
        raise RunFailedError(f"{processes} processes were to share the calls: {dict(calls)}")


async def _in_flight(orchestrator: Orchestrator, settings: Settings, tell: Tell) -> None:
    """So many calls at once on one session, whose server counts them."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    times: dict[int, Rounds] = {calls: [] for calls in sizes}
    peaks: dict[int, list[int]] = {calls: [] for calls in sizes}
    for _ in range(settings.pick(3, 1)):
        for calls, wait_ms in sizes.items():
            taken_ms, peak = await _at_once(orchestrator, "delay-1", calls, wait_ms)
            times[calls].append([taken_ms])
            peaks[calls].append(peak)
    costs = {calls: _costs(times[calls], calls, wait_ms) for calls, wait_ms in sizes.items()}
    for calls in sizes:
        values = {"at_once": float(min(peaks[calls])), "per_task_us": median(flat(costs[calls]))}
        ratios = {"growth": paired(costs[calls], costs[FEW])} if calls > FEW in sizes else {}
        tell(Measurement("inflight", f"{calls:,}", flat(times[calls]), ratios, values))


def _costs(times: Rounds, calls: int, wait_ms: int) -> Rounds:
    """What a call costs beside its waiting, microseconds, in each round."""
    return [[(taken_ms - wait_ms) * 1000 / calls for taken_ms in of_round] for of_round in times]


async def _at_once(
    orchestrator: Orchestrator, server: str, calls: int, wait_ms: int
) -> tuple[float, int]:
    """How long so many calls take, and how many of them the server had at the same time."""
    graph = scenarios.branches(calls, wait_ms)
    workflow = Workflow.load(graph.workflow("in-flight", server))
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await orchestrator.run(workflow))

    await orchestrator.call(f"{server}:peak")  # which begins to count
    taken_ms = await timed(run)
    peak: int = (await orchestrator.call(f"{server}:peak"))["most"]
    check_answers(results[-1], wait_ms)
    return taken_ms, peak


def check_answers(result: RunResult, wait_ms: int) -> None:
    """Raise `RunFailedError` unless each call succeeded, and was given its own answer."""
    check(result)
    for task in result.tasks.values():
        if (task.output["slept_ms"], task.output["label"]) != (wait_ms, task.id):
            raise RunFailedError(f"{task.id} was given {task.output!r}")
