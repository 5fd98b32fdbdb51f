"""Keeps one run in the journal, and has what earlier processes kept of it.

A few lines longer than other files: one class keeps all that a `Recorder` keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

from anyio import to_thread

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.encode import to_json
from orchestrator.engine.items import Joined
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.recorder import Answer, Memo, Recorder, unknown_outcome
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.summary import Stop
from orchestrator.errors import CallError, InvalidArgumentsError, JournalError, TaskError
from orchestrator.journal.documents import of_answer, of_item, of_question, of_stop, of_task
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.kept import replies_of
from orchestrator.journal.records import (
    NO_ITEM,
    TAKEN_OVER,
    WRITE,
    WRITE_ONCE,
    Key,
    Record,
    Records,
    question_key,
    reply_key,
)
from orchestrator.journal.writer import Lease, Writer
from orchestrator.schema.tool import Tool

Unknown = Literal["ask", "repeat", "fail"]
"""What becomes of a call that may have been carried out: a person decides, it is made again, or its
task fails."""

Document = Callable[[], Mapping[str, Any]]


_WITHDRAW = (
    "delete from record where run=? and kind=? and path=? and item=? and fallback=? and number=?"
)
_VALUES = ("output", "arguments", "value")  # what is left out without outputs
_FORGET = "delete from record where run=? and substr(path, 1, ?)=?"


class RunRecorder(Recorder):
    """Keeps a run; see `Recorder`.

    Args:
        writer: Writes to the journal.
        lease: That this process carries the run.
        records: What earlier processes kept.
        elapsed_s: How long they carried it.
        resumed: How often it was taken up again.
        unknown: What becomes of calls that may have been carried out.
        keeps_outputs: Whether outputs are kept; without them the run cannot go on.
        hiding: Hides the secrets in what is kept, and restores them.
    """

    memo: Memo | None = None

    def __init__(
        self,
        writer: Writer,
        lease: Lease,
        records: Mapping[Key, Record] | None = None,
        *,
        elapsed_s: float = 0.0,
        resumed: int = 0,
        unknown: Unknown = "ask",
        keeps_outputs: bool = True,
        hiding: Hiding | None = None,
    ) -> None:
        self.hiding = hiding or Hiding()
        self._writer, self._lease, self.now = writer, lease, time.time
        self._records = records if isinstance(records, Records) else Records(records or {})
        self.trace, self.origin_trace, self.begun = self._records.trace(), "", self._records.begun
        self._unknown, self.keeps_outputs = unknown, keeps_outputs
        self._tools: set[str] = set()  # that were noted, or are as they were
        self._kept: set[Key] = set()  # items and tasks inside, of what has not settled
        self._reused: set[str] = set()  # tasks that an earlier run has made
        self.resumed = resumed
        self.elapsed_s, self.stop = elapsed_s, self._records.stop()
        self._unknown_calls = {key: self._records[key] for key in self._records.unknown_calls()}
        self.has_unknown = bool(self._unknown_calls)

    @property
    def error(self) -> Exception | None:
        """Why nothing more is kept; None if all is well."""
        return self._lease.error or self._writer.error

    def has_settled(self, task: str) -> bool:
        """Whether earlier processes kept the outcome of a task."""
        return Key("task", task) in self._records

    def settled(self, within: str, wrapped: dict[int, Any]) -> Mapping[str, TaskResult]:
        """See `Recorder`."""
        if within:
            self._kept.update(self._records.inside(within))
        return self._records.settled(within, wrapped)

    def item(self, path: str, index: int, wrapped: dict[int, Any]) -> ItemResult | None:
        """See `Recorder`."""
        if (found := self._records.item(path, index, wrapped)) is not None:
            self._kept.add(Key("item", path, index))
            self._kept.update(self._records.inside(f"{path}[{index}]/"))
        return found

    def answer(self, call: Call) -> Answer | None:
        """See `Recorder`."""
        key = Key.of("answer", call, call.turn)
        return self._records.answer(call, self._ago_s(key)) if key in self._records else None

    def attempts(self, call: Call, attempt: Attempt) -> tuple[int, float]:
        """See `Recorder`."""
        made, wait_s, first = 0, 0.0, attempt.number + 1
        while (key := Key.of(f"failure {call.turn}", call, first + made)) in self._records:
            made += 1
            wait_s = self._records.payload(key)["wait_s"] - self._ago_s(key)
        return made, max(0.0, wait_s)

    def began(self, path: str, item: int | None = None) -> float:
        """See `Recorder`."""
        key = Key("began", path, NO_ITEM if item is None else item)
        if key in self._records:
            return self._ago_s(key)
        self._records[key] = Record(self.now(), None)
        self._note(key, None)
        return 0.0

    def since(self, path: str, now_s: float) -> float:
        """See `Recorder`."""
        key = Key("since", path)
        if key in self._records:
            return float(self._records.payload(key)["s"])
        self._note(key, lambda: {"s": now_s})
        return now_s

    def begin_anew(self, path: str) -> None:
        """See `Recorder`."""
        self._withdraw(Key("since", path))

    def _withdraw(self, key: Key) -> None:
        values = self._run_of(key), *key
        self._writer.put(self._lease, _WITHDRAW, lambda: values)

    def _run_of(self, key: Key) -> str:  # noqa: ARG002 - a part of a run keeps some with that
        """The run that a record is kept of."""
        return self._lease.run

    def enter(self, within: str, attempt: int) -> float:
        """See `Recorder`."""
        key = Key("inside", within[:-1], number=attempt)
        if key in self._records:
            return self._ago_s(key)
        if attempt > 1:
            self._records.forget(within)
            self._kept = {key for key in self._kept if not key.path.startswith(within)}
            values = self._run_of(key), len(within), within
            self._writer.put(self._lease, _FORGET, lambda: values)
        self._note(key, None)
        return 0.0

    def note_tools(self, tools: Iterable[Tool]) -> None:
        """See `Recorder`."""
        for tool in tools:
            if tool.target not in self._tools and Key("tool", tool.target) not in self._records:
                self.note_tool(tool)

    def note_tool(self, tool: Tool) -> None:
        """See `Recorder`."""
        if tool.target in self._tools:
            return
        key, digest = Key("tool", tool.target), tool.digest
        if key in self._records and self._records.payload(key)["hash"] != digest:
            why = f"{tool.target} has another definition than when the run began"
            raise InvalidArgumentsError(f'{why}; "orchestrator retry" makes a new run with it')
        self._tools.add(tool.target)
        if key not in self._records:
            self._note(key, lambda: {"hash": digest, "read_only": bool(tool.read_only)})

    def note_added(self, task: str, number: int, document: Mapping[str, Any]) -> None:
        """Keep a task that was added to the plan, before anything that it does."""
        self._note(Key("added", task, number=number), lambda: {"task": document})

    def note_reused(self, task: str) -> None:
        """See `Recorder`."""
        self._reused.add(task)

    def note_settled(self, path: str, result: TaskResult, wrapped: Mapping[int, Any]) -> None:
        """See `Recorder`."""
        self._keep_inside(f"{path}/", result.tasks)
        items = result.items or ()
        if isinstance(items, Joined):  # the others were kept as they settled
            items = tuple(items.missing())
        for item in items:
            if Key("item", path, item.index) not in self._kept:
                self.note_item(path, item, wrapped)
        is_wrapped = id(result.output) in wrapped
        self._keep(Key("task", path), lambda: of_task(result, is_wrapped=is_wrapped))
        self._kept -= {Key("item", path, item.index) for item in items}

    def note_item(self, path: str, result: ItemResult, wrapped: Mapping[int, Any]) -> None:
        """See `Recorder`."""
        self._keep_inside(f"{path}[{result.index}]/", result.tasks)
        is_wrapped = id(result.output) in wrapped
        key = Key("item", path, result.index)
        self._keep(key, lambda: of_item(result, is_wrapped=is_wrapped))

    def _keep_inside(self, within: str, tasks: Mapping[str, TaskResult] | None) -> None:
        """Keep what was not kept when it settled: it might have been done again."""
        for task, result in (tasks or {}).items():
            if Key("task", within + task) not in self._kept:
                self.note_settled(within + task, result, {})
            self._kept.discard(Key("task", within + task))

    def _keep(self, key: Key, document: Document) -> None:
        if "/" in key.path or key.kind == "item":  # it settles again, with what it is a part of
            self._kept.add(key)
        self._note(key, document, at=TAKEN_OVER if key.task in self._reused else None)

    def note_answer(self, call: Call, answer: Answer) -> None:
        """See `Recorder`."""
        self._note(Key.of("answer", call, call.turn), lambda: of_answer(answer))

    def note_failure(
        self, call: Call, attempt: Attempt, error: TaskError, wait_s: float | None
    ) -> None:
        """See `Recorder`."""
        if wait_s is not None:
            key = Key.of(f"failure {call.turn}", call, attempt.number)
            self._note(key, lambda: {"wait_s": wait_s, "error": error.to_dict()})

    def unknown(self, call: Call, attempt: Attempt) -> str:
        """See `Recorder`."""
        key = Key.of(f"intent {call.turn}", call, attempt.number + 1)
        if (left := self._unknown_calls.get(key)) is None or self._unknown == "repeat":
            return ""
        if self._unknown == "fail":
            raise unknown_outcome(call)
        return f"{left.at:.6f}"  # it may become unknown once more

    def withdraw_intent(self, call: Call, number: int) -> None:
        """See `Recorder`."""
        self._withdraw(Key.of(f"intent {call.turn}", call, number))

    async def note_intent(self, call: Call, number: int) -> None:
        """See `Recorder`."""
        key = Key.of(f"intent {call.turn}", call, number)
        self._unknown_calls.pop(key, None)
        self._note(key, None)
        await self._writer.flush(self._lease)
        if self.error is not None:
            message = f"{call.target} was not called, as nothing can be kept of it: {self.error}"
            raise CallError("internal", message, retryable=False)

    def copy(self, records: Mapping[Key, Record]) -> None:
        """Keep records of another run as those of this one."""
        for key, record in records.items():
            self._writer.put(self._lease, WRITE, partial(self._copied, key, record))

    def _copied(self, key: Key, record: Record) -> tuple[object, ...]:
        payload = record.payload and self.hiding.hide(record.payload)
        at = TAKEN_OVER if key.kind in ("task", "item") else record.at
        return self._lease.run, *key, at, payload

    def reply(self, question: Question) -> Reply | None:
        """See `Recorder`."""
        return self._records.reply(question)

    async def note_question(self, question: Question) -> None:
        """See `Recorder`."""
        key = question_key(question)
        if key not in self._records:
            self._note(key, lambda: of_question(question))
        await self._writer.flush()

    async def note_reply(self, question: Question, reply: Reply, *, of_all: bool) -> Reply:
        """See `Recorder`."""
        key = reply_key(question, of_all=of_all)
        self._note(key, reply._asdict, WRITE_ONCE)
        await self._writer.flush()
        await self.read_replies()
        return self._records.reply(question) or reply

    async def read_replies(self) -> None:
        """Take over the replies that other processes have written."""
        try:
            of_run = self._writer.location, self._lease.run, self.hiding.restore
            found = await to_thread.run_sync(replies_of, *of_run)
        except JournalError:
            return  # `error` says why
        self._records.update(found)

    def spent(self, key: str) -> tuple[int, int]:
        """See `Recorder`."""
        return self._records.spent(key)

    def note_spent(self, key: str, calls: int, size: int) -> None:
        """See `Recorder`."""
        self._note(Key("spent", key), lambda: {"calls": calls, "bytes": size})

    def note_stop(self, stop: Stop) -> None:
        """See `Recorder`."""
        document = of_stop(stop)
        self._note(Key("stop", ""), lambda: document)

    def spread(self, task: str) -> dict[str, int] | None:
        """How a task is spread; None if it is not."""
        key = Key("spread", task)
        return self._records.payload(key) if key in self._records else None

    def note_spread(self, task: str, how: Mapping[str, int]) -> None:
        """Keep how a task is spread."""
        self._note(Key("spread", task), lambda: how, WRITE_ONCE)

    def note_trace(self, trace: str) -> None:
        """See `Recorder`."""
        self._note(Key("trace", "", number=self.resumed), lambda: {"traceparent": trace})

    def _ago_s(self, key: Key) -> float:
        return max(0.0, self.now() - self._records[key].at)

    def _note(
        self,
        key: Key,
        document: Document | None,
        statement: str = WRITE,
        at: float | None = None,
    ) -> None:
        at = self.now() if at is None else at

        def values() -> tuple[object, ...]:
            text = None if document is None else self._text(document())
            return (self._run_of(key), *key, at, text)

        self._writer.put(self._lease, statement, values)

    def _text(self, document: Mapping[str, Any]) -> str:
        if not self.keeps_outputs:
            document = {name: value for name, value in document.items() if name not in _VALUES}
        return self.hiding.hide(to_json(document))
