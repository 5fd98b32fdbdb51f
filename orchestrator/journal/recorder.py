"""Keeps one run in the journal, and has what earlier processes kept of it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.encode import to_json
from orchestrator.engine.outcome import Cancelled, Skipped, outcome_from_dict
from orchestrator.engine.recorder import Answer, Recorder
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.summary import Stop
from orchestrator.errors import CallError, InvalidArgumentsError, TaskError
from orchestrator.journal.writer import Lease, Writer
from orchestrator.schema.tool import Tool, definition_of, hash_of

Unknown = Literal["ask", "repeat", "fail"]
"""What becomes of a call that may have been carried out: a person decides, it is made again, or its
task fails."""

_WRITE = "insert or replace into record values(?, ?, ?, ?, ?, ?, ?, ?)"
_FORGET = "delete from record where run=? and substr(path, 1, ?)=?"
_NO_ITEM = -1


class Key(NamedTuple):
    """What a record is about. `number` is the turn of a `repeat`, or the number of an attempt."""

    kind: str
    path: str
    item: int = _NO_ITEM
    fallback: bool = False
    number: int = 0

    @classmethod
    def of(cls, kind: str, call: Call, number: int = 0) -> Key:
        """The key of a record about a call."""
        item = _NO_ITEM if call.item is None else call.item
        return cls(kind, call.task, item, call.is_fallback, number)


class Record(NamedTuple):
    """A record: when it was made, seconds since 1970, and what it says, as JSON text or None."""

    at: float
    payload: str | None


class RunRecorder(Recorder):
    """Keeps a run; see `Recorder`.

    Args:
        writer: Writes to the journal.
        lease: That this process carries the run.
        records: What earlier processes kept.
        elapsed_s: How long they carried it.
        unknown: What becomes of calls that may have been carried out.
        keeps_outputs: Whether outputs are kept; without them the run cannot go on.
        now: Gives the time of day, seconds since 1970.
    """

    def __init__(
        self,
        writer: Writer,
        lease: Lease,
        records: Mapping[Key, Record] | None = None,
        *,
        elapsed_s: float = 0.0,
        unknown: Unknown = "ask",
        keeps_outputs: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._writer, self._lease = writer, lease
        self._records = dict(records or {})
        self._unknown, self._keeps_outputs = unknown, keeps_outputs
        self._tools: set[str] = set()  # that were noted, or are as they were
        self._kept: set[Key] = set()  # items and tasks inside, of what has not settled
        self.elapsed_s = elapsed_s
        self.stop = self._stopped()
        self._tasks: dict[str, dict[str, Key]] = defaultdict(dict)  # by what they are inside of
        self._items: dict[str, list[Key]] = defaultdict(list)
        for key in self._records:
            if key.kind == "task":
                within, _, task = key.path.rpartition("/")
                self._tasks[within and within + "/"][task] = key
            elif key.kind == "item":
                self._items[key.path].append(key)

    @property
    def error(self) -> Exception | None:
        """Why nothing more is kept; None if all is well."""
        return self._lease.error or self._writer.error

    def unknown_calls(self) -> Iterator[Key]:
        """The calls that left, and of which no outcome is kept."""
        for key in self._records:
            kind, _, turn = key.kind.partition(" ")
            if kind == "intent" and self._records.keys().isdisjoint(
                (
                    Key("task", key.path),
                    Key("item", key.path, key.item),
                    key._replace(kind="answer", number=int(turn)),
                    key._replace(kind=f"failure {turn}"),
                )
            ):
                yield key

    def settled(self, within: str, wrapped: dict[int, Any]) -> Mapping[str, TaskResult]:
        """See `Recorder`."""
        found = self._tasks.get(within, {})
        if within:
            self._kept.update(found.values())
        return {task: self._task(task, key, wrapped) for task, key in found.items()}

    def item(self, path: str, index: int, wrapped: dict[int, Any]) -> ItemResult | None:
        """See `Recorder`."""
        key = Key("item", path, index)
        if key not in self._records:
            return None
        document = self._payload(key)
        inside = self.settled(f"{path}[{index}]/", {})
        result = ItemResult.from_dict(document | _tasks(inside), document.get("output"))
        _note_wrapped(document, result.output, wrapped)
        self._kept.add(key)
        return result

    def answer(self, call: Call) -> Answer | None:
        """See `Recorder`."""
        key = Key.of("answer", call, call.turn)
        if key not in self._records:
            return None
        document = self._payload(key)
        outcome = outcome_from_dict(document)
        assert not isinstance(outcome, Skipped | Cancelled)
        ago_s, wrapped = self._ago_s(key), document.get("wrapped", False)
        return Answer(outcome, document["attempts"], ago_s, document["started_ms"], wrapped)

    def attempts(self, call: Call, attempt: Attempt) -> tuple[int, float]:
        """See `Recorder`."""
        made, wait_s = 0, 0.0
        first = attempt.number + 1
        while (key := Key.of(f"failure {call.turn}", call, first + made)) in self._records:
            made += 1
            wait_s = self._payload(key)["wait_s"] - self._ago_s(key)
        return made, max(0.0, wait_s)

    def began(self, path: str, item: int | None = None) -> float:
        """See `Recorder`."""
        key = Key("began", path, _NO_ITEM if item is None else item)
        if key in self._records:
            return self._ago_s(key)
        self._records[key] = Record(self._now(), None)
        self._note(key, None)
        return 0.0

    def enter(self, within: str, attempt: int) -> float:
        """See `Recorder`."""
        key = Key("inside", within[:-1], number=attempt)
        if key in self._records:
            return self._ago_s(key)
        if attempt > 1:
            self._forget(within)
        self._note(key, None)
        return 0.0

    def _forget(self, within: str) -> None:
        inside = [key for key in self._records if key.path.startswith(within)]
        for key in inside:
            del self._records[key]
        self._kept = {key for key in self._kept if not key.path.startswith(within)}
        for index in (self._tasks, self._items):
            for path in [each for each in index if each.startswith(within)]:
                del index[path]
        values = self._lease.run, len(within), within
        self._writer.put(self._lease, _FORGET, lambda: values)

    def note_tool(self, tool: Tool) -> None:
        """See `Recorder`."""
        if tool.target in self._tools:
            return
        self._tools.add(tool.target)
        key, digest = Key("tool", tool.target), hash_of(tool.name, definition_of(tool))
        if key not in self._records:
            self._note(key, lambda: {"hash": digest})
        elif self._payload(key)["hash"] != digest:
            self._tools.discard(tool.target)
            why = f"{tool.target} has another definition than when the run began"
            raise InvalidArgumentsError(f'{why}; "orchestrator fork" makes a new run with it')

    def note_settled(self, path: str, result: TaskResult, wrapped: Mapping[int, Any]) -> None:
        """See `Recorder`."""
        self._keep_inside(f"{path}/", result.tasks)
        for item in result.items or ():
            if Key("item", path, item.index) not in self._kept:
                self.note_item(path, item, wrapped)
        is_wrapped = id(result.output) in wrapped
        self._keep(Key("task", path), lambda: _of_task(result, is_wrapped))
        self._kept -= {Key("item", path, item.index) for item in result.items or ()}

    def note_item(self, path: str, result: ItemResult, wrapped: Mapping[int, Any]) -> None:
        """See `Recorder`."""
        self._keep_inside(f"{path}[{result.index}]/", result.tasks)
        is_wrapped = id(result.output) in wrapped
        self._keep(Key("item", path, result.index), lambda: _of_item(result, is_wrapped))

    def _keep_inside(self, within: str, tasks: Mapping[str, TaskResult] | None) -> None:
        """Keep what was not kept when it settled: it might have been done again."""
        for task, result in (tasks or {}).items():
            if Key("task", within + task) not in self._kept:
                self.note_settled(within + task, result, {})
            self._kept.discard(Key("task", within + task))

    def _keep(self, key: Key, document: Callable[[], Mapping[str, Any]]) -> None:
        if "/" in key.path or key.kind == "item":  # it settles again, with what it is a part of
            self._kept.add(key)
        self._note(key, document)

    def note_answer(self, call: Call, answer: Answer) -> None:
        """See `Recorder`."""
        self._note(Key.of("answer", call, call.turn), lambda: _of_answer(answer))

    def note_failure(
        self, call: Call, attempt: Attempt, error: TaskError, wait_s: float | None
    ) -> None:
        """See `Recorder`."""
        if wait_s is not None:
            key = Key.of(f"failure {call.turn}", call, attempt.number)
            self._note(key, lambda: {"wait_s": wait_s, "error": error.to_dict()})

    async def note_intent(self, call: Call, attempt: Attempt) -> None:
        """See `Recorder`."""
        key = Key.of(f"intent {call.turn}", call, attempt.number + 1)
        if self._records.pop(key, None) is not None and self._unknown != "repeat":
            message = f"the process that called {call.target} ended before the answer came"
            why = "whether the call was carried out is unknown, and its tool may not be repeatable"
            raise CallError(
                "server_unavailable", f"{message}: {why}", retryable=False, lost=True, unknown=True
            )
        self._note(key, None)
        await self._writer.flush()
        if self.error is not None:
            message = f"{call.target} was not called, as nothing can be kept of it: {self.error}"
            raise CallError("internal", message, retryable=False)

    def note_stop(self, stop: Stop) -> None:
        """See `Recorder`."""
        document = {
            "reason": stop.reason,
            "status": stop.status,
            "error": None if stop.error is None else stop.error.to_dict(),
            "not_begun": stop.not_begun.to_dict(),
        }
        self._note(Key("stop", ""), lambda: document)

    def _stopped(self) -> Stop | None:
        key = Key("stop", "")
        if key not in self._records:
            return None
        document = self._payload(key)
        not_begun, error = outcome_from_dict(document["not_begun"]), document["error"]
        assert isinstance(not_begun, Skipped | Cancelled)
        return Stop(
            document["reason"], document["status"], error and TaskError.from_dict(error), not_begun
        )

    def _task(self, task: str, key: Key, wrapped: dict[int, Any]) -> TaskResult:
        document = self._payload(key)
        inside = self.settled(f"{key.path}/", {})
        if document.pop("has_items", False):
            items = [self.item(key.path, each.item, wrapped) for each in self._items[key.path]]
            found = sorted(
                (each for each in items if each is not None), key=lambda each: each.index
            )
            result = TaskResult.from_dict(task, {"output": None, **document, "items": None})
            outcome = result.outcome
            if "output" not in document and not isinstance(outcome, Skipped):
                # The output is the list of those of the items: it is not kept twice.
                outputs = [each.output for each in found]
                outcome = outcome_from_dict(document | {"output": outputs})
            return replace(result, outcome=outcome, items=tuple(found))
        result = TaskResult.from_dict(task, {"output": None, **document, **_tasks(inside)})
        _note_wrapped(document, result.output, wrapped)
        return result

    def _payload(self, key: Key) -> dict[str, Any]:
        payload = self._records[key].payload
        assert payload is not None
        document: dict[str, Any] = json.loads(payload)
        return document

    def _ago_s(self, key: Key) -> float:
        return max(0.0, self._now() - self._records[key].at)

    def _note(self, key: Key, document: Callable[[], Mapping[str, Any]] | None) -> None:
        at = self._now()

        def values() -> tuple[object, ...]:
            return (
                self._lease.run,
                key.kind,
                key.path,
                key.item,
                key.fallback,
                key.number,
                at,
                None if document is None else to_json(self._without_outputs(document())),
            )

        self._writer.put(self._lease, _WRITE, values)

    def _without_outputs(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._keeps_outputs or "output" not in document:
            return document
        return {name: value for name, value in document.items() if name != "output"}


def _of_task(result: TaskResult, is_wrapped: bool) -> dict[str, Any]:
    document = result.to_dict()
    document.pop("tasks", None)
    if document.pop("items", None) is not None:
        document["has_items"] = True
        if not result.recovered:
            del document["output"]
    return document | ({"wrapped": True} if is_wrapped else {})


def _of_item(result: ItemResult, is_wrapped: bool) -> dict[str, Any]:
    document = result.to_dict()
    document.pop("tasks", None)
    return document | {"output": result.output} | ({"wrapped": True} if is_wrapped else {})


def _of_answer(answer: Answer) -> dict[str, Any]:
    measures = {"attempts": answer.attempts, "started_ms": answer.started_ms}
    return answer.outcome.to_dict() | measures | ({"wrapped": True} if answer.wrapped else {})


def _tasks(inside: Mapping[str, TaskResult]) -> dict[str, Any]:
    return {"tasks": {task: each.to_dict() for task, each in inside.items()}} if inside else {}


def _note_wrapped(document: Mapping[str, Any], output: Any, wrapped: dict[int, Any]) -> None:
    if document.get("wrapped"):
        wrapped[id(output)] = output
