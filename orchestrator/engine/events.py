"""What a run reports: frozen events, sent to observers as they happen.

Longer than other files: it has all events, which observers want to see side by side.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import anyio

from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.errors import TaskError
from orchestrator.schema.coercion import Conversion

logger = logging.getLogger("orchestrator")
_INNER_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    Attributes:
        name: The class in snake case, such as `task_settled`.
        at_ms: When, milliseconds since the run began.
    """

    name: ClassVar[str] = "event"
    at_ms: float

    def __init_subclass__(cls) -> None:
        cls.name = _INNER_CAPITAL.sub("_", cls.__name__).lower()

    def to_dict(self) -> dict[str, Any]:
        """The event as a JSON object; `event` is its name."""
        document: dict[str, Any] = {"event": self.name}
        for field in fields(self):
            value = getattr(self, field.name)
            is_time = field.name.endswith("_ms") and value is not None
            document[field.name] = round(value, 3) if is_time else _plain(value)
        return document


def _plain(value: Any) -> Any:
    match value:
        case TaskResult() | RunResult() | TaskError() | ItemResult() | Question():
            return value.to_dict()
        case Conversion():
            return asdict(value)
        case tuple():
            return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The run begins: its first call can be made. Servers it needs later may still be starting.

    The tasks of a plan that is still being written come with `TaskAdded`.
    """

    run_id: str
    workflow: str
    schedule: str
    generations: list[list[str]]
    finally_tasks: Sequence[str] = ()

    @property
    def tasks(self) -> int:
        """How many tasks will settle, those of `finally` too, but none that is inside another."""
        return sum(map(len, self.generations)) + len(self.finally_tasks)


@dataclass(frozen=True, slots=True)
class TaskAdded(Event):
    """A plan that is still being written has one more task."""

    task: str
    generation: int | None


@dataclass(frozen=True, slots=True)
class GenerationStarted(Event):
    """A generation is dispatched; only under the schedule `generations`.

    A plan that is still being written can get more tasks in it later.
    """

    generation: int
    tasks: list[str]


@dataclass(frozen=True, slots=True)
class TaskWaiting(Event):
    """A call waits for its server, the check of the plan, a lock or a limit."""

    task: str
    item: int | None
    waiting_for: str


@dataclass(frozen=True, slots=True)
class QuestionAsked(Event):
    """A task waits for the answer to a question."""

    question: Question

    @property
    def task(self) -> str:
        """The task that waits."""
        return self.question.task

    @property
    def item(self) -> int | None:
        """The position of the item that waits, or None."""
        return self.question.item


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """An attempt of a task, an item or a fallback is about to call its tool.

    `attempt` counts those of all turns of a `repeat`, and `turn` the turns, from 1.
    """

    task: str
    server: str
    tool: str
    generation: int | None
    attempt: int
    waited_ms: float
    conversions: tuple[Conversion, ...] = ()
    item: int | None = None
    fallback: bool = False
    turn: int = 1

    @property
    def which(self) -> str:
        """Which of several calls it is: `attempt 2`, `turn 3`, `turn 3, call 5`; else empty."""
        if self.turn == 1:
            return f"attempt {self.attempt}" if self.attempt > 1 else ""
        retried = f", call {self.attempt}" if self.attempt > self.turn else ""
        return f"turn {self.turn}{retried}"


@dataclass(frozen=True, slots=True)
class TaskProgress(Event):
    """The tool of a task reports its progress; `total` is None if it is unknown."""

    task: str
    item: int | None
    progress: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class RetryDecided(Event):
    """An attempt failed. The next one starts after `wait_ms`; None: there is no next one."""

    task: str
    item: int | None
    attempt: int
    error: TaskError
    wait_ms: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class ItemsStarted(Event):
    """A `for_each` begins, with so many items."""

    task: str
    items: int


@dataclass(frozen=True, slots=True)
class ItemSettled(Event):
    """An item of a `for_each` has ended; reported once for each item."""

    task: str
    item: int
    result: ItemResult


@dataclass(frozen=True, slots=True)
class TaskSettled(Event):
    """A task has ended; reported exactly once for each task."""

    task: str
    result: TaskResult

    @property
    def is_inside(self) -> bool:
        """Whether it is inside another, which settles itself and counts for it."""
        return "/" in self.task


@dataclass(frozen=True, slots=True)
class RunSettled(Event):
    """The run has ended; every task has settled."""

    result: RunResult


@dataclass(frozen=True, slots=True)
class ServerEvent(Event):
    """Something that happened to a server; `at_ms` is 0 before the run begins."""

    server: str


@dataclass(frozen=True, slots=True)
class ServerStarting(ServerEvent):
    """A server is being started or restarted."""


@dataclass(frozen=True, slots=True)
class ServerReady(ServerEvent):
    """A server has answered and listed its tools."""

    protocol: str
    tools: int
    duration_ms: float


@dataclass(frozen=True, slots=True)
class ServerFailed(ServerEvent):
    """A server did not start, or a session ended unexpectedly."""

    error: TaskError


@dataclass(frozen=True, slots=True)
class BudgetSpent(Event):
    """A call has ended of a run with a budget.

    Attributes:
        left: What is left of `calls`, `minutes` and `result_mb`, as far as limited.
    """

    left: dict[str, float]


@dataclass(frozen=True, slots=True)
class ServerToolsChanged(ServerEvent):
    """A running server changed its tools, and they were listed again."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerListChanged(ServerEvent):
    """A running server changed its list of `prompts` or `resources`."""

    kind: str


@dataclass(frozen=True, slots=True)
class ServerResourceUpdated(ServerEvent):
    """A resource that is followed has changed; `times` is how often since the last such event."""

    uri: str
    times: int


@dataclass(frozen=True, slots=True)
class ServerLog(ServerEvent):
    """A server sent a log message; `level` is a severity of RFC 5424, as in MCP."""

    level: str
    logger: str
    data: Any


OnEvent = Callable[[Event], None]


@runtime_checkable
class Observer(Protocol):
    """Receives the events of runs; a subclass inherits a `start` and a `stop` that do nothing.

    The code that makes an observer starts and stops it, a run only calls `on_event`. If that
    raises, the observer receives nothing more and the run goes on.
    """

    def start(self) -> None:
        """Prepare for events."""
        return

    def on_event(self, event: Event) -> None:
        """Take an event and return soon: the run waits for it."""

    def stop(self) -> None:
        """Release everything. May be called again."""
        return


Observers = Iterable[Observer | OnEvent]


class Announcer:
    """Sends each event to each observer; a plain function is one, too."""

    def __init__(self, observers: Observers) -> None:
        self._receivers: list[OnEvent] = [
            each.on_event if isinstance(each, Observer) else each for each in observers
        ]

    def __bool__(self) -> bool:
        return bool(self._receivers)

    def __call__(self, event: Event) -> None:
        for receive in tuple(self._receivers):
            try:
                receive(event)
            # An observer must not harm the run, and would most likely fail at each event.
            except Exception:
                self._receivers.remove(receive)
                logger.exception("observer %r failed and receives no more events", receive)


class StartTimes:
    """Notes what starting each server takes, and passes the events on.

    Attributes:
        tell: Receives the events.
        ms: The times of the servers that are ready or have failed, milliseconds.
    """

    def __init__(self, tell: OnEvent) -> None:
        self.ms: dict[str, float] = {}
        self.tell = tell
        self._began_at: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case ServerStarting(server=server):
                self._began_at[server] = anyio.current_time()
            case ServerReady(server=server) | ServerFailed(server=server):
                self.ms[server] = (anyio.current_time() - self._began_at[server]) * 1000
        self.tell(event)
