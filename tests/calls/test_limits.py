"""Slots, locks and rates on a virtual clock: who waits, for how long, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import AbandonedError, Slots
from orchestrator.calls.locks import Locks
from orchestrator.calls.middleware import with_slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.calls.rates import Rate
from orchestrator.workflow.hold import Hold

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Held:
    """Who holds what, and the order in which they came to it."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.now: set[str] = set()
        self.most = 0

    async def hold(self, who: str, seconds: float) -> None:
        self.order.append(who)
        self.now.add(who)
        self.most = max(self.most, len(self.now))
        await anyio.sleep(seconds)
        self.now.discard(who)


async def in_slots(slots: Slots, held: Held, rows: Iterable[tuple[str, float, int]]) -> None:
    async def one(who: str, priority: float, weight: int) -> None:
        await slots.acquire((priority,), weight)
        try:
            await held.hold(who, 1)
        finally:
            slots.release(weight)

    async with anyio.create_task_group() as group:
        for row in rows:
            group.start_soon(one, *row)


async def test_who_asks_at_the_same_moment_is_served_by_priority() -> None:
    slots, held = Slots(1), Held()
    await in_slots(slots, held, [("c", 3, 1), ("a", 1, 1), ("b", 2, 1)])
    assert held.order == ["a", "b", "c"]
    assert held.most == 1
    assert slots.idle
    assert repr(slots) == "Slots(1 of 1 free, 0 wanted)"


async def test_who_had_to_wait_for_others_is_told_so_even_if_it_asked_first() -> None:
    slots, late = Slots(1), dict[str, bool]()

    async def one(who: str, priority: float) -> None:
        late[who] = await slots.acquire((priority,))
        await anyio.sleep(1)
        slots.release()

    async with anyio.create_task_group() as group:
        group.start_soon(one, "c", 3)  # it asks when the slot is free
        group.start_soon(one, "a", 1)
        group.start_soon(one, "b", 2)
    assert late == {"a": False, "b": True, "c": True}
    async with anyio.create_task_group() as group:
        group.start_soon(one, "alone", 1)
    assert late["alone"] is False


async def test_a_wait_for_a_free_limit_of_a_server_is_noted_where_another_call_goes_first() -> None:
    cause = Cause("server_limit", "s")
    policy = ServerPolicy(slots=Slots(1, cause))
    waits: dict[str, Any] = {}

    async def answer(call: Call, attempt: Attempt) -> None:
        waits[call.task] = [(cause, waited_s) for cause, _, waited_s in attempt.waits]
        await anyio.sleep(2)

    caller = with_slots(answer, {"s": policy}, None)

    async def make(task: str, priority: float) -> None:
        await caller(Call(task, "s", "t", {}, priority=(priority,)), Attempt())

    async with anyio.create_task_group() as group:
        group.start_soon(make, "short", 2)
        group.start_soon(make, "long", 1)
    assert waits == {"long": [], "short": [(cause, 2.0)]}


async def test_who_wants_many_is_not_overtaken_by_those_who_want_few() -> None:
    slots, held = Slots(3), Held()
    await in_slots(slots, held, [("few", 1, 1), ("all", 2, 3), ("late", 3, 1), ("later", 4, 1)])
    assert held.order == ["few", "all", "late", "later"]


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    slots, held = Slots(2), Held()
    await slots.acquire()

    async def impatient() -> None:
        with anyio.move_on_after(1):
            await slots.acquire((1,), 2)

    async with anyio.create_task_group() as group:
        group.start_soon(impatient)
        await anyio.wait_all_tasks_blocked()
        assert slots.is_busy()
        group.start_soon(in_slots, slots, held, [("small", 2, 1)])
        await anyio.sleep(0.5)
        assert held.order == []
        await anyio.sleep(1)
        assert held.order == ["small"]
    slots.release()
    assert slots.idle


async def test_a_rate_lets_no_more_start_in_any_span() -> None:
    rate = Rate(3, 1.0)
    starts: list[float] = []

    async def one() -> None:
        await rate.acquire()
        starts.append(anyio.current_time())
        rate.note_start()
        rate.release()

    zero = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert rate.is_busy()
    assert [start - zero for start in starts] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert not rate.is_busy()
    assert repr(rate) == "Rate(3 in 1 s)"


async def test_who_gives_up_waiting_for_a_rate_lets_the_next_one_wait() -> None:
    rate = Rate(1, 10.0)
    await rate.acquire()
    rate.note_start()
    rate.release()
    zero = anyio.current_time()
    with anyio.move_on_after(1) as scope:
        await rate.acquire()
    assert scope.cancelled_caught
    await rate.acquire()
    assert anyio.current_time() - zero == 10


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 3)), max_size=12))
@settings(max_examples=50)
def test_locks_exclude_each_other_as_they_say(
    rows: list[tuple[str, bool, int]],
) -> None:
    holders: dict[str, list[bool]] = {}

    async def hold(locks: Locks, name: str, shared: bool, delay: int) -> None:
        await anyio.sleep(delay)
        await locks.acquire(Hold(name, shared), who=(who := object()), task="")
        there = holders.setdefault(name, [])
        assert not there or (shared and all(there))
        there.append(shared)
        await anyio.sleep(1)
        there.remove(shared)
        locks.release(name, who=who)

    async def main() -> None:
        locks = Locks()
        async with anyio.create_task_group() as group:
            for row in rows:
                group.start_soon(hold, locks, *row)
        assert repr(locks) == "Locks([])"  # nothing is kept of names that nobody holds

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


async def test_shared_locks_overlap_and_an_exclusive_one_is_not_starved() -> None:
    locks = Locks()
    order: list[str] = []

    async def hold(who: str, after: float, shared: bool) -> None:
        await anyio.sleep(after)
        await locks.acquire(Hold("x", shared), who=who, task=who)
        order.append(f"+{who}")
        await anyio.sleep(10)
        order.append(f"-{who}")
        locks.release("x", who=who)

    async with anyio.create_task_group() as group:
        group.start_soon(hold, "s1", 0, True)
        group.start_soon(hold, "s2", 1, True)
        group.start_soon(hold, "e", 2, False)
        group.start_soon(hold, "s3", 3, True)
    assert order == ["+s1", "+s2", "-s1", "-s2", "+e", "-e", "+s3", "-s3"]


async def test_groups_take_turns_however_many_ask_first() -> None:
    slots, order = Slots(1), list[str]()

    async def one(who: str, priority: float, after: float) -> None:
        await anyio.sleep(after)
        await slots.acquire((priority,), group=who[0])
        order.append(who)
        await anyio.sleep(1)
        slots.release()

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one, f"a{number}", number, 0)
        group.start_soon(one, "b1", 9, 0.5)
        group.start_soon(one, "b0", 8, 0.5)
    assert order == ["a0", "a1", "b0", "a2", "b1", "a3", "a4"]


@pytest.mark.parametrize("checkpoints", range(6))
async def test_who_is_told_to_give_up_at_any_moment_holds_nobody_up(checkpoints: int) -> None:
    slots, held, gone = Slots(1), Held(), list[str]()

    async def one(who: str) -> None:
        try:
            await slots.acquire((ord(who),), who=who)
        except AbandonedError:
            gone.append(who)
            return
        await held.hold(who, 1)
        slots.release()

    with anyio.fail_after(100):
        async with anyio.create_task_group() as group:
            group.start_soon(one, "a")
            group.start_soon(one, "b")
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            slots.abandon("a")
            slots.abandon("nobody")
    assert sorted([*held.order, *gone]) == ["a", "b"]
    assert slots.idle


def test_many_who_give_up_cost_no_more_each() -> None:
    async def main(count: int) -> int:
        slots = Slots(1)
        await slots.acquire()
        steps = 0

        def count_steps(frame: Any, event: str, _: Any) -> None:
            nonlocal steps
            steps += event == "call" and frame.f_code.co_filename.endswith("limits.py")

        async def one(who: int) -> None:
            with suppress(AbandonedError):
                await slots.acquire(who=who)

        async with anyio.create_task_group() as group:
            for who in range(count):
                group.start_soon(one, who)
            await anyio.wait_all_tasks_blocked()
            sys.setprofile(count_steps)
            for who in range(count):
                slots.abandon(who)
        sys.setprofile(None)
        return steps

    few, many = anyio.run(main, 100), anyio.run(main, 1000)
    assert many <= 11 * few
