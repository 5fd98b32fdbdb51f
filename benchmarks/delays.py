"""Many slow calls: speedup over a sequential run that is made, and the way to the critical path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

from benchmarks import scenarios
from benchmarks.measure import Bench, Measurement, RunFailedError, Side, most_at_once, take_turns
from benchmarks.scenarios import Document, Graph
from orchestrator import Orchestrator, RunResult, Workflow

Variants = Mapping[str, Mapping[str, Any]]  # by name, the options of `Orchestrator.run`

SEQUENTIAL: Mapping[str, Any] = {"max_concurrency": 1}
GENERATIONS: Mapping[str, Any] = {"schedule": "generations"}
DATAFLOW: Mapping[str, Any] = {"schedule": "dataflow"}
GRAPHS = {
    "five": scenarios.FIVE,
    "pattern": scenarios.PATTERN,
    "chain": scenarios.CHAIN,
    "diamond": scenarios.DIAMOND,
    "multi-level": scenarios.MULTI_LEVEL,
    "uneven": scenarios.UNEVEN,
}


class Runner:
    """Runs one workflow in several ways, and keeps the results of each."""

    def __init__(self, orchestrator: Orchestrator, document: Document) -> None:
        self.results: dict[str, list[RunResult]] = {}
        self._orchestrator = orchestrator
        self._workflow = Workflow.load(document)  # once, before anything is timed

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


async def measure(names: Collection[str], bench: Bench) -> None:
    if not {"branches", *GRAPHS}.isdisjoint(names):
        async with Orchestrator(scenarios.servers("delay")) as orchestrator:
            # The first run starts the server.
            check(await orchestrator.run(scenarios.FIVE.workflow("warm-up")))
            await _graphs(names, bench, orchestrator)
    if "five-tools" in names:
        await _five_tools(bench)


async def _graphs(names: Collection[str], bench: Bench, orchestrator: Orchestrator) -> None:
    for name, graph in GRAPHS.items():
        if name in names:
            variants = {"generations": GENERATIONS}
            variants |= {"dataflow": DATAFLOW} if name == "uneven" else {}
            await _compare(bench, orchestrator, name, graph, variants)
    if "branches" in names:
        for width in (1, 4, 8) if bench.quick else range(1, 11):
            variants = {str(width): GENERATIONS}
            await _compare(bench, orchestrator, "branches", scenarios.branches(width), variants)


async def _compare(
    bench: Bench, orchestrator: Orchestrator, scenario: str, graph: Graph, variants: Variants
) -> None:
    # A parallel run is short, so that it runs more often in a round than the sequential one.
    branches = scenario == "branches"
    rounds, often = bench.pick(20, 2), 1 if bench.quick else 3
    if branches:  # many graphs, and each needs fewer rounds
        rounds, often = bench.pick(10, 1), 2
    halved = bench.quick and not branches
    graph, note = (graph.scaled(0.5), "delays are halved") if halved else (graph, "")
    runner = Runner(orchestrator, graph.workflow("delays"))
    sides = {"sequential": runner.side("sequential", SEQUENTIAL)}
    sides |= {name: runner.side(name, options, times=often) for name, options in variants.items()}
    times = await take_turns(sides, rounds, warm_up=False)
    for name in variants if branches else sides:
        path_ms = graph.critical_path_ms
        ratios = {
            "critical_path": [median(of_round) / path_ms for of_round in times[name]],
            "speedup": times.ratio("sequential", name),
            "of_generations": times.ratio(name, "generations") if name == "dataflow" else [],
        }
        values = _sizes(runner.results[name][-1]) | {
            "ideal_speedup": graph.sequential_ms / path_ms,
            "sequential_ms": median(times.flat("sequential")),
        }
        bench.record(Measurement(scenario, name, times.flat(name), ratios, values, note))


async def _five_tools(bench: Bench) -> None:
    variants: Variants = {"warm sequential": SEQUENTIAL, "warm": {}}
    async with Orchestrator(scenarios.servers(*scenarios.TOOL_SERVERS)) as orchestrator:
        runner = Runner(orchestrator, scenarios.FIVE_TOOLS)
        often = 2 if bench.quick else 3
        sides = {name: runner.side(name, each, often) for name, each in variants.items()}
        times = await take_turns(sides, bench.pick(20, 2))
    sequential = {"sequential_ms": median(times.flat("warm sequential"))}
    for name in variants:
        times_ms = times.flat(name)
        counted = runner.results[name][-len(times_ms) :]  # the first run opened the servers
        paths = zip(times_ms, counted, strict=True)
        ratios = {
            "critical_path": [ms / result.critical_path_ms for ms, result in paths],
            "speedup": times.ratio("warm sequential", name),
        }
        values = _sizes(counted[-1]) | sequential
        bench.record(Measurement("five-tools", name, times_ms, ratios, values))


def _sizes(result: RunResult) -> dict[str, float]:
    started = ((task.started_ms, task.duration_ms) for task in result.tasks.values())
    at_once = most_at_once((start, start + ms) for start, ms in started if start is not None)
    sizes = (len(result.tasks), len(result.generations), at_once)
    return dict(zip(("tasks", "generations", "at_once"), map(float, sizes), strict=True))
