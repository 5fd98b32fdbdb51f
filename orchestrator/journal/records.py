"""What is kept of a run, and the results that can be made of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from orchestrator.calls.call import Call
from orchestrator.documents.text import quoted
from orchestrator.engine.items import Joined
from orchestrator.engine.outcome import Cancelled, Failure, Skipped, Success, outcome_from_dict
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.recorder import Answer
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.summary import Stop
from orchestrator.errors import TaskError
from orchestrator.journal.documents import note_wrapped, waits_of
from orchestrator.journal.store import UnreadableError

NO_ITEM = -1
TAKEN_OVER = 0.0  # when a record was made that another run has made: its calls are not of this one
WRITE = "insert or replace into record values(?, ?, ?, ?, ?, ?, ?, ?)"
WRITE_ONCE = """insert into record(run, kind, path, item, fallback, number, at, payload)
values(?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"""

Made = TypeVar("Made")


class Key(NamedTuple):
    """What a record is about. `number` is the turn of a `repeat`, or the number of an attempt."""

    kind: str
    path: str
    item: int = NO_ITEM
    fallback: bool = False
    number: int = 0

    @property
    def task(self) -> str:
        """The task of the workflow itself that it is about, or about what is inside of it."""
        return self.path.partition("/")[0].partition("[")[0]

    @classmethod
    def of(cls, kind: str, call: Call, number: int = 0) -> Key:
        """The key of a record about a call."""
        item = NO_ITEM if call.item is None else call.item
        return cls(kind, call.task, item, call.is_fallback, number)


def utc(at_s: float) -> str:
    """A moment, seconds since 1970, in UTC: ISO 8601 with milliseconds."""
    at = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")


def _made(key: Key, make: Callable[[], Made]) -> Made:
    """What is made of a record. Raises `UnreadableError`."""
    try:
        return make()
    except UnreadableError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        what = f"the record {quoted(key.kind)} of {quoted(key.path)} cannot be read"
        why = f"{type(error).__name__}: {error}"
        raise UnreadableError(f'{what} ({why}): "orchestrator cancel" ends the run') from None


class Record(NamedTuple):
    """A record: when it was made, seconds since 1970, or `TAKEN_OVER`; and what it says.

    That is JSON text, or None.
    """

    at: float
    payload: str | None


class Records(dict[Key, Record]):
    """The records of a run.

    A task or an item is kept without what is inside of it, which has records of its own, and a
    `for_each` without the list of its outputs, which its items have.

    Attributes:
        elsewhere: The items that are not among these records, by the path of their task.
    """

    def __init__(self, records: Mapping[Key, Record]) -> None:
        super().__init__(records)
        self.elsewhere: dict[str, Joined] = {}
        self._tasks: dict[str, dict[str, Key]] = defaultdict(dict)  # by what they are inside of
        self._items: dict[str, list[int]] = defaultdict(list)
        self._begun: dict[str, dict[int | None, int]] | None = None
        for key in self:
            if key.kind == "task":
                within, _, task = key.path.rpartition("/")
                self._tasks[within and within + "/"][task] = key
            elif key.kind == "item":
                self._items[key.path].append(key.item)

    def payload(self, key: Key) -> dict[str, Any]:
        """What a record says."""
        return _made(key, lambda: dict(json.loads(self[key].payload or "null")))

    def added(self) -> list[dict[str, Any]]:
        """The tasks that were added to a plan while it grew."""
        keys = sorted((key.number, key) for key in self if key.kind == "added")
        return [self.payload(key)["task"] for _, key in keys]

    def trace(self) -> str:
        """What named the run in the first process that traced it; "" if none did."""
        known = [key for key in self if key.kind == "trace"]
        return str(self.payload(min(known))["traceparent"]) if known else ""

    def inside(self, within: str) -> list[Key]:
        """The tasks inside a path that have settled."""
        return list(self._tasks.get(within, {}).values())

    def items_under_way(self) -> dict[str, int]:
        """How many items have settled of each `for_each` that has not."""
        paths = sorted(self._items)
        return {path: len(self._items[path]) for path in paths if Key("task", path) not in self}

    def settled(self, within: str, wrapped: dict[int, Any]) -> Mapping[str, TaskResult]:
        """See `Recorder`."""
        found = self._tasks.get(within, {})
        return {
            task: _made(key, partial(self._task, task, key, wrapped)) for task, key in found.items()
        }

    def item(self, path: str, index: int, wrapped: dict[int, Any]) -> ItemResult | None:
        """See `Recorder`."""
        key = Key("item", path, index)
        return _made(key, partial(self._item, key, wrapped)) if key in self else None

    def _item(self, key: Key, wrapped: dict[int, Any]) -> ItemResult:
        document = self.payload(key)
        result = ItemResult.from_dict(document, document.get("output"))
        inside, waits = self.settled(f"{key.path}[{key.item}]/", {}), waits_of(document)
        result = replace(result, tasks=inside or None, waits=waits)
        note_wrapped(document, result.output, wrapped)
        return result

    def answer(self, call: Call, ago_s: float) -> Answer:
        """How a call has ended whose answer is kept."""
        document = self.payload(Key.of("answer", call, call.turn))
        outcome = outcome_from_dict(document)
        assert isinstance(outcome, Success | Failure)
        wrapped = document.get("wrapped", False)
        return Answer(outcome, document["attempts"], ago_s, document["started_ms"], wrapped)

    def questions(self) -> list[Question]:
        """The questions that nobody has answered, in the order in which they were asked."""
        asked = sorted((self[key].at, key) for key in self if key.kind.startswith("question "))
        read = lambda key: Question.from_dict(self.payload(key))  # noqa: E731
        found = [_made(key, partial(read, key)) for _, key in asked]
        return [each for each in found if self.reply(each) is None and not self._is_over(each)]

    def _is_over(self, question: Question) -> bool:
        """Whether what waited for the answer has settled without it."""
        item = NO_ITEM if question.item is None else question.item
        keys = Key("task", question.task), Key("item", question.task, item)
        return not self.keys().isdisjoint(keys)

    def reply(self, question: Question) -> Reply | None:
        """The reply to a question, or that for all items; None if there is none."""
        for key in (reply_key(question), reply_key(question, of_all=True)):
            if key in self:
                return Reply(**self.payload(key))
        return None

    def stop(self) -> Stop | None:
        """Why the run was ended early; None if it was not."""
        key = Key("stop", "")
        if key not in self:
            return None
        document = self.payload(key)
        not_begun, error = outcome_from_dict(document["not_begun"]), document["error"]
        assert isinstance(not_begun, Skipped | Cancelled)
        error = error and TaskError.from_dict(error)
        return Stop(document["reason"], document["status"], error, not_begun)

    def begun(self) -> dict[str, dict[int | None, int]]:
        """See `Recorder`."""
        if self._begun is not None:
            return self._begun
        found = self._begun = dict[str, dict[int | None, int]]()
        for key in self:
            if key.kind == "item":
                found.setdefault(key.path, {})
            elif key.kind == "inside":
                path, _, item = key.path.removesuffix("]").rpartition("[")
                is_item = key.path.endswith("]") and item.isdecimal()
                attempts = found.setdefault(path if is_item else key.path, {})
                which = int(item) if is_item else None
                attempts[which] = max(attempts.get(which, 0), key.number)
        return found

    def lost(self) -> list[str]:
        """The processes that failed while they carried it, in order."""
        keys = sorted(key for key in self if key.kind == "lost")
        return [self.payload(key)["owner"] for key in keys]

    def spent(self, key: str) -> tuple[int, int]:
        """How many calls, and bytes of answers, are spent of a budget."""
        if (kept := Key("spent", key)) not in self:
            return 0, 0
        spent = self.payload(kept)
        return spent["calls"], spent["bytes"]

    def unknown_calls(self) -> Iterator[Key]:
        """The calls that left, and of which no outcome is kept."""
        for key in self:
            kind, _, turn = key.kind.partition(" ")
            if kind == "intent" and self.keys().isdisjoint(
                (
                    Key("task", key.path),
                    Key("item", key.path, key.item),
                    key._replace(kind="answer", number=int(turn)),
                    key._replace(kind=f"failure {turn}"),
                )
            ):
                yield key

    def _in_doubt(self) -> Iterator[Key]:
        """The calls that left, and whose outcome nobody knows, those that failed for it too."""
        yield from self.unknown_calls()
        for key in self:
            if key.kind.partition(" ")[0] == "intent":
                settled = (Key("task", key.path), Key("item", key.path, key.item))
                kept = next((each for each in settled[key.item != NO_ITEM :] if each in self), None)
                error = kept and self.payload(kept).get("error")
                if error and error.get("details", {}).get("unknown"):
                    yield key

    def parts(
        self, whole: AbstractSet[str], of_items: AbstractSet[str]
    ) -> Iterator[tuple[Key, Record]]:
        """The records of whole tasks, of the items of others that succeeded, and of calls in doubt.

        Whether one of these is made again is a question: it may have been carried out.
        """
        for key in self._in_doubt():
            if key.task in of_items:
                yield key._replace(number=1), self[key]
        for key, record in self.items():
            if key.kind in ("tool", "added"):
                continue  # what a tool declares may have changed since
            is_item = key.kind == "item" and key.path in of_items
            if key.task in whole or (is_item and self.payload(key)["status"] == "success"):
                yield key, record

    def forget(self, within: str) -> None:
        """Drop what is inside a path."""
        for key in [key for key in self if key.path.startswith(within)]:
            del self[key]
        for index in (self._tasks, self._items):
            for path in [each for each in index if each.startswith(within)]:
                del index[path]

    def _task(self, task: str, key: Key, wrapped: dict[int, Any]) -> TaskResult:
        document = {"output": None, **self.payload(key)}
        if not document.pop("has_items", False):
            result = TaskResult.from_dict(task, document)
            inside, waits = self.settled(f"{key.path}/", {}), waits_of(document)
            result = replace(result, tasks=inside or None, waits=waits)
            note_wrapped(document, result.output, wrapped)
            return result
        items: Sequence[ItemResult] | None = self.elsewhere.get(key.path)
        if items is None:
            found = (self.item(key.path, index, wrapped) for index in sorted(self._items[key.path]))
            items = tuple(item for item in found if item is not None)
        if document.pop("is_list", False):
            document["output"] = [item.output for item in items]
            if isinstance(items, Joined):
                document["output"] = items.outputs(wrapped)
        outcome = outcome_from_dict(document)
        return replace(TaskResult.from_dict(task, document), outcome=outcome, items=items)


def question_key(question: Question) -> Key:
    """The key of a question."""
    item = NO_ITEM if question.item is None else question.item
    kind = f"question {question.kind} {question.about}".rstrip()
    return Key(kind, question.task, item, question.is_fallback, question.turn)


def reply_key(question: Question, *, of_all: bool = False) -> Key:
    """The key of the reply to a question, or of that for all items."""
    if of_all:
        return Key(f"reply {question.kind}", question.task)
    key = question_key(question)
    return key._replace(kind=key.kind.replace("question", "reply", 1))
