"""The questions of a run: which are open, where replies come from, when nothing else is left."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import listed, quoted
from orchestrator.engine.question import (
    ANSWER,
    AnswerCallback,
    OnReply,
    Question,
    QuestionKind,
    Reply,
    one_of,
)
from orchestrator.engine.recorder import Recorder
from orchestrator.errors import AnswerError, CallError, RefusedError
from orchestrator.schema.validator import Validator

# How often a run that has open questions is looked at, seconds: it pauses when nothing else was
# left twice in a row, as what was just released has begun by then.
CHECK_S = 0.025
# The process stays for a question whose time limit ends that soon, seconds.
STAY_S = 60.0


class _Open:
    """A question that nobody has answered."""

    def __init__(self, question: Question, ends_at: float, late_at: float) -> None:
        self.question, self.ends_at, self.late_at = question, ends_at, late_at
        self.answered, self.over = anyio.Event(), anyio.Event()
        self.reply: Reply | None = None
        self.error: CallError | None = None
        self.is_being_asked = False

    def settle(self, reply: Reply) -> None:
        """Take the first reply."""
        self.reply = self.reply or reply
        self.answered.set()


class Questions:
    """Asks people.

    Args:
        callback: Is asked first; None if nobody is there.
        recorder: Keeps questions and replies; None: nothing is kept.
        on_reply: Receives each question that was answered.
        waits: Whether replies are waited for when nothing else is left.

    Attributes:
        is_idle: Whether nothing but questions is left of the run.
        pause: Ends the run until it is taken up again.
    """

    is_idle: Callable[[], bool]
    pause: Callable[[], None]

    def __init__(
        self,
        callback: AnswerCallback | None,
        recorder: Recorder | None = None,
        on_reply: OnReply | None = None,
        *,
        waits: bool,
    ) -> None:
        self._callback, self._recorder, self._waits = callback, recorder, waits
        self._on_reply = on_reply or _ignored
        self._open: list[_Open] = []
        self._replies: dict[tuple[object, ...], Reply] = {}  # by the key of the question
        self._of_all: dict[tuple[str, QuestionKind], Reply] = {}
        self._watch = anyio.Lock()

    @property
    def open(self) -> list[Question]:
        """The questions that nobody has answered, in the order in which they were asked."""
        return [each.question for each in self._open if not each.answered.is_set()]

    @property
    def left_s(self) -> float:
        """After how long the first of the open ones needs no reply any more, seconds."""
        ends = (min(each.ends_at, each.late_at) for each in self._open)
        return min(ends, default=math.inf) - anyio.current_time()

    async def ask(
        self,
        question: Question,
        call: Call,
        attempt: Attempt,
        on_open: Callable[[bool], None],
        limit_s: float = math.inf,
        late_s: float = math.inf,
    ) -> Reply | None:
        """The reply to a question: the one that was given before, or the next.

        Args:
            question: The question.
            call: The call that waits for it, and `attempt` its state.
            on_open: Is called if the call has to wait, with whether it is asked about on its own.
            limit_s: How long, seconds.
            late_s: After how long the call itself is late, seconds.

        Returns:
            None if the time was over.

        Raises:
            CallError: The call was cancelled; or the callback failed, or gave what does not fit.
        """
        if (known := self._known(question)) is not None:
            self._on_reply(question, known)
            return known
        if (shared := await self._shared(question, call, attempt, on_open)) is not None:
            return shared
        now = anyio.current_time()
        opened = _Open(question, now + limit_s, now + late_s)
        self._open.append(opened)
        try:
            if self._recorder is not None:
                await self._recorder.note_question(question)
            with _asking(attempt):
                on_open(True)
                await self._wait(opened)
        finally:
            self._open.remove(opened)
            opened.over.set()
        attempt.check_cancelled(call)
        if opened.error is not None:
            raise opened.error
        return await self._kept(opened)

    async def _shared(
        self, question: Question, call: Call, attempt: Attempt, on_open: Callable[[bool], None]
    ) -> Reply | None:
        """The reply to a question that is open and stands for this one; None if there is none."""
        while opened := next(
            (each for each in self._open if each.question.stands_for(question)), None
        ):
            with _asking(attempt):
                on_open(False)
                await opened.over.wait()
            attempt.check_cancelled(call)
            if opened.error is not None:
                raise CallError.of(opened.error.error)
            if opened.reply is not None:
                self._replies[question.key] = opened.reply
                return opened.reply
        return None

    def _known(self, question: Question) -> Reply | None:
        """The reply that was given before, also for all items."""
        known = self._replies.get(question.key) or self._of_all.get((question.task, question.kind))
        if known is None and self._recorder is not None:
            known = self._recorder.reply(question)
        return known

    async def _kept(self, opened: _Open) -> Reply | None:
        reply, question = opened.reply, opened.question
        if reply is not None and self._recorder is not None:
            of_all = self._of_all.get((question.task, question.kind)) is reply
            reply = await self._recorder.note_reply(question, reply, of_all=of_all)
        if reply is not None:
            self._replies[question.key] = reply
            self._on_reply(question, reply)
        return reply

    async def _wait(self, opened: _Open) -> None:
        async with anyio.create_task_group() as group:
            if not self._waits:
                group.start_soon(self._watch_for_end)
            if self._callback is not None:
                opened.is_being_asked = True
                group.start_soon(self._call_back, self._callback, opened)
            limit_s = opened.ends_at - anyio.current_time()
            with anyio.move_on_after(None if limit_s == math.inf else limit_s):
                await opened.answered.wait()
            group.cancel_scope.cancel()

    async def _call_back(self, callback: AnswerCallback, opened: _Open) -> None:
        try:
            value = callback(opened.question)
            value = await value if isinstance(value, Awaitable) else value
            if value is not None:
                opened.settle(fitting(opened.question, value))
        except RefusedError:
            opened.settle(Reply(refused=True))
        except AnswerError as wrong:
            opened.error = CallError(
                "invalid_arguments", f"the callback's answer is wrong: {wrong}"
            )
            opened.answered.set()
        except Exception as bug:  # its task fails with it, no other
            what = f"the callback that answers failed: {type(bug).__name__}: {bug}"
            opened.error = CallError("internal", what, retryable=False)
            opened.answered.set()
        finally:
            opened.is_being_asked = False

    async def _watch_for_end(self) -> None:
        """Pause the run when nothing else is left. One of all open questions watches."""
        async with self._watch:
            idle = 0
            while idle < 2:
                await anyio.sleep(CHECK_S)
                idle = idle + 1 if self._is_left_alone() and self.is_idle() else 0
            self.pause()

    def _is_left_alone(self) -> bool:
        soon = anyio.current_time() + STAY_S
        is_asked = any(each.is_being_asked or each.ends_at <= soon for each in self._open)
        return not is_asked

    def answer(
        self,
        task: str,
        value: Any,
        item: int | None = None,
        *,
        refused: bool = False,
        all_items: bool = False,
    ) -> None:
        """Answer the open question of a task.

        Raises:
            AnswerError: There is none, or the value does not fit its schema.
        """
        first = one_of(self.open, task, item, all_items=all_items)
        reply = Reply(refused=True) if refused else fitting(first, value)
        if all_items:
            self._of_all[task, first.kind] = reply
        for each in self._open:
            if first.is_answered_with(each.question, all_items=all_items):
                each.settle(reply)

    def take_replies(self) -> None:
        """Take the replies that the recorder has by now."""
        for each in self._open:
            if self._recorder is not None and (found := self._recorder.reply(each.question)):
                each.settle(found)


@contextmanager
def _asking(attempt: Attempt) -> Iterator[None]:
    """Show that a call waits for a reply, and let it be cancelled."""
    attempt.note, attempt.asks = ANSWER, True
    try:
        with anyio.CancelScope() as attempt.end_by:
            yield
    finally:
        attempt.note, attempt.asks, attempt.end_by = None, False, None


def _ignored(question: Question, reply: Reply) -> None:
    """What becomes of replies where nothing notes them."""


def fitting(question: Question, value: Any) -> Reply:
    """The reply with a value.

    Raises:
        AnswerError: It does not fit the schema of the question.
    """
    if question.schema is not None:
        found = next(iter(Validator(question.schema).violations(value)), None)
        if found is not None:
            raise AnswerError(f"the answer to {quoted(question.where)}: {found.sentence()}")
        if question.kind == "elicitation":
            _check_names(question, value)
    is_no = question.kind == "approve" and value is False
    return Reply(None, refused=True) if is_no else Reply(value)


def _check_names(question: Question, value: Any) -> None:
    """A form of a server has the fields that it names, though its schema seldom says so."""
    fields = (question.schema or {}).get("properties")
    if isinstance(fields, Mapping) and isinstance(value, Mapping):
        for name in value:
            if name not in fields:
                known = f"; it has {listed(map(quoted, fields), 20)}" if fields else ""
                what = f"the form has no field {quoted(name)}{did_you_mean(name, fields) or known}"
                raise AnswerError(f"the answer to {quoted(question.where)}: {what}")
