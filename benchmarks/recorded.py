"""Graphs of tasks recorded from real systems, and the bounds of their runs, in milliseconds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmarks.scenarios import Document

Order = Literal["first come", "depth", "time"]
"""Who goes first where tasks wait: who came first, or who has the longest path below."""

SYSTEMS = {"nextflow": "nf-core", "pegasus": "Pegasus", "makeflow": "Makeflow"}
_INPUT = re.compile(r"\$OUTPUT\[(.+)\]\.digest")


class NoTracesError(Exception):
    """There is nothing to measure, or it is no trace."""


@dataclass(frozen=True)
class Trace:
    """A graph of tasks that wait as long as those that were recorded did.

    Attributes:
        name: Of its file.
        family: The system that it was recorded from.
        needs: What each task waits for, in the order of the file.
        takes: How long each takes, milliseconds.
        inputs: The tasks whose digests each is given, in order.
        document: The workflow file.
    """

    name: str
    family: str
    needs: Mapping[str, tuple[str, ...]]
    takes: Mapping[str, float]
    inputs: Mapping[str, tuple[str, ...]]
    document: Document

    @cached_property
    def generations(self) -> list[list[str]]:
        """The topological generations, each in the order of the file."""
        number: dict[str, int] = {}
        for task in self._ordered:
            number[task] = 1 + max((number[needed] for needed in self.needs[task]), default=-1)
        made: list[list[str]] = [[] for _ in range(1 + max(number.values()))]
        for task in self.needs:
            made[number[task]].append(task)
        return made

    @cached_property
    def _ordered(self) -> list[str]:
        """The tasks, each behind those that it needs."""
        waiting = {task: len(needs) for task, needs in self.needs.items()}
        ready = [task for task, count in waiting.items() if not count]
        for task in ready:  # grows while it is walked
            for follower in self.followers[task]:
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.append(follower)
        return ready

    @cached_property
    def followers(self) -> dict[str, list[str]]:
        """What waits for each task."""
        made: dict[str, list[str]] = {task: [] for task in self.needs}
        for task, needs in self.needs.items():
            for needed in needs:
                made[needed].append(task)
        return made

    def heads(self) -> dict[str, float]:
        """The earliest start of each task."""
        made: dict[str, float] = {}
        for task in self._ordered:
            ends = (made[needed] + self.takes[needed] for needed in self.needs[task])
            made[task] = max(ends, default=0.0)
        return made

    def paths(self, takes: Mapping[str, float]) -> dict[str, float]:
        """The longest path that begins at each task, itself included."""
        made: dict[str, float] = {}
        for task in reversed(self._ordered):
            below = max((made[follower] for follower in self.followers[task]), default=0.0)
            made[task] = below + takes[task]
        return made

    @cached_property
    def critical_path_ms(self) -> float:
        """The longest path: no run is shorter."""
        return max(self.paths(self.takes).values())

    @property
    def work_ms(self) -> float:
        """What all tasks take together."""
        return sum(self.takes.values())

    def binds(self, slots: int) -> bool:
        """Whether so many slots make a run longer than the longest path, however it is ordered."""
        return bool(slots) and self.work_ms / slots > self.critical_path_ms

    def bound_ms(self, slots: int) -> float:
        """What no run can beat: the longest path, and the work shared by the slots."""
        return max(self.critical_path_ms, self.work_ms / slots if slots else 0.0)

    def may_wait(self, slots: int) -> bool:
        """Whether any task may ever wait for one of so many slots; 0 stands for no limit."""
        if not slots:
            return False
        heads = self.heads()
        changes = [(start, 1) for start in heads.values()]
        changes += [(start + max(self.takes[task], 1e-9), -1) for task, start in heads.items()]
        running = most = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        return max(most, *map(len, self.generations)) > slots

    @cached_property
    def digests(self) -> dict[str, str]:
        """What each task has to answer, if every reference was resolved as it should be."""
        made: dict[str, str] = {}
        for task in self._ordered:
            text = json.dumps([task, [made[name] for name in self.inputs[task]]])
            made[task] = hashlib.sha256(text.replace(", ", ",").encode()).hexdigest()[:16]
        return made


def load(path: Path, scale: float = 1.0) -> Trace:
    """A trace from its file, with all times shortened by a factor.

    Raises:
        NoTracesError: It is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        tasks = document["tasks"]
        for task in tasks:
            task["arguments"]["ms"] = round(task["arguments"]["ms"] * scale)
        if not any(task["arguments"]["ms"] for task in tasks):
            raise ValueError("nothing in it takes a millisecond")
        return Trace(
            path.stem,
            family(document["source"]["file"]),
            {task["id"]: tuple(task["depends_on"]) for task in tasks},
            {task["id"]: task["arguments"]["ms"] for task in tasks},
            {task["id"]: tuple(_inputs(task["arguments"])) for task in tasks},
            {"name": path.stem, "tasks": tasks},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoTracesError(f"{path} is no trace: {type(error).__name__}: {error}") from error


def _inputs(arguments: Mapping[str, object]) -> Iterator[str]:
    given = arguments.get("inputs", [])
    for text in given if isinstance(given, list) else []:
        found = _INPUT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} refers to no digest")
        yield found[1]


def family(source: str) -> str:
    """The system that a file was recorded from, by its path in the data set."""
    system = source.partition("/")[0]
    return SYSTEMS.get(system, system)


def load_all(folder: Path, wanted: Iterable[str], scale: float = 1.0) -> list[Trace]:
    """The traces of a folder, by family; of those wanted, if any are named.

    Raises:
        NoTracesError: The folder is not there or has none, or one that is wanted is not there.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if not paths:
        raise NoTracesError(f"there are no traces in {folder}")
    names = list(wanted) or list(paths)
    if missing := [name for name in names if name not in paths]:
        known = ", ".join(paths)
        raise NoTracesError(f"{folder} has no {', '.join(missing)}; it has {known}")
    made = [load(paths[name], scale) for name in names]
    return sorted(made, key=lambda trace: (trace.family, trace.name))
