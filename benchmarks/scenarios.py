"""The workflows that are measured, as data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.servers.config import Server

HERE = Path(__file__).resolve().parent.parent
DELAY_MS = 100
TOOL_SERVERS = ("weather", "news", "text")
FIVE_SERVERS = ("weather", "news", "numbers", "text", "keyvalue")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph of tasks that only wait.

    Attributes:
        needs: What each task waits for.
        delays_ms: How long each takes, milliseconds.
    """

    needs: Mapping[str, Iterable[str]]
    delays_ms: Mapping[str, int]

    @property
    def sequential_ms(self) -> int:
        """What all tasks take together."""
        return sum(self.delays_ms.values())

    @property
    def critical_path_ms(self) -> int:
        """The longest path: no run can be faster."""
        ends: dict[str, int] = {}
        for task, needs in self.needs.items():
            ends[task] = max((ends[needed] for needed in needs), default=0) + self.delays_ms[task]
        return max(ends.values())

    def workflow(self, name: str, server: str = "delay") -> Document:
        """The workflow file of it, on a mock server of delays."""
        tasks = [
            {
                "id": task,
                "tool": f"{server}:delay",
                "arguments": {"ms": self.delays_ms[task], "label": task},
                "depends_on": list(needs),
            }
            for task, needs in self.needs.items()
        ]
        return {"name": name, "tasks": tasks, "max_concurrency": 0}


def even(needs: Mapping[str, Iterable[str]], delay_ms: int = DELAY_MS) -> Graph:
    """A graph in which every task takes the same time."""
    return Graph(needs, dict.fromkeys(needs, delay_ms))


def branches(width: int, delay_ms: int = DELAY_MS) -> Graph:
    """Tasks that need nothing."""
    return even({f"branch{number}": () for number in range(1, width + 1)}, delay_ms)


def chain(length: int) -> Graph:
    """Tasks that each need the one before."""
    return even({f"step{n}": (f"step{n - 1}",) if n > 1 else () for n in range(1, length + 1)})


def levels(widths: Iterable[int], delay_ms: int) -> Graph:
    """Levels of tasks; each task needs two of the level above."""
    needs: dict[str, Iterable[str]] = {}
    above: list[str] = []
    for level, width in enumerate(widths, start=1):
        names = [f"level{level}.{number}" for number in range(width)]
        for number, name in enumerate(names):
            wanted = {above[(number + step) % len(above)]: None for step in (0, 1)} if above else {}
            needs[name] = tuple(wanted)
        above = names
    return even(needs, delay_ms)


def uneven() -> Graph:
    """Three lanes of fetch, parse and store, each slow at another stage, then a report.

    By generations every stage waits for its slow one; as a flow of data each lane is slow once.
    """
    stages = ("fetch", "parse", "store")
    needs: dict[str, Iterable[str]] = {}
    delays_ms: dict[str, int] = {}
    for lane, name in enumerate("xyz"):
        for stage, what in enumerate(stages):
            task = f"{what}.{name}"
            needs[task] = (f"{stages[stage - 1]}.{name}",) if stage else ()
            delays_ms[task] = 160 if stage == lane else 40
    needs["report"] = tuple(f"store.{name}" for name in "xyz")
    return Graph(needs, delays_ms | {"report": 40})


FIVE = branches(5)
PATTERN = even({"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c",)})
DIAMOND = even({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})
CHAIN = chain(5)
MULTI_LEVEL = levels((6, 10, 10, 8), delay_ms=DELAY_MS // 2)
UNEVEN = uneven()

FIVE_TOOLS: Document = {
    "name": "five-tools",
    "description": "A travel note, by five tools of three servers.",
    "inputs": {"city": {"type": "string", "default": "Oslo"}},
    "tasks": [
        {"id": "weather", "tool": "weather:forecast", "arguments": {"city": "$INPUT.city"}},
        {
            "id": "news",
            "tool": "news:search",
            "arguments": {"query": "travel in $INPUT.city", "limit": 3},
        },
        {
            "id": "headline",
            "tool": "text:title",
            "arguments": {"text": "$OUTPUT[news].items[0].title", "max_length": 40},
        },
        {
            "id": "note",
            "tool": "text:join",
            "arguments": {
                "parts": [
                    "$INPUT.city: $OUTPUT[weather].conditions, $OUTPUT[weather].temperature_c C",
                    "$OUTPUT[headline]",
                    "$OUTPUT[news].items[1].title",
                ]
            },
        },
        {"id": "length", "tool": "text:words", "arguments": {"text": "$OUTPUT[note]"}},
    ],
    "output": {"note": "$OUTPUT[note]", "words": "$OUTPUT[length].words"},
}


def echoes(count: int) -> Document:
    """Calls that need nothing and come back at once."""
    tasks = [
        {"id": f"echo{number}", "tool": "delay:echo", "arguments": {"value": number}}
        for number in range(count)
    ]
    return {"name": f"echo-{count}", "tasks": tasks, "max_concurrency": 0}


def busy(server: str, count: int, busy_ms: int) -> Document:
    """Calls that need nothing, and take so much processor time each."""
    tasks = [
        {"id": f"busy{number}", "tool": f"{server}:busy", "arguments": {"ms": busy_ms}}
        for number in range(count)
    ]
    return {"name": f"busy-{count}", "tasks": tasks, "max_concurrency": 0}


def nothing(count: int, width: int) -> Document:
    """Tasks for a caller that does nothing: generations of one width, each task needs one above."""
    tasks: list[Document] = [
        {
            "id": f"task{number}",
            "tool": "none:nothing",
            "depends_on": [f"task{number - width}"] if number >= width else [],
        }
        for number in range(count)
    ]
    return {"name": f"nothing-{count}", "tasks": tasks}


def arguments_of(server: str) -> list[str]:
    """What Python is started with for a mock server."""
    return ["-m", f"mock_servers.{server}"]


def servers(*names: str) -> dict[str, Server]:
    """Mock servers as programs, run by the Python that runs this."""
    return {
        name: Server(name=name, command=sys.executable, args=arguments_of(name), cwd=str(HERE))
        for name in names
    }
