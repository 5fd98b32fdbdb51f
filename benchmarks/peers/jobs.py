"""The workloads: calls, what they need, and what they give."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import scenarios
from benchmarks.peer_programs.conversation import Call
from benchmarks.scenarios import Document, Graph

# What dataflow gains over layers depends on the delays: here 8 %, the median of the seeds 0 to 300,
# whose 10th and 90th percentiles are 1 and 16 %.
SEED = 23
INSTANT_CALLS = 200
MIN_DELAY_MS, MAX_DELAY_MS = 20, 200


@dataclass(frozen=True, slots=True)
class Job:
    """A workload.

    Attributes:
        name: Its name on the command line, and `title` its description.
        calls: The calls, each after those that it needs.
        cold: Whether each repetition is a fresh process; else sessions are open and warm.
    """

    name: str
    title: str
    calls: tuple[Call, ...]
    cold: bool = False

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(call.server for call in self.calls))


def calls_of(document: Document, output: Callable[[Document], Document]) -> tuple[Call, ...]:
    """The calls of a workflow; `output` returns what a call gives for its arguments."""

    def call(task: Document) -> Call:
        server, _, tool = task["tool"].partition(":")
        arguments, needs = task["arguments"], tuple(task["depends_on"])
        return Call(task["id"], server, tool, arguments, needs, output(arguments))

    return tuple(map(call, document["tasks"]))


def delays(graph: Graph) -> tuple[Call, ...]:
    """The calls of a graph of tasks that only wait."""
    return calls_of(
        graph.workflow("delays"), lambda args: {"slept_ms": args["ms"], "label": args["label"]}
    )


def uneven_layers(seed: int = SEED) -> Graph:
    """3 layers of 10 tasks with random delays; each task needs two of the layer above."""
    needs = scenarios.levels((10, 10, 10), delay_ms=0).needs
    chance = random.Random(seed)
    return Graph(needs, {task: chance.randint(MIN_DELAY_MS, MAX_DELAY_MS) for task in needs})


def by_layers_ms(graph: Graph) -> float:
    """The sum of the slowest calls of each layer."""
    return sum(max(graph.delays_ms[task] for task in layer) for layer in graph.generations)


def five_servers() -> tuple[Call, ...]:
    """One call to each of five servers, whose outputs depend on their arguments."""
    forecast = {"city": "Oslo", "temperature_c": -7, "conditions": "partly cloudy", "wind_kmh": 25}
    size = {"words": 5, "characters": 18, "reading_minutes": 1}
    article = {
        "title": "Why tea matters more than it seems",
        "url": "https://news.example/why-tea-matters-more-than-it-seems",
        "score": 0.88,
    }
    return (
        Call("forecast", "weather", "forecast", {"city": "Oslo"}, (), forecast),
        Call("news", "news", "search", {"query": "tea", "limit": 1}, (), {"items": [article]}),
        Call("sum", "numbers", "add", {"a": 2, "b": 3}, (), {"sum": 5.0}),
        Call("size", "text", "words", {"text": "as plain as can be"}, (), size),
        Call(
            "put", "keyvalue", "put", {"key": "k", "value": 1}, (), {"key": "k", "replaced": False}
        ),
    )


LAYERS = uneven_layers()

JOBS = {
    job.name: job
    for job in (
        Job("five", "5 independent calls of 100 ms", delays(scenarios.FIVE)),
        Job("diamond", "a -> [b, c] -> d, 100 ms each", delays(scenarios.DIAMOND)),
        Job(
            "layers",
            f"3 layers of 10 calls of {MIN_DELAY_MS} to {MAX_DELAY_MS} ms, each needs two; "
            f"critical path {LAYERS.critical_path_ms} ms, layer by layer {by_layers_ms(LAYERS)} ms",
            delays(LAYERS),
        ),
        Job(
            "instant",
            f"{INSTANT_CALLS} independent calls that return at once",
            calls_of(scenarios.echoes(INSTANT_CALLS), dict),
        ),
        Job(
            "cold",
            "a fresh process: 5 servers, one call to each, from its start to its exit",
            five_servers(),
            cold=True,
        ),
    )
}


def plan(jobs: Sequence[Job], way: str) -> Mapping[str, Any]:
    """The plan of a peer's program as JSON; its servers run on this Python."""
    return {
        "way": way,
        "servers": scenarios.programs(*(server for job in jobs for server in job.servers)),
        "jobs": {job.name: [asdict(call) for call in job.calls] for job in jobs},
    }
