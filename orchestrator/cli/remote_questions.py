"""What a run asks that another process carries, asked on the terminal here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TextIO

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from orchestrator.cli.asking import Terminal
from orchestrator.cli.diagnostics import complain
from orchestrator.engine.question import Question, Reply
from orchestrator.engine.questions import fitting
from orchestrator.errors import AnswerError, JournalError, RefusedError
from orchestrator.journal import answers
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.location import Location

_Key = tuple[object, ...]


class RemoteQuestions:
    """Asks on a terminal what a run of another process asks, and keeps the answers for that.

    Args:
        journal: Where the run is kept, and `run` its id.
        typed: What a person types; None: nobody is there, and nothing is asked.
        hold: Removes what else is shown there for a while.
        hiding: Hides secrets in the answers.

    Attributes:
        questions: Those that nobody has answered, as far as this knows.
    """

    def __init__(
        self,
        journal: Location,
        run: str,
        typed: TextIO | None,
        hold: Callable[[], AbstractContextManager[None]],
        hiding: Callable[[], Hiding],
    ) -> None:
        self._journal, self._run, self._hiding = journal, run, hiding
        self._terminal = None if typed is None else Terminal(typed, hold, lambda: self)
        self.questions: list[Question] = []
        self._open: list[Question] = []
        self._asked: dict[_Key, anyio.CancelScope] = {}
        self._done: set[_Key] = set()
        self._later: set[_Key] = set()
        self._of_all: set[str] = set()
        self._turn = anyio.Lock()  # an answer for all items must not overtake that for one of them

    @property
    def is_busy(self) -> bool:
        """Whether a person is asked, or an answer is not where the run is yet."""
        is_asked = self._terminal is not None
        return is_asked and any(each.key not in self._later for each in self._open)

    def see(self, found: list[Question], group: TaskGroup) -> None:
        """Ask what is new, and no longer what has been answered elsewhere."""
        self._open = found
        self.questions = [each for each in found if each.key not in self._done]
        for key in self._asked.keys() - {each.key for each in found}:
            self._asked[key].cancel()
        if self._terminal is None:
            return
        for each in self.questions:
            if each.key not in self._asked.keys() | self._later:
                self._asked[each.key] = anyio.CancelScope()
                group.start_soon(self._ask, self._terminal, each)

    def stop(self) -> None:
        """Ask nothing more."""
        self._terminal = None
        for scope in self._asked.values():
            scope.cancel()

    def answer(self, task: str, value: Any, *, all_items: bool) -> None:  # noqa: ARG002
        """Have the answer that is given now count for all items of the task; see `Asks`."""
        self._of_all.add(task)
        self.questions = [each for each in self.questions if each.task != task]

    async def _ask(self, terminal: Terminal, question: Question) -> None:
        try:
            with self._asked[question.key]:
                reply = await _replied(terminal, question)
                if every := question.task in self._of_all:
                    self._of_all.remove(question.task)
                    reply = Reply(True)
                if reply is not None:
                    keep = partial(self._keep, question, reply, of_all=every)
                    async with self._turn:
                        await to_thread.run_sync(keep)
                elif question in self.questions:
                    self._later.add(question.key)
        finally:
            del self._asked[question.key]

    def _keep(self, question: Question, reply: Reply, *, of_all: bool) -> None:
        """Keep an answer; one that cannot be kept is asked for again."""
        answered = [
            each.key for each in self._open if question.is_answered_with(each, all_items=of_all)
        ]
        self._done.update(answered)
        where: Any = {"item": question.item, "all_items": of_all}
        about = self._journal, self._run, question.task, lambda _: reply, self._hiding()
        try:
            answers.answer(*about, **where)
        except AnswerError as error:  # somebody else was faster
            complain(error)
        except JournalError as error:
            self._done.difference_update(answered)
            complain(f"the answer is not kept: {error}")


async def _replied(terminal: Terminal, question: Question) -> Reply | None:
    """The reply of a person; None for later."""
    try:
        value = await terminal(question)
    except RefusedError:
        return Reply(refused=True)
    return None if value is None else fitting(question, value)
