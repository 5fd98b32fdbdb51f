"""The parts of one task: what is done about what becomes of them. They are lists here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator import spread_task
from orchestrator.engine.items import HandedOut
from orchestrator.engine.outcome import Failure, Skipped, Success
from orchestrator.engine.question import Question
from orchestrator.engine.result import ItemResult
from orchestrator.errors import CarriedError, JournalError, TaskError, WorkflowError
from orchestrator.journal.part import Part
from orchestrator.journal.parts import Parts, State
from orchestrator.spread_shape import Shape
from orchestrator.spread_task import SpreadTask
from tests.fakes import workflow

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]
NO = TaskError("tool_error", "no", retryable=True)


class Here:
    """In place of threads, for which the clock does not wait."""

    async def run_sync(self, function: Callable[..., Any], *values: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return function(*values)


@pytest.fixture(autouse=True)
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps waits for no thread."""
    monkeypatch.setattr(spread_task, "to_thread", Here())


class Told(Parts):
    """Parts of three items whose states a test tells."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.failed: set[int] = set()  # items
        self.asked: list[Question] = []
        self.ended: list[int] = []
        self.halted = ""
        self.lost, self.broken = False, 0

    @property
    def is_lost(self) -> bool:
        return self.lost

    def id_of(self, number: int) -> str:
        return f"r.map.{number}"

    async def put(self, parts: Iterable[tuple[int, Part]], servers: list[str]) -> None:
        assert servers == ["fake"]
        for number, part in parts:
            assert part.first == 3 * number
            self.states.setdefault(number, "queued")

    async def look(
        self,
        size: int,  # noqa: ARG002
        known: Iterable[int],
        *,
        stops: bool,
    ) -> dict[int, State]:
        if self.broken:
            self.broken -= 1
            raise JournalError("gone for a moment")
        known = set(known)
        found = {n: each for n, each in self.states.items() if n not in known}
        return {
            n: State(each, 0, self._first_failed(n) if stops else None) for n, each in found.items()
        }

    def _first_failed(self, number: int) -> int | None:
        return min((n for n in self.failed if n // 3 == number), default=None)

    def read(
        self,
        first: int,
        end: int,
        wrapped: dict[int, Any],  # noqa: ARG002
    ) -> Iterator[ItemResult]:
        for index in range(first, min(end, 7)):
            if self.states.get(index // 3) in ("success", "failed"):
                outcome = Failure(NO) if index in self.failed else Success(index)
                yield ItemResult(index, outcome, 1, 1.0)

    def questions(self) -> list[Question]:
        return self.asked

    def halt(self, reason: str) -> None:
        self.halted = reason

    async def take_back(
        self,
        numbers: Iterable[int],
        status: str = "queued",  # noqa: ARG002
    ) -> None:
        for number in numbers:
            self.states[number] = "cancelled"

    async def ask_to_end(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.ended.append(number)
            self.states[number] = "cancelled"


class Case:
    """A task of seven items in three parts."""

    def __init__(self, stops: str = "") -> None:
        self.parts, self.noted, self.carried = Told(), list[int](), list[str]()
        plan = workflow({"id": "map", "tool": "fake:a", "for_each": [], "spread": True}).plan
        note = lambda item: self.noted.append(item.index)  # noqa: E731
        self.what = HandedOut(plan.tasks["map"], list(range(7)), 0, stops, note, self.ask)
        self.task = SpreadTask(self.parts, self.what, Shape(7, 3, 2, 0, 0), self.carry, "r")

    async def ask(self, question: Question) -> None:
        self.carried.append(f"asked {question.item}")

    async def carry(self, run: str) -> None:
        self.carried.append(run)
        self.parts.states[int(run[-1])] = "success"

    def statuses(self) -> list[str]:
        assert self.what.joined is not None
        return [item.status for item in self.what.joined]


async def test_parts_that_nobody_takes_are_carried_here_one_after_the_other() -> None:
    case = Case()
    case.parts.broken = 2
    await case.task.run()
    assert case.carried == ["r.map.0", "r.map.1", "r.map.2"]
    assert case.noted == list(range(7))
    assert case.statuses() == ["success"] * 7
    assert case.what.settled == 7


async def test_a_part_that_another_process_has_taken_is_left_to_it() -> None:
    case = Case()

    async def carry(run: str) -> None:
        await Case.carry(case, run)
        raise CarriedError("it is carried")

    case.task._carry = carry
    await case.task.run()
    assert case.statuses() == ["success"] * 7
    assert case.what.error is None


async def test_a_part_that_cannot_be_carried_fails_the_task() -> None:
    case = Case()

    async def carry(_: str) -> None:
        case.parts.states[1] = "running"
        raise WorkflowError("w", [])

    case.task._carry = carry
    await case.task.run()
    assert case.what.error is not None
    assert case.what.error.kind == "server_unavailable"
    assert case.parts.ended == [1]
    assert case.statuses() == ["cancelled"] * 7


async def test_after_a_failure_nothing_begins() -> None:
    case = Case("on_item_error is stop")
    case.parts.states = {0: "running", 1: "queued"}
    case.parts.failed = {1}
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(1.0)
        case.parts.states[0] = "failed"
    assert case.parts.halted == "item 1 failed, and on_item_error is stop"
    assert case.parts.states == {0: "failed", 1: "cancelled"}
    assert case.statuses() == ["success", "error", "success", *["skipped"] * 4]
    assert case.what.joined is not None
    assert case.what.joined.rest == Skipped(case.parts.halted)
    late = Case("on_item_error is stop")
    late.parts.states, late.parts.failed = {0: "failed", 1: "queued"}, {2}
    await late.task.run()
    assert late.parts.halted == "item 2 failed, and on_item_error is stop"


async def test_a_process_that_has_lost_the_run_leaves_its_parts_alone() -> None:
    case = Case()
    case.parts.states = {0: "running"}
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(1.0)
        case.parts.lost = True
        group.cancel_scope.cancel()
    assert case.what.joined is None
    assert (case.parts.ended, case.parts.states[0]) == ([], "running")


async def test_what_goes_on_is_ended_with_the_task() -> None:
    case = Case()
    case.parts.states = {0: "running", 1: "interrupted", 2: "queued"}
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(1.0)
        group.cancel_scope.cancel()
    assert case.parts.ended == [0]
    assert set(case.parts.states.values()) == {"cancelled"}
    assert case.statuses() == ["cancelled"] * 7


async def test_parts_that_wait_for_answers_are_asked_about_and_go_on() -> None:
    case = Case()
    case.parts.states = dict.fromkeys(range(3), "paused")
    case.parts.asked = [Question("map", 1, "approve", "?", None, None, 0, False, "")]
    inside = Question("map[4]/in", None, "approve", "?", None, None, 0, False, "")
    case.parts.asked.append(inside)
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(10.0)
        assert sorted(case.carried) == ["asked 1", "asked None", "r.map.2"]
        assert case.what.is_idle
        case.parts.asked = []
    assert case.carried[3:] == ["r.map.0", "r.map.1"]


async def test_without_limits_each_place_of_a_worker_has_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_task, "places", lambda _: 3)
    case = Case()
    case.parts.location = None  # type: ignore[assignment]
    case.task._shape = Shape(7, 3, 0, 0, 0)
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(1.0)
        assert case.parts.states == dict.fromkeys(range(3), "queued")
        case.parts.states = dict.fromkeys(range(3), "success")
    assert case.statuses() == ["success"] * 7


async def test_parts_that_take_longer_are_looked_at_less_often() -> None:
    case, looks = Case(), list[float]()
    look = case.parts.look

    async def looked(*of: Any, **how: Any) -> dict[int, State]:
        looks.append(anyio.current_time())
        return await look(*of, **how)

    case.parts.look = looked  # type: ignore[method-assign]
    case.parts.states = dict.fromkeys(range(3), "running")
    async with anyio.create_task_group() as group:
        group.start_soon(case.task.run)
        await anyio.sleep(60.0)
        case.parts.states = dict.fromkeys(range(3), "success")
    pauses = [round(after - before, 2) for before, after in pairwise(looks)]
    after_wait = pauses.index(0.0)  # the looks that follow the end
    assert (pauses[0], pauses[after_wait - 1]) == (0.05, 0.5)
    assert pauses[:after_wait] == sorted(pauses[:after_wait])
