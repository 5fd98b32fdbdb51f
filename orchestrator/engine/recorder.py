"""What keeps a run, so that another process can go on with it where this one ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.outcome import Failure, Success
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.summary import Stop
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.tool import Tool


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended that was made before.

    Attributes:
        outcome: How it ended.
        attempts: How many attempts it took.
        ago_s: How long ago that was, seconds.
        started_ms: When the first call of its task began, milliseconds since the run did.
        wrapped: Whether its server had wrapped the output.
    """

    outcome: Success | Failure
    attempts: int
    ago_s: float
    started_ms: float
    wrapped: bool


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer of an earlier call that is the same.

    Attributes:
        output: Its output.
        wrapped: Whether its server had wrapped the output.
        size: About what it takes in memory, bytes.
    """

    output: Any
    wrapped: bool
    size: int


class Memo(Protocol):
    """Keeps the answers of calls for other runs, and has those that they kept."""

    async def find(self, key: str, ttl_s: float) -> Remembered | None:
        """What any run was answered under a key in the last `ttl_s` seconds."""

    def keep(self, key: str, ttl_s: float, answer: Remembered) -> None:
        """Keep an answer for so long."""


class Recorder(Protocol):
    """Keeps what happens to the tasks of a run, and has what an earlier process kept.

    A path is that of a task with those that it is inside of, as in `outer[3]/inner`. The names that
    begin with `note` keep something; they do not wait, but for `note_intent`.
    """

    elapsed_s: float
    """How long earlier processes carried the run, seconds."""

    resumed: int
    """How often it was taken up again."""

    stop: Stop | None
    """Why they had ended the run early, except for its `finally`; None if they had not."""

    trace: str
    """What named the run in the first process that traced it; "" if none did."""

    origin_trace: str
    """The same of the run that it is a retry or a fork of."""

    memo: Memo | None
    """Has the answers of earlier calls; None: there are none, and none are kept."""

    def settled(self, within: str, wrapped: dict[int, Any]) -> Mapping[str, TaskResult]:
        """The tasks inside a path that have settled, by id; `wrapped` gets what was wrapped."""

    def item(self, path: str, index: int, wrapped: dict[int, Any]) -> ItemResult | None:
        """The item of a `for_each` that has settled, or None; `wrapped` gets what was wrapped."""

    def answer(self, call: Call) -> Answer | None:
        """How a call has ended, or None."""

    def attempts(self, call: Call, attempt: Attempt) -> tuple[int, float]:
        """How many attempts of it have failed, and the rest of the wait for the next, seconds."""

    def began(self, path: str, item: int | None = None) -> float:
        """How long ago something began, seconds; 0 the first time, which is noted."""

    def since(self, path: str, now_s: float) -> float:
        """When something began, seconds of the run; `now_s` the first time, which is noted."""

    def begin_anew(self, path: str) -> None:
        """What `since` noted begins when the run is taken up again."""

    def enter(self, within: str, attempt: int) -> float:
        """How long ago this attempt began to run the workflow inside a path, seconds.

        It is 0 for one that begins now: what was kept of the attempts before is forgotten.
        """

    begun: Callable[[], Mapping[str, Mapping[int | None, int]]]
    """The paths of tasks of which an item has settled, or inside of which a workflow began; of each
    the latest attempt of each such workflow, by its item: None for that of the whole task."""

    def note_tools(self, tools: Iterable[Tool]) -> None:
        """These may be called later, with these definitions."""

    def note_tool(self, tool: Tool) -> None:
        """A call of a tool is about to be made, with this definition of it.

        Raises:
            CallError: It has another definition than when the run began.
        """

    def note_reused(self, task: str) -> None:
        """A task is about to settle with the result of an earlier run."""

    def note_settled(self, path: str, result: TaskResult, wrapped: Mapping[int, Any]) -> None:
        """A task has settled."""

    def note_item(self, path: str, result: ItemResult, wrapped: Mapping[int, Any]) -> None:
        """An item of a `for_each` has settled."""

    def note_answer(self, call: Call, answer: Answer) -> None:
        """A call of a task that goes on has ended."""

    def note_failure(
        self, call: Call, attempt: Attempt, error: TaskError, wait_s: float | None
    ) -> None:
        """An attempt has failed, and the next one follows after a wait, unless that is None."""

    def withdraw_intent(self, call: Call, number: int) -> None:
        """An attempt does nothing as of now: its server waits for an answer."""

    async def note_intent(self, call: Call, number: int) -> None:
        """An attempt is about to leave whose repetition may do harm; returns when it is durable.

        Raises:
            CallError: It must not leave.
        """

    has_unknown: bool
    """Whether any call may have been carried out of which no outcome is kept."""

    def unknown(self, call: Call, attempt: Attempt) -> str:
        """What tells a call from others if it left before, and nobody knows its outcome; or ""."""

    def reply(self, question: Question) -> Reply | None:
        """The reply that is kept, also one for all items; None if there is none."""

    async def note_question(self, question: Question) -> None:
        """A question is about to be asked; returns when that is durable."""

    async def note_reply(self, question: Question, reply: Reply, *, of_all: bool) -> Reply:
        """A question is answered, or that of all items; returns when that is durable.

        Returns:
            The reply that counts, which is the first one.
        """

    def spent(self, key: str) -> tuple[int, int]:
        """How many calls, and bytes of answers, earlier processes spent of a budget."""

    def note_spent(self, key: str, calls: int, size: int) -> None:
        """So many calls, and bytes of answers, are spent of a budget in all."""

    def note_trace(self, trace: str) -> None:
        """This process traces the run under a name."""

    def note_stop(self, stop: Stop) -> None:
        """The run ends early."""


def unknown_outcome(call: Call) -> CallError:
    """The error of a call that may have been carried out, and that nobody wants to be repeated."""
    message = f"the process that called {call.target} ended before the answer came"
    why = "whether the call was carried out is unknown, and its tool may not be repeatable"
    return CallError(
        "server_unavailable", f"{message}: {why}", retryable=False, lost=True, unknown=True
    )
