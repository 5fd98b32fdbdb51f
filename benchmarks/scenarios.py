"""The workflows that are measured, as data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx

from orchestrator.servers.config import Server

HERE = Path(__file__).resolve().parent.parent
DELAY_MS = 100
TOOL_SERVERS = ("weather", "news", "text")
FIVE_SERVERS = ("weather", "news", "numbers", "text", "keyvalue")

Document = dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A graph of tasks that only wait.

    Attributes:
        needs: The tasks that each task depends on.
        delays_ms: How long each task takes, milliseconds.
    """

    needs: Mapping[str, Iterable[str]]
    delays_ms: Mapping[str, float]

    @cached_property
    def digraph(self) -> nx.DiGraph[str]:
        """The tasks, with an edge from each to every task that depends on it."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.needs)
        for task, needs in self.needs.items():
            graph.add_edges_from((needed, task) for needed in needs)
        return graph

    @cached_property
    def generations(self) -> list[list[str]]:
        """The topological generations, each in the order of `needs`."""
        position = {task: number for number, task in enumerate(self.needs)}
        generations = nx.topological_generations(self.digraph)
        return [sorted(generation, key=position.__getitem__) for generation in generations]

    @cached_property
    def ends_ms(self) -> dict[str, float]:
        """The earliest end of each task, milliseconds after the start of the run."""
        ends: dict[str, float] = {}
        for task in nx.topological_sort(self.digraph):
            started = max((ends[needed] for needed in self.needs[task]), default=0)
            ends[task] = started + self.delays_ms[task]
        return ends

    @property
    def sequential_ms(self) -> float:
        return sum(self.delays_ms.values())

    @property
    def critical_path_ms(self) -> float:
        """The longest path: no run can be faster."""
        return max(self.ends_ms.values())

    def scaled(self, factor: float) -> Graph:
        """The same graph with other delays."""
        return Graph(self.needs, {task: ms * factor for task, ms in self.delays_ms.items()})

    def workflow(self, name: str, server: str = "delay") -> Document:
        """Its workflow document, on a mock server of delays."""
        tasks = [
            call(task, f"{server}:delay", needs, ms=self.delays_ms[task], label=task)
            for task, needs in self.needs.items()
        ]
        return document(name, tasks)


def call(task: str, tool: str, needs: Iterable[str] = (), **arguments: Any) -> Document:
    return {"id": task, "tool": tool, "arguments": arguments, "depends_on": list(needs)}


def document(name: str, tasks: list[Document]) -> Document:
    """A workflow document whose calls have no limit."""
    return {"name": name, "tasks": tasks, "max_concurrency": 0}


def even(needs: Mapping[str, Iterable[str]], delay_ms: int = DELAY_MS) -> Graph:
    return Graph(needs, dict.fromkeys(needs, delay_ms))


def branches(width: int, delay_ms: int = DELAY_MS) -> Graph:
    return even({f"branch{number}": () for number in range(1, width + 1)}, delay_ms)


def chain(length: int) -> Graph:
    """Tasks that each depend on the one before."""
    return even({f"step{n}": (f"step{n - 1}",) if n > 1 else () for n in range(1, length + 1)})


def levels(widths: Iterable[int], delay_ms: int) -> Graph:
    """Levels of tasks; each task depends on two of the level above."""
    needs: dict[str, Iterable[str]] = {}
    above: list[str] = []
    for level, width in enumerate(widths, start=1):
        names = [f"level{level}.{number}" for number in range(width)]
        for number, name in enumerate(names):
            pair = [above[(number + step) % len(above)] for step in (0, 1)] if above else []
            needs[name] = tuple(dict.fromkeys(pair))  # a level of one task gives it twice
        above = names
    return even(needs, delay_ms)


def uneven() -> Graph:
    """Three lanes of fetch, parse and store, each slow at another stage, then a report."""
    # By generations every stage waits for its slow one; with dataflow each lane is slow once.
    stages = ("fetch", "parse", "store")
    needs: dict[str, Iterable[str]] = {}
    delays_ms: dict[str, float] = {}
    for lane, name in enumerate("xyz"):
        for stage, verb in enumerate(stages):
            step = f"{verb}.{name}"
            needs[step] = (f"{stages[stage - 1]}.{name}",) if stage else ()
            delays_ms[step] = 160 if stage == lane else 40
    needs["report"] = tuple(f"store.{name}" for name in "xyz")
    return Graph(needs, delays_ms | {"report": 40})


FIVE = branches(5)
PATTERN = even({"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c",)})
DIAMOND = even({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})
CHAIN = chain(5)
MULTI_LEVEL = levels((6, 10, 10, 8), delay_ms=DELAY_MS // 2)
UNEVEN = uneven()

NOTE = [
    "$INPUT.city: $OUTPUT[weather].conditions, $OUTPUT[weather].temperature_c C",
    "$OUTPUT[headline]",
    "$OUTPUT[news].items[1].title",
]
FIVE_TOOLS: Document = {
    "name": "five-tools",
    "description": "A travel note, by five tools of three servers.",
    "inputs": {"city": {"type": "string", "default": "Oslo"}},
    "tasks": [
        call("weather", "weather:forecast", city="$INPUT.city"),
        call("news", "news:search", query="travel in $INPUT.city", limit=3),
        call("headline", "text:title", text="$OUTPUT[news].items[0].title", max_length=40),
        call("note", "text:join", parts=NOTE),
        call("length", "text:words", text="$OUTPUT[note]"),
    ],
    "output": {"note": "$OUTPUT[note]", "words": "$OUTPUT[length].words"},
}


def echoes(count: int) -> Document:
    """Independent calls that return at once."""
    return document(
        f"echo-{count}", [call(f"echo{n}", "delay:echo", value=n) for n in range(count)]
    )


def busy(server: str, count: int, busy_ms: int) -> Document:
    """Independent calls that take so much processor time each."""
    tasks = [call(f"busy{n}", f"{server}:busy", ms=busy_ms) for n in range(count)]
    return document(f"busy-{count}", tasks)


def nothing(count: int, width: int) -> Document:
    """Tasks for a caller that does nothing: generations of one width, each task needs one above."""
    needs = [[f"task{n - width}"] if n >= width else [] for n in range(count)]
    tasks = [call(f"task{n}", "none:nothing", needed) for n, needed in enumerate(needs)]
    return {"name": f"nothing-{count}", "tasks": tasks}


def programs(*names: str) -> dict[str, dict[str, Any]]:
    """How mock servers are started on the Python of this process: `command`, `args`, `cwd`."""
    return {
        name: {"command": sys.executable, "args": ["-m", f"mock_servers.{name}"], "cwd": str(HERE)}
        for name in names
    }


def servers(*names: str) -> dict[str, Server]:
    return {name: Server(name=name, **program) for name, program in programs(*names).items()}
