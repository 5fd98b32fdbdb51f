"""Many slow calls: speedup over a sequential run that is made, and the way to the critical path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

from benchmarks import scenarios
from benchmarks.measure import (
    Measurement,
    Record,
    RunFailedError,
    Settings,
    Side,
    Times,
    most_at_once,
    take_turns,
)
from benchmarks.scenarios import Document, Graph
from orchestrator import Orchestrator, RunResult, Workflow

Variants = Mapping[str, Mapping[str, Any]]
"""By name, the options of `Orchestrator.run`."""

SEQUENTIAL: Mapping[str, Any] = {"max_concurrency": 1}
GENERATIONS: Variants = {"generations": {"schedule": "generations"}}
DATAFLOW: Variants = {"dataflow": {"schedule": "dataflow"}}
GRAPHS = {
    "five": scenarios.FIVE,
    "pattern": scenarios.PATTERN,
    "chain": scenarios.CHAIN,
    "diamond": scenarios.DIAMOND,
    "multi-level": scenarios.MULTI_LEVEL,
    "uneven": scenarios.UNEVEN,
}


class Runner:
    """Runs one workflow in several ways, and keeps the results of each.

    Args:
        orchestrator: Runs it.
        document: The workflow; it is checked once, before anything is timed.
    """

    def __init__(self, orchestrator: Orchestrator, document: Document) -> None:
        self.results: dict[str, list[RunResult]] = {}
        self._orchestrator = orchestrator
        self._workflow = Workflow.load(document)

    def side(self, name: str, options: Mapping[str, Any], times: int = 1) -> Side:
        """A side that runs it with options of `Orchestrator.run`."""

        async def run() -> None:
            result = await self._orchestrator.run(self._workflow, **options)
            check(result)
            self.results.setdefault(name, []).append(result)

        return Side(run, times)


def check(result: RunResult) -> None:
    """Raise `RunFailedError` unless a run succeeded."""
    if result.status != "success":
        errors = [str(task.error) for task in result.tasks.values() if task.error]
        raise RunFailedError(f"{result.workflow} ended as {result.status}: {'; '.join(errors[:3])}")


async def measure(names: Collection[str], settings: Settings, record: Record) -> None:
    """Measure the named scenarios."""
    graphs = [name for name in GRAPHS if name in names]
    if graphs or "branches" in names:
        async with Orchestrator(scenarios.servers("delay")) as orchestrator:
            check(await orchestrator.run(scenarios.FIVE.workflow("warm-up")))
            for name in graphs:
                await _graph(orchestrator, name, settings, record)
            if "branches" in names:
                await _branches(orchestrator, settings, record)
    if "five-tools" in names:
        await _five_tools(settings, record)


async def _graph(orchestrator: Orchestrator, name: str, settings: Settings, record: Record) -> None:
    parallel = {**GENERATIONS, **DATAFLOW} if name == "uneven" else GENERATIONS
    rounds, often = settings.pick(20, 2), 1 if settings.quick else 3
    times, runner = await _take_turns(orchestrator, GRAPHS[name], parallel, rounds, often)
    for side in times:
        record(_measurement(name, side, GRAPHS[name], times, runner))


async def _branches(orchestrator: Orchestrator, settings: Settings, record: Record) -> None:
    for width in (1, 4, 8) if settings.quick else range(1, 11):
        graph = scenarios.branches(width)
        variants = {str(width): GENERATIONS["generations"]}
        times, runner = await _take_turns(orchestrator, graph, variants, settings.pick(10, 1), 2)
        record(_measurement("branches", str(width), graph, times, runner))


async def _take_turns(
    orchestrator: Orchestrator, graph: Graph, parallel: Variants, rounds: int, often: int
) -> tuple[Times, Runner]:
    """A sequential run in each round, and the parallel ones, which are short, more often."""
    runner = Runner(orchestrator, graph.workflow("delays"))
    sides = {"sequential": runner.side("sequential", SEQUENTIAL)}
    sides |= {name: runner.side(name, options, times=often) for name, options in parallel.items()}
    return await take_turns(sides, rounds, warm_up=False), runner


def _measurement(
    scenario: str, side: str, graph: Graph, times: Times, runner: Runner
) -> Measurement:
    ratios = {
        "critical_path": [median(of_round) / graph.critical_path_ms for of_round in times[side]],
        "speedup": times.ratio("sequential", side),
        "of_generations": times.ratio(side, "generations") if side == "dataflow" else [],
    }
    values = _sizes(runner.results[side][-1]) | {
        "ideal_speedup": graph.sequential_ms / graph.critical_path_ms,
        "sequential_ms": median(times.flat("sequential")),
    }
    return Measurement(scenario, side, times.flat(side), ratios, values)


async def _five_tools(settings: Settings, record: Record) -> None:
    """The job on open servers; the first run, which opens them, is not counted."""
    variants: Variants = {"warm sequential": SEQUENTIAL, "warm": {}}
    async with Orchestrator(scenarios.servers(*scenarios.TOOL_SERVERS)) as orchestrator:
        runner = Runner(orchestrator, scenarios.FIVE_TOOLS)
        sides = {name: runner.side(name, options, times=3) for name, options in variants.items()}
        times = await take_turns(sides, settings.pick(20, 2))
    sequential = {"sequential_ms": median(times.flat("warm sequential"))}
    for name in variants:
        times_ms = times.flat(name)
        counted = runner.results[name][-len(times_ms) :]  # without the warm-up
        paths = zip(times_ms, counted, strict=True)
        ratios = {
            "critical_path": [ms / result.critical_path_ms for ms, result in paths],
            "speedup": times.ratio("warm sequential", name),
        }
        record(Measurement("five-tools", name, times_ms, ratios, _sizes(counted[-1]) | sequential))


def _sizes(result: RunResult) -> dict[str, float]:
    return {
        "tasks": float(len(result.tasks)),
        "generations": float(len(result.generations)),
        "at_once": float(at_once(result)),
    }


def at_once(result: RunResult) -> int:
    """The most calls that a run had in flight."""
    started = ((task.started_ms, task.duration_ms) for task in result.tasks.values())
    return most_at_once((start, start + ms) for start, ms in started if start is not None)
