"""How long a run still takes is foreseen in a thread, from how far its tasks are."""

from __future__ import annotations

import threading

import pytest

from orchestrator.engine.events import (
    Event,
    ItemSettled,
    ItemsStarted,
    RunSettled,
    RunStarted,
    TaskSettled,
    TaskStarted,
)
from orchestrator.engine.outcome import Cancelled, Success
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.observers import time_left
from orchestrator.observers.time_left import TimeLeft
from orchestrator.report.timing import Timing, timing
from tests.fakes import ScriptedCaller, workflow

BEGIN = RunStarted(0.0, "r", "w", "dataflow", [["a", "each"], ["b"]])


def times() -> Timing:
    each = {"id": "each", "tool": "fake:each", "for_each": "$INPUT.of", "max_parallel": 2}
    plan = workflow("a", each, "b: a", inputs={"of": {"type": "array"}})
    found = timing(plan, {}, {"of": [1] * 4}, {"a": 10.0, "b": 5.0, "each": 1.0})
    assert found is not None
    return found


def test_what_is_left_shrinks_with_what_has_settled_and_what_runs() -> None:
    now, expected = 0.0, times()
    left = TimeLeft(lambda: expected, clock=lambda: now)
    left._schedule = "dataflow"

    def foreseen() -> float | None:
        assert left.look(expected) == time_left.EVERY_S
        return left.seconds

    assert left.seconds is None
    assert foreseen() == 15.0
    left.on_event(TaskStarted(0, "a", "fake", "a", 0, 1, 0.0))
    now = 4.0
    assert left.seconds == 11.0
    assert foreseen() == pytest.approx(11.0)
    now = 12.0  # it takes longer than ever
    assert foreseen() == pytest.approx(5.0)
    now = 21.0
    left.look(expected)
    assert left.seconds is None
    left.on_event(TaskSettled(0, "a", TaskResult("a", Success(1), 0)))
    assert foreseen() == pytest.approx(5.0)
    left.on_event(ItemsStarted(0, "each", 40))
    assert foreseen() == pytest.approx(20.0)  # forty items, two at a time
    for item in range(20):
        left.on_event(ItemSettled(0, "each", item, ItemResult(item, Success(1))))
    assert foreseen() == pytest.approx(10.0)
    for task in ("each", "a", "b"):
        left.on_event(TaskSettled(0, task, TaskResult(task, Success(1), 0)))
    assert foreseen() == 0.0


def test_what_is_left_is_the_least_where_a_loop_may_be_of_any_length() -> None:
    each = {"id": "each", "tool": "fake:each", "for_each": "$OUTPUT[a]", "max_parallel": 1}
    poll = {"id": "poll", "tool": "fake:poll", "repeat": {"until": "$LAST.n", "max_times": 90}}
    plan, took_s = workflow("a", each, poll), {"a": 1.0, "each": 2.0, "poll": 7.0}
    now = 0.0

    def of(typical: dict[str, float]) -> TimeLeft:
        found = timing(plan, {}, {}, took_s, typical)
        assert found is not None
        left = TimeLeft(lambda: found, clock=lambda: now)
        left._schedule = "dataflow"
        for event in told:
            left.on_event(event)
        left.look(found)
        return left

    told: list[Event] = []
    assert of({}).words == "at least 7 s"
    assert of({"poll": 1, "each": 90}).words == "about 3 min"
    assert of({"poll": 1}).words == "at least 7 s"
    told = [ItemsStarted(0, "each", 10)]
    assert of({"poll": 1}).words == "about 21 s"
    assert of({}).words == "at least 21 s"
    assert TimeLeft(lambda: None).words == ""


def test_items_that_workers_share_tell_themselves_how_long_the_others_take() -> None:
    """3,000 items of 5 ms, of which other runs say 7 s: the workers settle 160 of them a second."""
    now = 0.0
    each = {"id": "each", "tool": "fake:each", "for_each": "$INPUT.of", "spread": True}
    plan = workflow(each, "b: each", inputs={"of": {"type": "array"}})
    expected = timing(plan, {}, {"of": [1] * 3000}, {"each": 7.0, "b": 2.0})
    assert expected is not None
    left = TimeLeft(lambda: expected, clock=lambda: now)
    left._schedule = "dataflow"
    left.on_event(ItemsStarted(0, "each", 3000))
    left.look(expected)
    assert left.words == "about 35 min"  # nothing has settled yet
    settled = iter(range(3000))

    def settle(number: int) -> None:
        for _, item in zip(range(number), settled, strict=False):
            result = ItemResult(item, Success(1), attempts=1, duration_ms=5.0, started_ms=0.0)
            left.on_event(ItemSettled(0, "each", item, result))

    left.on_event(ItemsStarted(0, "each", 3000))
    settle(160)
    left.look(expected)
    assert left.seconds == pytest.approx(2840 * 0.005 / 10 + 2)  # ten at a time, as far as known
    for second in range(1, 11):
        now = float(second)
        settle(160)
        left.look(expected)
        assert left.seconds == pytest.approx((3000 - 160 * (second + 1)) / 160 + 2)
    now = 11.0
    settle(0)  # one look without news changes little
    left.look(expected)
    assert left.seconds == pytest.approx(1240 / 160 + 2, rel=0.2)
    settle(1240)
    left.on_event(TaskSettled(0, "each", TaskResult("each", Success(1), 0)))
    left.look(expected)
    assert left.seconds == 2.0


@pytest.mark.parametrize("is_known", [True, False])
def test_the_journal_is_read_in_a_thread_after_a_while(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_left, "FIRST_S", 0.0)
    asked = threading.Event()
    threads = []

    def made() -> Timing | None:
        threads.append(threading.current_thread())
        asked.set()
        return times() if is_known else None

    left = TimeLeft(made)
    left.on_event(RunStarted(0.0, "r", "w", "dataflow", []))  # how far that grows is not known
    assert left._thread is None
    left.on_event(BEGIN)
    assert left._thread is not None
    assert asked.wait(10)
    left.on_event(RunSettled(0.0, None))
    left._thread.join(10)
    assert threads == [left._thread]
    assert (left.seconds is None) is not is_known


def test_nothing_is_foreseen_of_a_run_that_is_cancelled() -> None:
    expected = times()
    left = TimeLeft(lambda: expected, clock=lambda: 0.0)
    left._schedule = "dataflow"
    left.look(expected)
    assert left.words == "about 15 s"
    left.on_event(TaskSettled(0, "a", TaskResult("a", Cancelled("interrupted"), 0)))
    left.look(expected)
    assert left.words == ""


@pytest.mark.anyio
async def test_a_run_that_ends_before_needs_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_left, "FIRST_S", 3600.0)  # however busy the machine is
    asked: list[str] = []
    left = TimeLeft(lambda: asked.append("it"))
    await Run(workflow("a"), ScriptedCaller(), observers=[left]).execute()
    assert left._thread is not None
    left._thread.join(10)
    assert asked == []
    assert timing(workflow("a"), {}, {}, {}) is None
