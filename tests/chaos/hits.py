"""How a server is hit, in which workflow, and what has to hold afterwards."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.scenarios import Document
from orchestrator.engine.result import TaskResult
from tests.chaos.processes import Process

Schedule = Literal["generations", "dataflow"]

SERVERS = ("ash", "birch", "cedar", "elm", "fir")
LAYERS = (12, 8, 10, 4, 6)
"""So many tasks a server in each layer; a task needs one or two of the layer above."""
TASKS = len(SERVERS) * sum(LAYERS)
DELAYS_MS = (5, 30)
MAX_CONCURRENCY = 20
TIMEOUT_S = 1.5


@dataclass(frozen=True, slots=True)
class Hit:
    """A way to hit a server.

    Attributes:
        title: What it is, for people.
        signal: What its process is sent.
        options: What every server of such a run is started with.
    """

    title: str
    signal: signal.Signals
    options: tuple[str, ...] = ()


HITS = {
    "kill": Hit("killed (SIGKILL)", signal.SIGKILL),
    "stop": Hit("stopped (SIGSTOP)", signal.SIGSTOP),
    "stdout": Hit("closes its stdout", signal.SIGUSR1, ("--close-on-usr1", "stdout")),
    "stdin": Hit(
        "closes its stdin, and lives on",
        signal.SIGUSR1,
        ("--close-on-usr1", "stdin", "--ignore-eof"),
    ),
}
"""The ways, by name. The last one answers nothing any more, and its stdout stays open."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What is chosen by chance; the same seed and number choose the same.

    Attributes:
        seed: Of the whole series.
        number: Of the run in it, from 0.
        hit: The way, of `HITS`.
        schedule: Of the run.
        server: Which one is hit.
        moment: When, as a share of the time that the run is expected to take.
    """

    seed: int
    number: int
    hit: str
    schedule: Schedule
    server: str
    moment: float

    @classmethod
    def choose(cls, seed: int, number: int, hits: Sequence[str] = tuple(HITS)) -> Strike:
        """The ways take turns, and so do the schedules each time that every way had its turn."""
        chance = random.Random(f"{seed}/{number}")
        turn, way = divmod(number, len(hits))
        schedule: Schedule = "dataflow" if turn % 2 else "generations"
        return cls(seed, number, hits[way], schedule, chance.choice(SERVERS), chance.random())

    def workflow(self) -> Document:
        """The workflow of the run, whose shape and delays are chosen by chance too."""
        return workflow(random.Random(f"{self.seed}/{self.number}/workflow"))


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        strike: What was done.
        settled: How often each task was told to have settled.
        results: How each task ended.
        left: The processes that were there after the end; none should.
        trouble: Why the run did not end by itself; empty if it did.
        in_time: Whether the server was hit before the last task had settled.
        starts: How often the server that was hit was started.
        first_error_ms: From the hit to the first error that was told after it; None if none was.
        run_s: How long the tasks took, seconds.
        close_s: How long it took to leave the servers, seconds.
    """

    strike: Strike
    settled: Counter[str] = field(default_factory=Counter)
    results: dict[str, TaskResult] = field(default_factory=dict)
    left: list[Process] = field(default_factory=list)
    trouble: str = "it was interrupted"
    in_time: bool = False
    starts: int = 0
    first_error_ms: float | None = None
    run_s: float = 0.0
    close_s: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether the run ended by itself, in time."""
        return not self.trouble

    @property
    def has_settled(self) -> bool:
        """Whether every task settled, and exactly once."""
        return len(self.settled) == TASKS and set(self.settled.values()) == {1}

    @property
    def bystanders_failed(self) -> list[str]:
        """The tasks of other servers that ended otherwise than they should."""
        return [
            f"{task}: {_how(result)}"
            for task, result in self.results.items()
            if server_of(task) != self.strike.server and not _is_right(task, result)
        ]

    @property
    def mixed_up(self) -> list[str]:
        """The tasks, of any server, that were given the answer of another one."""
        return [
            task
            for task, result in self.results.items()
            if result.status == "success" and not _is_right(task, result)
        ]

    @property
    def of_the_hit(self) -> Counter[str]:
        """How the tasks of the server that was hit ended: a status, or the kind of the error."""
        return Counter(
            result.error.kind if result.error else result.status
            for task, result in self.results.items()
            if server_of(task) == self.strike.server
        )

    @property
    def faults(self) -> list[str]:
        """Everything that is not as it should be, in words."""
        said = [] if self.has_ended else [f"did not end: {self.trouble}"]
        if not self.has_settled:
            often = sum(self.settled.values())
            said.append(f"{len(self.settled)} of {TASKS} tasks settled, {often} times in all")
        said += [f"left behind: {process}" for process in self.left]
        said += [f"bystander {failed}" for failed in self.bystanders_failed]
        return said + [f"{task} was given the answer of another" for task in self.mixed_up]

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            **asdict(self.strike),
            "in_time": self.in_time,
            "tasks_of_the_hit": dict(self.of_the_hit),
            "starts": self.starts,
            "first_error_ms": self.first_error_ms,
            "run_s": self.run_s,
            "close_s": self.close_s,
            "faults": self.faults,
        }


def _how(result: TaskResult) -> str:
    return str(result.error or result.reason or f"gave {result.output!r}")


def _is_right(task: str, result: TaskResult) -> bool:
    """Whether a task succeeded with its own answer: the label it sent ends with its id."""
    output = result.output
    return isinstance(output, dict) and str(output.get("label", "")).split(" ")[-1] == task


def server_of(task: str) -> str:
    """The server of a task, by the task's id."""
    return task.partition("-")[0]


def workflow(chance: random.Random) -> Document:
    """Layers of short delays on every server; a task needs only tasks of its own server."""
    tasks = [task for server in SERVERS for task in _tasks_of(server, chance)]
    chance.shuffle(tasks)
    return {"name": "kills", "tasks": tasks, "max_concurrency": MAX_CONCURRENCY}


def _tasks_of(server: str, chance: random.Random) -> Iterator[Document]:
    above: list[str] = []
    for layer, width in enumerate(LAYERS):
        names = [f"{server}-{layer}-{number}" for number in range(width)]
        for name in names:
            yield _task(name, chance.sample(above, chance.choice((1, 2))) if above else [], chance)
        above = names


def _task(name: str, needs: Sequence[str], chance: random.Random) -> Document:
    """A delay whose label is that of the first task it needs, then its own id."""
    label = f"$OUTPUT[{needs[0]}].label {name}" if needs else name
    return {
        "id": name,
        "tool": f"{server_of(name)}:delay",
        "arguments": {"ms": chance.randint(*DELAYS_MS), "label": label},
        "depends_on": list(needs[1:]),
        "timeout_s": TIMEOUT_S,
    }
