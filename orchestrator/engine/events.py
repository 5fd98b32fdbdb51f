"""What a run tells the world: frozen records, given to observers as they happen.

The rule of this file: an observer is told and cannot answer; one that fails is dropped, and the run
goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.errors import TaskError
from orchestrator.schema.coercion import Conversion

logger = logging.getLogger("orchestrator")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    Attributes:
        at_ms: When, milliseconds since the run began.
    """

    name: ClassVar[str] = "event"
    at_ms: float

    def to_dict(self) -> dict[str, Any]:
        """The event as a JSON object; `event` is its name."""
        document = {"event": self.name, "at_ms": round(self.at_ms, 3)}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            is_time = field.name.endswith("_ms") and value is not None
            document[field.name] = round(value, 3) if is_time else _plain(value)
        return document


def _plain(value: Any) -> Any:
    match value:
        case TaskResult() | RunResult() | TaskError() | ItemResult():
            return value.to_dict()
        case Conversion():
            return {"path": value.path, "given": value.given, "wanted": value.wanted}
        case tuple():
            return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The run begins: its first call can be made; servers that it needs later may be starting."""

    name: ClassVar[str] = "run_started"
    run_id: str
    workflow: str
    schedule: str
    generations: list[list[str]]


@dataclass(frozen=True, slots=True)
class GenerationStarted(Event):
    """A generation is dispatched; told under the schedule `generations` only."""

    name: ClassVar[str] = "generation_started"
    generation: int
    tasks: list[str]


@dataclass(frozen=True, slots=True)
class TaskWaiting(Event):
    """A call of a task waits: for its server, for the check of the plan, for a lock or a limit."""

    name: ClassVar[str] = "task_waiting"
    task: str
    item: int | None
    waiting_for: str


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """An attempt of a task, of one of its items or of its fallback is about to call."""

    name: ClassVar[str] = "task_started"
    task: str
    server: str
    tool: str
    generation: int
    attempt: int
    waited_ms: float
    conversions: tuple[Conversion, ...] = ()
    item: int | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class TaskProgress(Event):
    """The tool of a task tells how far it is; `total` is None where it does not know."""

    name: ClassVar[str] = "task_progress"
    task: str
    item: int | None
    progress: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class RetryDecided(Event):
    """An attempt failed, and what follows: the next one after `wait_ms`, or none if it is None."""

    name: ClassVar[str] = "retry_decided"
    task: str
    item: int | None
    attempt: int
    error: TaskError
    wait_ms: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class ItemSettled(Event):
    """An item of a `for_each` has ended. Told once for each."""

    name: ClassVar[str] = "item_settled"
    task: str
    item: int
    result: ItemResult


@dataclass(frozen=True, slots=True)
class TaskSettled(Event):
    """A task has ended, in whatever way. Told exactly once for each task."""

    name: ClassVar[str] = "task_settled"
    task: str
    result: TaskResult


@dataclass(frozen=True, slots=True)
class RunSettled(Event):
    """The run has ended; every task has settled."""

    name: ClassVar[str] = "run_settled"
    result: RunResult


@dataclass(frozen=True, slots=True)
class ServerEvent(Event):
    """Something that happened to a server; `at_ms` is 0 before the run begins."""

    server: str


@dataclass(frozen=True, slots=True)
class ServerStarting(ServerEvent):
    """A server is being started, or started again."""

    name: ClassVar[str] = "server_starting"


@dataclass(frozen=True, slots=True)
class ServerReady(ServerEvent):
    """A server has answered and listed its tools."""

    name: ClassVar[str] = "server_ready"
    protocol: str
    tools: int
    duration_ms: float


@dataclass(frozen=True, slots=True)
class ServerFailed(ServerEvent):
    """A server did not start, or a session with it has ended unasked."""

    name: ClassVar[str] = "server_failed"
    error: TaskError


@dataclass(frozen=True, slots=True)
class ServerToolsChanged(ServerEvent):
    """A server has changed its tools while it ran, and they were listed again."""

    name: ClassVar[str] = "server_tools_changed"
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerLog(ServerEvent):
    """A server has sent a log message; `level` is one of RFC 5424, as MCP has them."""

    name: ClassVar[str] = "server_log"
    level: str
    logger: str
    data: Any


Observer = Callable[[Event], None]


class Announcer:
    """Tells each observer each event."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __call__(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._observers.remove(observer)
                logger.exception("observer %r failed and is told nothing more", observer)
