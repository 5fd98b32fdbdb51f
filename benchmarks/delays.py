"""Many slow calls: speedup over a sequential run that is made, and the way to the critical path."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks import scenarios
from benchmarks.measure import (
    Measurement,
    Rounds,
    RunFailedError,
    Settings,
    Side,
    Tell,
    flat,
    paired,
    take_turns,
)
from benchmarks.scenarios import Document, Graph
from orchestrator import Orchestrator, RunResult, Workflow

Variants = Mapping[str, Mapping[str, Any]]

SEQUENTIAL: Variants = {"sequential": {"max_concurrency": 1}}
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
        """One way of running it, by what `Orchestrator.run` takes."""

        async def run() -> None:
            result = await self._orchestrator.run(self._workflow, **options)
            check(result)
            self.results.setdefault(name, []).append(result)

        return Side(run, times)

    def last(self, name: str) -> RunResult:
        """The result of the last run of one way."""
        return self.results[name][-1]


def check(result: RunResult) -> None:
    """Raise `RunFailedError` unless everything in a run went well."""
    if result.status != "success":
        errors = [str(task.error) for task in result.tasks.values() if task.error]
        raise RunFailedError(f"{result.workflow} ended as {result.status}: {'; '.join(errors[:3])}")


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure the scenarios that are wanted."""
    graphs = [name for name in GRAPHS if name in wanted]
    if graphs or "branches" in wanted:
        async with Orchestrator(scenarios.servers("delay")) as orchestrator:
            check(await orchestrator.run(scenarios.FIVE.workflow("warm-up")))
            for name in graphs:
                await _graph(orchestrator, name, settings, tell)
            if "branches" in wanted:
                await _branches(orchestrator, settings, tell)
    if "five-tools" in wanted:
        await _five_tools(settings, tell)


async def _graph(orchestrator: Orchestrator, name: str, settings: Settings, tell: Tell) -> None:
    parallel = {**GENERATIONS, **DATAFLOW} if name == "uneven" else GENERATIONS
    rounds, often = settings.pick(20, 2), 1 if settings.quick else 3
    times, runner = await _take_turns(orchestrator, GRAPHS[name], parallel, rounds, often)
    for side in times:
        tell(_measurement(name, side, GRAPHS[name], times, runner))


async def _branches(orchestrator: Orchestrator, settings: Settings, tell: Tell) -> None:
    for width in (1, 4, 8) if settings.quick else range(1, 11):
        graph = scenarios.branches(width)
        variants = {str(width): GENERATIONS["generations"]}
        times, runner = await _take_turns(orchestrator, graph, variants, settings.pick(10, 1), 2)
        tell(_measurement("branches", str(width), graph, times, runner))


async def _take_turns(
    orchestrator: Orchestrator, graph: Graph, parallel: Variants, rounds: int, often: int
) -> tuple[dict[str, Rounds], Runner]:
    """A sequential run in each round, and the parallel ones, which are cheap, more often."""
    runner = Runner(orchestrator, graph.workflow("delays"))
    sides = {name: runner.side(name, options) for name, options in SEQUENTIAL.items()}
    sides |= {name: runner.side(name, options, times=often) for name, options in parallel.items()}
    return await take_turns(sides, rounds, warm_up=False), runner


def _measurement(
    scenario: str, name: str, graph: Graph, times: Mapping[str, Rounds], runner: Runner
) -> Measurement:
    mine, floor_ms = times[name], float(graph.critical_path_ms)
    ratios = {"critical_path": [median(of_round) / floor_ms for of_round in mine]}
    ratios |= {"speedup": paired(times["sequential"], mine)} if name != "sequential" else {}
    ratios |= {"of_generations": paired(mine, times["generations"])} if name == "dataflow" else {}
    values = _shape(runner.last(name)) | {
        "ideal_speedup": graph.sequential_ms / graph.critical_path_ms,
        "sequential_ms": median(flat(times["sequential"])),
    }
    return Measurement(scenario, name, flat(mine), ratios, values)


async def _five_tools(settings: Settings, tell: Tell) -> None:
    """The job on five servers, warm: they are open, and the first run is not counted."""
    ways: Variants = {"warm sequential": {"max_concurrency": 1}, "warm": {}}
    async with Orchestrator(scenarios.servers(*scenarios.TOOL_SERVERS)) as orchestrator:
        runner = Runner(orchestrator, scenarios.FIVE_TOOLS)
        sides = {name: runner.side(name, options, times=3) for name, options in ways.items()}
        times = await take_turns(sides, settings.pick(20, 2))
    for name in ways:
        tell(_five_tools_measurement(name, times, runner))


def _five_tools_measurement(name: str, times: Mapping[str, Rounds], runner: Runner) -> Measurement:
    taken = flat(times[name])
    counted = runner.results[name][-len(taken) :]
    paths_ms = [result.critical_path_ms for result in counted]
    ratios = {"critical_path": [ms / path for ms, path in zip(taken, paths_ms, strict=True)]}
    if name == "warm":
        ratios["speedup"] = paired(times["warm sequential"], times["warm"])
    values = _shape(counted[-1]) | {"sequential_ms": median(flat(times["warm sequential"]))}
    return Measurement("five-tools", name, taken, ratios, values)


def _shape(result: RunResult) -> dict[str, float]:
    return {
        "tasks": float(len(result.tasks)),
        "generations": float(len(result.generations)),
        "at_once": float(at_once(result)),
    }


def at_once(result: RunResult) -> int:
    """The most calls that a run had in flight."""
    tasks = [task for task in result.tasks.values() if task.started_ms is not None]
    changes = [(task.started_ms or 0.0, 1) for task in tasks]
    changes += [((task.started_ms or 0.0) + task.duration_ms, -1) for task in tasks]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most
