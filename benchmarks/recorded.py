"""Graphs of tasks recorded from real systems, and the bounds of their runs, in milliseconds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import networkx as nx

from benchmarks.measure import most_at_once
from benchmarks.scenarios import Document, Graph

SYSTEMS = {"nextflow": "nf-core", "pegasus": "Pegasus", "makeflow": "Makeflow"}
_INPUT = re.compile(r"\$OUTPUT\[(.+)\]\.digest")


class NoTracesError(Exception):
    """There is nothing to measure, or a file is not a trace."""


@dataclass(frozen=True)
class Trace(Graph):
    """A graph of tasks that wait as long as the recorded ones took.

    Attributes:
        name: The name of its file, without the suffix.
        family: The system that it was recorded from.
        inputs: The tasks whose digests each task receives, in order.
        document: The workflow file.
    """

    name: str
    family: str
    inputs: Mapping[str, Iterable[str]]
    document: Document

    def bound_ms(self, slots: int) -> float:
        """What no run can beat: the longest path, and the work shared by the slots."""
        return max(self.critical_path_ms, self.sequential_ms / slots if slots else 0.0)

    def may_wait(self, slots: int) -> bool:
        """Whether any task may ever wait for one of so many slots; 0 stands for no limit."""
        # A task of 0 ms holds its slot for a moment too.
        spans = (
            (end - self.delays_ms[task], max(end, end - self.delays_ms[task] + 1e-9))
            for task, end in self.ends_ms.items()
        )
        return bool(slots) and max(most_at_once(spans), *map(len, self.generations)) > slots

    @cached_property
    def digests(self) -> dict[str, str]:
        """The answer of each task if every reference is resolved correctly."""
        digests: dict[str, str] = {}
        for task in nx.topological_sort(self.digraph):
            content = [task, [digests[name] for name in self.inputs[task]]]
            text = json.dumps(content, separators=(",", ":"))
            digests[task] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return digests


def load(path: Path, scale: float = 1.0) -> Trace:
    """A trace from its file, with all times multiplied by `scale`.

    Raises:
        NoTracesError: The file is not a trace.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        tasks = document["tasks"]
        for task in tasks:
            task["arguments"]["ms"] = round(task["arguments"]["ms"] * scale)
        if not any(task["arguments"]["ms"] for task in tasks):
            raise ValueError("no task takes a millisecond")
        return Trace(
            needs={task["id"]: tuple(task["depends_on"]) for task in tasks},
            delays_ms={task["id"]: task["arguments"]["ms"] for task in tasks},
            name=path.stem,
            family=family(document["source"]["file"]),
            inputs={task["id"]: tuple(_inputs(task["arguments"])) for task in tasks},
            document={"name": path.stem, "tasks": tasks},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoTracesError(f"{path} is not a trace: {type(error).__name__}: {error}") from error


def _inputs(arguments: Mapping[str, object]) -> Iterator[str]:
    texts = arguments.get("inputs", [])
    for text in texts if isinstance(texts, list) else []:
        match = _INPUT.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text}" does not refer to a digest')
        yield match[1]


def family(source: str) -> str:
    # The data set has a folder for each system.
    system = source.partition("/")[0]
    return SYSTEMS.get(system, system)


def load_all(folder: Path, names: Iterable[str], scale: float = 1.0) -> list[Trace]:
    """The named traces of a folder, or all without names, sorted by family.

    Raises:
        NoTracesError: The folder is missing or empty, or lacks one of the names.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if not paths:
        raise NoTracesError(f"no traces in {folder}")
    names = list(names) or list(paths)
    if missing := [name for name in names if name not in paths]:
        raise NoTracesError(f"{folder} has no {', '.join(missing)}; it has {', '.join(paths)}")
    return sorted((load(paths[n], scale) for n in names), key=lambda t: (t.family, t.name))
