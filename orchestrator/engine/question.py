"""A question to a person, and the reply to it."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

from orchestrator.calls.causes import Cause
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.errors import AnswerError

QuestionKind = Literal["ask", "approve", "elicitation", "unknown"]
MAX_FIELDS = 8  # of a form, in the command that answers it
YES_OR_NO: Mapping[str, Any] = {"type": "boolean"}
_OUTPUT = {
    "type": "object",
    "required": ["output"],
    "properties": {"output": {}},
    "additionalProperties": False,
}
DECISION: Mapping[str, Any] = {"anyOf": [{"enum": ["repeat", "fail"]}, _OUTPUT]}


def decision(output: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The schema of a decision, for a call whose output has this one."""
    if output is None:
        return DECISION
    own = {"$id": "urn:output", **output}  # with one, its references stay within it
    return {"anyOf": [{"enum": ["repeat", "fail"]}, _OUTPUT | {"properties": {"output": own}}]}


ANSWER = Cause("answer")


class Reply(NamedTuple):
    """What a person replied: a value that fits the schema of the question, or a refusal."""

    value: Any = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question that a task waits with.

    Attributes:
        task: The task, with those that it is inside of, as in `outer[3]/inner`.
        item: The position of its item under `for_each`, or None.
        kind: `ask`: of a task; `approve`: whether a call may be made; `elicitation`: of a server
            that works on a call; `unknown`: what becomes of a call that may have been carried out.
        message: The question, for people.
        schema: The JSON Schema of the reply; None if it is only confirmed.
        arguments: Those of the call that it is about; None without one.
        turn: The turn of `repeat` that it is about, from 0.
        is_fallback: Whether it is about the call of a fallback.
        about: What tells it from others of its kind about the same call.
    """

    task: str
    item: int | None
    kind: QuestionKind
    message: str
    schema: Mapping[str, Any] | None
    arguments: Mapping[str, Any] | None = None
    turn: int = 0
    is_fallback: bool = False
    about: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from all others of its run."""
        return self.kind, self.about, self.task, self.item, self.turn, self.is_fallback

    def stands_for(self, other: Question) -> bool:
        """Whether a reply to it is one to another question: servers ask several calls to have the
        same done, as to log in."""
        is_confirmed = self.kind == "elicitation" and self.schema is None
        return is_confirmed and (other.kind, other.message) == (self.kind, self.message)

    @property
    def where(self) -> str:
        """The task, with its item."""
        return self.task if self.item is None else f"{self.task}[{self.item}]"

    @property
    def form(self) -> str:
        """What stands for its answer in a command: each field of an object, or one value."""
        fields = list((self.schema or {}).get("properties") or ())[:MAX_FIELDS]
        return " ".join(f"{shlex.quote(str(name))}=VALUE" for name in fields) or "VALUE"

    def is_answered_with(self, other: Question, *, all_items: bool) -> bool:
        """Whether a reply to it, or to all its items, is one to another question, too."""
        same = other.task == self.task and other.kind == self.kind
        return same and (all_items or other.item == self.item)

    def to_dict(self) -> dict[str, Any]:
        """The question as the result document has it."""
        names = ("task", "item", "kind", "message", "schema", "arguments")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The question of a result document."""
        return cls(**document)


def one_of(
    questions: Sequence[Question], task: str, item: int | None, *, all_items: bool = False
) -> Question:
    """The one question of a task, or of an item of it; the first one, if all items are meant.

    Raises:
        AnswerError: There is none, or there are those of several items.
    """
    of_task = [each for each in questions if each.task == task]
    found = [each for each in of_task if item is None or each.item == item]
    if not found:
        raise AnswerError(_nothing_open(questions, task, item))
    if item is None and not all_items and len({each.item for each in found}) > 1:
        items = ", ".join(str(each.item) for each in found[:5])
        more = ", ..." if len(found) > 5 else ""
        fix = "name one with --item (in Python item=), or answer for all with --all-items"
        raise AnswerError(f"task {quoted(task)} waits with items {items}{more}: {fix}")
    return found[0]


def _nothing_open(questions: Sequence[Question], task: str, item: int | None) -> str:
    where = quoted(task) if item is None else f"{quoted(task)}, item {item},"
    tasks = list(dict.fromkeys(each.task for each in questions))
    if not tasks:
        return f"no question of task {where} is open, and none of any other"
    waiting = did_you_mean(task, tasks) or f": these wait: {', '.join(map(quoted, tasks[:5]))}"
    return f"no question of task {where} is open{waiting}"


AnswerCallback = Callable[[Question], Awaitable[Any] | Any]
"""Answers a question with a value that fits its schema: true or false for an approval. None: it
stays open. It raises `RefusedError` to refuse. Several may be asked at a time."""

OnReply = Callable[[Question, Reply], None]
