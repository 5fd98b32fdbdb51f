"""Items that others carry: what the engine hands out, and what it makes of how they ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any

import anyio
import pytest

from orchestrator.engine.events import Event, ItemSettled, ItemsStarted
from orchestrator.engine.items import HandedOut, Joined, Totals, calls_ms
from orchestrator.engine.outcome import Failure, Skipped, Success
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import JournalError, TaskError
from tests.fakes import ScriptedCaller, workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]
NO = TaskError("tool_error", "no", retryable=True)


class Elsewhere:
    """Carries the items of tasks; those of `ended` have."""

    def __init__(self, ended: Iterable[ItemResult], after_s: float = 0.0) -> None:
        self.ended, self.after_s = {item.index: item for item in ended}, after_s
        self.handed_out: list[HandedOut] = []
        self.end: Callable[[HandedOut], object] = lambda _: None

    async def carry(self, what: HandedOut, /) -> bool:
        if self.after_s < 0:
            return False
        self.handed_out.append(what)
        try:
            await anyio.sleep(self.after_s)
        finally:
            totals = Totals()
            for item in self.ended.values():
                totals.add(item)
                what.note(item)
            what.settled = totals.number
            what.joined = Joined(len(what.items), self.read, totals)
            self.end(what)
        return True

    def read(self, first: int, end: int, wrapped: dict[int, Any]) -> Iterable[ItemResult]:
        assert wrapped == {}
        return [item for index, item in self.ended.items() if first <= index < end]


def item(index: int, outcome: Any = None, **more: Any) -> ItemResult:
    outcome = Success(f"of {index}") if outcome is None else outcome
    return ItemResult(index, outcome, **{"attempts": 1, "started_ms": 5.0 + index, **more})


def task(**fields: Any) -> dict[str, Any]:
    return {"id": "map", "tool": "fake:a", "for_each": [1, 2, 3], "spread": True, **fields}


async def run(spreader: Any, *tasks: Any, observers: Any = (), **fields: Any) -> RunResult:
    settings = RunSettings(spreader=spreader)
    return await Run(
        workflow(*tasks, **fields), ScriptedCaller(), settings, observers=observers
    ).execute()


ALL = [item(0, duration_ms=10.0, waited_ms=2.0), item(1, duration_ms=20.0), item(2)]


async def test_items_that_others_have_carried_are_those_of_the_task() -> None:
    events: list[Event] = []
    elsewhere = Elsewhere(ALL, after_s=1.0)
    reads = {"id": "reads", "value": "$OUTPUT[map][2] ${ITEMS[map][0].output}"}
    found = await run(elsewhere, task(), reads, observers=[events.append])
    assert found["map"].output == ["of 0", "of 1", "of 2"]
    assert found["reads"].output == "of 2 of 0"
    assert (found["map"].attempts, found["map"].started_ms) == (3, 5.0)
    assert (found["map"].waited_ms, found["map"].duration_ms) == (2.0, 995.0)
    assert found.sequential_ms == 30.0
    assert found.to_dict()["tasks"]["map"]["items"][1]["duration_ms"] == 20.0
    assert [e.items for e in events if isinstance(e, ItemsStarted)] == [3]
    assert [e.item for e in events if isinstance(e, ItemSettled)] == [0, 1, 2]
    (what,) = elsewhere.handed_out
    assert (what.items, what.limit, what.stops) == ([1, 2, 3], 10, "")


async def test_an_item_that_failed_elsewhere_fails_the_task() -> None:
    ended = [item(0), item(1, Failure(NO)), item(2, Failure(NO))]
    found = await run(Elsewhere(ended), task(fallback={"value": "$ERROR.message"}))
    assert found["map"].output == "2 of 3 items failed; item 1: no"
    assert [each.status for each in found["map"].items or ()] == ["success", "error", "error"]
    found = await run(Elsewhere(ended), task(), on_error="fail_fast")
    assert found["map"].output == ["of 0", None, None]
    assert found.reason == "fail_fast"


@pytest.mark.parametrize(
    ("fields", "more", "why"),
    [
        ({}, {"on_error": "fail_fast"}, "on_error is fail_fast"),
        ({"on_item_error": "stop"}, {}, "on_item_error is stop"),
    ],
)
async def test_who_carries_them_knows_why_a_failure_stops(fields: Any, more: Any, why: str) -> None:
    elsewhere = Elsewhere(ALL)
    await run(elsewhere, task(**fields), **more)
    assert elsewhere.handed_out[0].stops == why


async def test_what_has_not_been_done_is_said_why() -> None:
    def end(what: HandedOut) -> None:
        what.error = TaskError("server_unavailable", "nobody", retryable=False)
        assert what.joined is not None
        what.joined.rest = Skipped("nobody")

    elsewhere = Elsewhere(ALL[:1])
    elsewhere.end = end
    found = await run(elsewhere, task())
    assert (found["map"].error, found["map"].output) == (
        TaskError("server_unavailable", "nobody", retryable=False),
        ["of 0", None, None],
    )
    assert [each.status for each in found["map"].items or ()] == ["success", "skipped", "skipped"]


@pytest.mark.parametrize("begun", [True, False])
async def test_items_of_a_task_that_is_cancelled_are_those_that_have_ended(begun: bool) -> None:
    elsewhere = Elsewhere(ALL[:1] if begun else (), after_s=60.0)
    whole = Run(workflow(task()), ScriptedCaller(), RunSettings(spreader=elsewhere))
    async with anyio.create_task_group() as group:
        group.start_soon(whole.execute)
        await anyio.sleep(1.0)
        elsewhere.handed_out[0].settled = 2
        assert whole.status().items == {"map": (2, 3)}
        assert whole.cancel_task("map", "enough")
    assert whole.result is not None
    found = whole.result["map"]
    assert (found.status, found.reason) == ("cancelled", "enough")
    assert found.output == (["of 0", None, None] if begun else [None] * 3)
    assert {each.status for each in (found.items or ())[1:]} == {"cancelled"}


async def test_outputs_of_a_task_that_is_cancelled_are_read_in_a_thread() -> None:
    threads = list[int]()

    class Noting(Elsewhere):
        def read(self, first: int, end: int, wrapped: dict[int, Any]) -> Iterable[ItemResult]:
            threads.append(get_ident())
            return super().read(first, end, wrapped)

    found = await run(Noting(ALL[:1], after_s=60.0), task(), timeout_s=2)
    assert found["map"].output == ["of 0", None, None]
    assert len(threads) == 1
    assert threads[0] != get_ident()


async def test_a_journal_that_fails_does_not_keep_a_run_from_ending() -> None:
    def read(*_: Any) -> Any:
        raise JournalError("the connection is lost")

    elsewhere: Any = Elsewhere(ALL[:1], after_s=60.0)
    elsewhere.read = read
    found = await run(elsewhere, task(), timeout_s=2)
    assert (found["map"].status, found["map"].output) == ("cancelled", [])
    assert found.reason == "timeout"


async def test_a_run_that_ends_ends_what_others_carry() -> None:
    elsewhere = Elsewhere(ALL[:1], after_s=60.0)
    found = await run(elsewhere, task(), timeout_s=2)
    assert (found["map"].status, found["map"].output) == ("cancelled", ["of 0", None, None])


async def test_what_all_others_wait_for_is_a_question_of_the_run() -> None:
    async def carry(what: HandedOut) -> bool:
        what.joined = Joined(len(what.items), lambda *_: [], Totals())
        what.is_idle = True
        await anyio.sleep_forever()
        return True

    elsewhere = Elsewhere(())
    elsewhere.carry = carry  # type: ignore[method-assign]
    asks = {"id": "asks", "ask": {"message": "yes?"}}
    found = await run(elsewhere, task(), asks)
    assert found.status == "paused"
    assert {each.status for each in found["map"].items or ()} == {"waiting"}


async def test_what_others_do_not_carry_is_carried_here() -> None:
    spreader = Elsewhere((), after_s=-1.0)
    found = await run(spreader, task(arguments={"n": "$ITEM"}))
    assert [each["n"] for each in found["map"].output] == [1, 2, 3]
    inner = {"id": "o", "workflow": {"tasks": [task()]}}
    found = await run(Elsewhere(ALL), inner, task(id="x", spread=False), **{"finally": [task()]})
    assert found.status == "success"


def test_which_items_are_missing_is_known_without_reading_them() -> None:
    def read(*_: Any) -> Iterable[ItemResult]:
        raise AssertionError

    totals = Totals()
    for index in (3, 0, 1):
        totals.add(item(index))
    joined = Joined(6, read, totals)
    assert [each.index for each in joined.missing()] == [2, 4, 5]


def test_items_are_read_as_often_as_they_are_needed() -> None:
    inside = {"in": TaskResult("in", Success(1), 0, 1, 0.0, 7.0)}
    ended = Elsewhere([item(0, started_ms=None, cached=True), item(2, tasks=inside)])
    joined = Joined(4, ended.read)
    assert joined.totals.is_cached
    assert joined.totals.number == 2
    assert calls_ms(TaskResult("map", Success([]), 0, items=joined)) == 7.0
    assert [each.index for each in joined.missing()] == [1, 3]
    assert [each.status for each in joined[1:3]] == ["cancelled", "success"]
    assert joined[-1].status == "cancelled"
    assert list(Joined(0, ended.read, Totals()).missing()) == []


async def test_an_answer_of_the_memo_is_one_elsewhere_too() -> None:
    found = await run(Elsewhere([item(n, started_ms=None, cached=True) for n in range(3)]), task())
    assert (found["map"].cached, found["map"].duration_ms) == (True, 0.0)
