"""Answers the questions of runs that another process carries, or none."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import quoted
from orchestrator.engine.question import Question, Reply, one_of
from orchestrator.errors import AnswerError
from orchestrator.journal.glance import questions
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import QUEUED, reading
from orchestrator.journal.kept import records_of
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.records import NO_ITEM, WRITE_ONCE, Records, reply_key
from orchestrator.journal.store import Database

_IS = "select id from run where id=? and status=?"


def open_questions(journal: Location, run: str) -> list[Question]:
    """The questions of a run that nobody has answered, in the order in which they were asked.

    Raises:
        JournalError: The journal cannot be read.
    """
    with reading(journal) as db:
        return questions(db, run)


def answer(
    journal: Location,
    run: str,
    task: str,
    reply_to: Callable[[Question], Reply],
    hiding: Hiding,
    *,
    item: int | None = None,
    all_items: bool = False,
) -> tuple[Question, int]:
    """Answer the open question of a task; who carries the run will see it.

    Args:
        journal: The file, and `run` the id of the run.
        task: The task, with those that it is inside of.
        reply_to: Makes the reply to a question.
        hiding: Hides the secrets in the reply.
        item: The item of its `for_each`, if several wait.
        all_items: The reply is for all items, those that will be asked about later, too.

    Returns:
        The question, and how many others are open.

    Raises:
        AnswerError: No such question is open, or the reply does not fit it.
        JournalError: The journal cannot be read or written.
    """
    with reading(journal) as db:
        records = records_of(db, run)
        is_queued = db.execute(_IS, (run, QUEUED)).fetchone() is not None
    questions = records.questions()
    if not questions and is_queued:
        raise AnswerError(f"run {run} is queued, and has no question yet: a worker has to begin it")
    if not any(each.task == task and item in (None, each.item) for each in questions):
        _check_answered(records, task, item)
    question = one_of(questions, task, item, all_items=all_items)
    reply, taken = reply_to(question), 0
    key = reply_key(question, of_all=all_items)
    text = hiding.hide(to_json(reply._asdict()))
    values = (run, *key, time.time(), text)

    def write(db: Database) -> None:
        nonlocal taken
        taken = db.execute(WRITE_ONCE, values).rowcount

    store_of(journal).session().call(write, run)
    if not taken:
        raise AnswerError(f"{quoted(question.where)} was answered by another process")
    left = [each for each in questions if not question.is_answered_with(each, all_items=all_items)]
    return question, len(left)


def _check_answered(records: Records, task: str, item: int | None) -> None:
    """Raise `AnswerError` if what the task had asked is answered."""
    number = NO_ITEM if item is None else item
    for key in records:
        if key.kind.startswith("reply ") and key.path == task and key.item in (number, NO_ITEM):
            where = quoted(task) if item is None else f"{quoted(task)}, item {item},"
            raise AnswerError(f"{where} was answered already; the first answer counts")
