"""Several calls that want the same of a person, as to log in, are one question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.events import Event, QuestionAsked
from orchestrator.engine.question import AnswerCallback, Question
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError, RefusedError
from tests.fakes import workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

OnEvent = Callable[[Event], None]
TASKS = [{"id": name, "tool": "fake:t"} for name in "abc"]
EACH = {"id": "e", "tool": "fake:t", "for_each": [1, 2]}


class Asks:
    """A server that wants a login for each call."""

    def __init__(self, times: int = 1, schema: Any = None, message: str = "Log in.") -> None:
        self.times, self.schema, self.message = times, schema, message

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        assert attempt.elicit is not None
        for _ in range(self.times):
            message = self.message.format(call.task)
            value, refused = await attempt.elicit(message, self.schema)
            if refused:
                raise CallError("server_unavailable", "it wants a login", retryable=False)
        return value


def run_of(
    answer: AnswerCallback | None,
    asks: Asks | None = None,
    *,
    wait: bool = False,
    observer: OnEvent | None = None,
) -> Run:
    servers = Servers(policies={"fake": ServerPolicy(elicits=True)})
    settings = RunSettings(answer=answer, wait=wait)
    observers = [] if observer is None else [observer]
    flow = workflow(*TASKS, EACH)
    return Run(flow, asks or Asks(), settings, servers=servers, observers=observers)


class Person:
    """Replies after a while, and counts."""

    def __init__(self, reply: Any = True) -> None:
        self.reply = reply
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> Any:
        self.asked.append(question)
        await anyio.sleep(1)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


async def test_they_are_asked_once_and_all_go_on() -> None:
    person, events = Person(), list[Event]()
    run = run_of(person, Asks(times=2), observer=events.append)
    result = await run.execute()
    assert result.status == "success"
    assert len(person.asked) == 1
    assert len([event for event in events if isinstance(event, QuestionAsked)]) == 1


@pytest.mark.parametrize(
    ("reply", "kind"), [(RefusedError(), "server_unavailable"), (KeyError("bug"), "internal")]
)
async def test_a_refusal_and_a_failure_are_those_of_all(reply: Exception, kind: str) -> None:
    person = Person(reply)
    result = await run_of(person).execute()
    assert len(person.asked) == 1
    errors = [result[name].error for name in "abc"]
    assert [error.kind for error in errors if error is not None] == [kind] * 3


@pytest.mark.parametrize(
    ("asks", "count"),
    [
        (Asks(message="Log in for {}."), 4),  # the items of a task have one message
        (Asks(schema={"type": "boolean"}), 5),
    ],
)
async def test_other_questions_are_asked_each(asks: Asks, count: int) -> None:
    person = Person()
    result = await run_of(person, asks).execute()
    assert result.status == "success"
    assert len(person.asked) == count


async def test_a_run_that_waits_for_it_pauses_with_one_question() -> None:
    result = await run_of(None).execute()
    assert result.status == "paused"
    assert len(result.questions) == 1
    assert {task.status for task in result.tasks.values()} == {"waiting"}


async def test_the_next_call_asks_if_the_one_that_asked_is_cancelled() -> None:
    run, asked = run_of(None, wait=True), list[str]()

    async def follow() -> None:
        for _ in "ab":
            await anyio.sleep(1)
            [question] = run.questions
            asked.append(question.where)
            assert run.cancel_task(question.task)
        await anyio.sleep(1)
        [question] = run.questions
        run.answer(question.task, True, item=question.item)

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        result = await run.execute()
    assert len(set(asked)) == 2
    statuses = [task.status for task in result.tasks.values()]
    assert (statuses.count("cancelled"), statuses.count("success")) == (2, 2)


async def test_a_call_that_follows_can_be_cancelled() -> None:
    run = run_of(None, wait=True)

    async def follow() -> None:
        await anyio.sleep(1)
        [question] = run.questions
        other = "a" if question.task != "a" else "b"
        assert run.cancel_task(other)
        await anyio.sleep(1)
        run.answer(question.task, True, item=question.item)

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        result = await run.execute()
    statuses = [task.status for task in result.tasks.values()]
    assert (statuses.count("cancelled"), statuses.count("success")) == (1, 3)
