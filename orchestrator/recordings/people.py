"""The people of a recording: they reply to questions what they replied then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.engine.question import AnswerCallback, Question
from orchestrator.errors import RefusedError
from orchestrator.recordings.form import Replied

_Question = tuple[str, str]  # its kind, and who asks


def _by_question(replies: Iterable[Replied]) -> dict[_Question, list[Replied]]:
    found: dict[_Question, list[Replied]] = {}
    for each in replies:
        found.setdefault((each.kind, each.task), []).append(each)
    return found


class People:
    """Replies, in the order in which they were given; the last one to a question repeats.

    A reply to a task is one to all its items that have none of their own. `others` are in place of
    those to the same question.
    """

    def __init__(self, replies: Iterable[Replied], others: Iterable[Replied] = ()) -> None:
        self._left = _by_question(replies) | _by_question(others)

    def answering(self, otherwise: AnswerCallback | None) -> AnswerCallback:
        """What answers questions; those without a recorded reply are for `otherwise`."""

        def answer(question: Question) -> Any:
            for where in (question.where, question.task):
                if left := self._left.get((question.kind, where)):
                    reply = left.pop(0) if len(left) > 1 else left[0]
                    if reply.refused:
                        raise RefusedError
                    return reply.answer
            return None if otherwise is None else otherwise(question)

        return answer
