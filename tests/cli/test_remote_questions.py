"""What a run asks that another process carries: asked here once, and answered where the run is."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.cli import asking
from orchestrator.cli.asking import Terminal
from orchestrator.cli.remote_questions import RemoteQuestions
from orchestrator.engine.question import Question, Reply
from orchestrator.errors import AnswerError, JournalError
from orchestrator.journal import answers
from orchestrator.journal.hiding import Hiding

pytestmark = pytest.mark.anyio
ITEMS = [Question("e", item, "approve", "Echo?", {"type": "boolean"}) for item in range(3)]
CITY = Question("city", None, "ask", "Which?", {"type": "string"})


class Desk:
    """A person who types, and a journal that answers are kept in, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *typed: str | None) -> None:
        self.said: list[str] = []
        self.kept: list[tuple[str, int | None, Reply, bool]] = []
        self.fails: list[Exception] = []
        self._typed = list(typed)
        monkeypatch.setattr(Terminal, "_forget_typed", lambda _: None)
        monkeypatch.setattr(asking, "_say", lambda text, end="": self.said.append(text))  # noqa: ARG005
        monkeypatch.setattr(Terminal, "_line", self._line)
        monkeypatch.setattr(answers, "answer", self._answer)
        of = Path("no.db"), "r", sys.stdin, nullcontext, Hiding
        self.questions = RemoteQuestions(*of)

    async def _line(self) -> str:
        await anyio.sleep(0)
        if (typed := self._typed.pop(0)) is None:
            await anyio.sleep_forever()
        return str(typed)

    def _answer(
        self, _: Path, run: str, task: str, reply_to: Any, __: Hiding, **where: Any
    ) -> None:
        assert run == "r"
        if self.fails:
            raise self.fails.pop()
        self.kept.append((task, where["item"], reply_to(CITY), where["all_items"]))


async def test_each_is_asked_once_and_is_open_until_the_run_has_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch, "Rome", "")
    other = Question("other", None, "ask", "?", None)
    async with anyio.create_task_group() as group:
        desk.questions.see([CITY], group)
        while desk.questions._asked:
            await anyio.sleep(0.001)
        desk.questions.see([CITY], group)  # read before the answer was kept
        assert desk.questions.is_busy
        assert not desk.questions._asked
        desk.questions.see([other], group)
        while desk.questions._asked:
            await anyio.sleep(0.001)
        assert not desk.questions.is_busy  # it was left for later
    assert desk.kept == [("city", None, Reply("Rome"), False)]


async def test_all_items_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "no", "all")
    async with anyio.create_task_group() as group:
        desk.questions.see(ITEMS, group)
        while desk.questions._asked:
            await anyio.sleep(0.001)
        desk.questions.see([], group)
    assert desk.kept[0][2:] == (Reply(None, refused=True), False)
    assert desk.kept[1][2:] == (Reply(True), True)
    assert len(desk.kept) == 2
    assert desk.questions._later == set()


async def test_an_answer_that_is_not_kept_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(monkeypatch, "Rome", "Oslo", "Bern")
    desk.fails = [AnswerError("somebody else was faster"), JournalError("away")]
    async with anyio.create_task_group() as group:
        for _ in range(3):
            desk.questions.see([CITY], group)
            while desk.questions._asked:
                await anyio.sleep(0.001)
    err = capsys.readouterr().err
    assert "the answer is not kept: away" in err
    assert "somebody else was faster" in err
    assert desk._typed == ["Bern"]  # who was faster has answered
    assert desk.kept == []


async def test_what_others_have_answered_is_asked_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch, None, None)
    async with anyio.create_task_group() as group:
        desk.questions.see([CITY], group)
        await anyio.wait_all_tasks_blocked()
        desk.questions.see([], group)
        await anyio.wait_all_tasks_blocked()
        assert not desk.questions._asked
        assert desk.said[-1] == ""  # the line of the prompt has ended
        desk.questions.see([ITEMS[0]], group)
        await anyio.wait_all_tasks_blocked()
        desk.questions.stop()
        await anyio.wait_all_tasks_blocked()
        desk.questions.see([ITEMS[1]], group)
        assert not desk.questions._asked
        assert not desk.questions.is_busy
