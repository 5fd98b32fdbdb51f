"""Small recorded graphs, as fixtures of several test files."""

from __future__ import annotations

import json
import random
from pathlib import Path

from benchmarks.recorded import Trace


def trace(
    delays_ms: dict[str, float],
    needs: dict[str, str] | None = None,
    name: str = "t",
    system: str = "made",
) -> Trace:
    """A graph; `needs` names the tasks that a task depends on, one letter each."""
    before = {task: tuple((needs or {}).get(task, "")) for task in delays_ms}
    tasks = [
        {
            "id": task,
            "tool": "mock:delay",
            "arguments": {
                "ms": int(ms),
                "label": task,
                "inputs": [f"$OUTPUT[{needed}].digest" for needed in before[task]],
            },
            "depends_on": list(before[task]),
        }
        for task, ms in delays_ms.items()
    ]
    return Trace(before, delays_ms, name, system, before, {"name": name, "tasks": tasks})


def write(folder: Path, graph: Trace) -> Path:
    """The file of a graph, as the data set has it."""
    path = folder / f"{graph.name}.json"
    document = {**graph.document, "source": {"file": "nextflow/t-001.json"}}
    path.write_text(json.dumps(document))
    return path


DIAMOND = trace({"a": 10, "b": 40, "c": 20, "d": 10}, {"b": "a", "c": "a", "d": "bc"})


def random_trace(chance: random.Random, count: int) -> Trace:
    names = "abcdefgh"[:count]
    needs = {
        name: "".join(other for other in names[:position] if chance.random() < 0.3)
        for position, name in enumerate(names)
    }
    return trace({name: float(chance.randint(1, 9)) for name in names}, needs)
