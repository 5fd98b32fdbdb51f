"""What processes share, where each process is an object: on a machine, and in a database."""

from __future__ import annotations

import os
import random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import LOCK, Claim, GrantedLocks, GrantedRate, GrantedSlots, Granter
from orchestrator.calls.limits import AbandonedError
from orchestrator.calls.locks import Locks
from orchestrator.errors import CallError
from orchestrator.workflow.hold import Hold
from tests.sharing.conftest import Scope

pytestmark = pytest.mark.anyio
CAUSE = Cause("server_limit", "s")


def nothing() -> None:
    pass


def claim(amount: int | str = 1, capacity: int = 2, run: str = "", task: str = "") -> Claim:
    number = amount if isinstance(amount, int) else None
    return Claim(Hold(f"{LOCK}gpu", amount == "shared", number), capacity, run, task)


class Line:
    """Those who ask, one after the other, and what they were granted."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.granted: list[tuple[Any, Any]] = []

    async def ask(self, granter: Granter, wanted: Claim, who: Any) -> None:
        granted = await granter.grant(wanted, lambda: self.waiting.append(who))
        self.granted.append((who, granted))

    def release_all(self) -> list[Any]:
        """Release what was granted: who had it."""
        granted, self.granted = self.granted, []
        for _, each in granted:
            each.release()
        return sorted(who for who, _ in granted)


async def test_claims_of_all_processes_are_granted_in_order_of_arrival(scope: Scope) -> None:
    one, two, line = scope.make(), scope.make(), Line()
    await line.ask(one, claim(1), -1)
    assert one.is_free(claim(1))
    seen = []
    async with anyio.create_task_group() as group:
        # One that wants both is not overtaken by those that want one, of whatever process.
        rows: list[tuple[Granter, int | str]] = [(two, 2), (one, 1), (two, 1), (one, "all")]
        for number, (granter, amount) in enumerate(rows):
            group.start_soon(line.ask, granter, claim(amount), number)
            await scope.until(lambda n=number: len(line.waiting) == n + 1)  # type: ignore[misc]
        assert not one.is_free(claim(1))
        for expected in (1, 1, 2, 1):
            await scope.until(lambda n=expected: len(line.granted) == n)  # type: ignore[misc]
            seen.append(line.release_all())
    assert seen == [[-1], [0], [1, 2], [3]]


async def test_a_share_and_all_exclude_each_other(scope: Scope) -> None:
    granter, line = scope.make(), Line()
    shares = [await granter.grant(claim("shared"), nothing) for _ in range(3)]
    async with anyio.create_task_group() as group:
        group.start_soon(line.ask, granter, claim("all"), "all")
        await scope.until(lambda: len(line.waiting) == 1)
        group.start_soon(line.ask, granter, claim("shared"), "late")
        await scope.until(lambda: len(line.waiting) == 2)
        for share in shares:
            assert line.granted == []
            share.release()
            await scope.sleep(0.5)
        await scope.until(lambda: len(line.granted) == 1)
        assert line.release_all() == ["all"]
    assert line.release_all() == ["late"]


async def test_two_hundred_claims_with_cancellations_never_exceed_what_there_is(
    scope: Scope,
) -> None:
    dice, held, most, done = random.Random(7), 0, 0, 0
    granters = [scope.make() for _ in range(4)]

    async def one(granter: Granter, amount: int, asks_s: float, patience_s: float) -> None:
        nonlocal held, most, done
        await scope.sleep(asks_s)
        with anyio.move_on_after(patience_s * scope.unit_s) as waiting:
            grant = await granter.grant(claim(amount, 4), nothing)
            waiting.deadline = float("inf")  # which may have come in the moment of the grant
            held += amount
            most = max(most, held)
            with anyio.CancelScope(shield=True):
                await scope.sleep(0.5)
            held -= amount
            done += 1
            grant.release()

    async with anyio.create_task_group() as group:
        for number in range(200):
            patience_s = dice.choice((float("inf"), 3.0))
            rest = dice.randint(1, 4), 20 * dice.random(), patience_s
            group.start_soon(one, granters[number % 4], *rest)
    assert (most, held) == (4, 0)
    assert 0 < done < 200


async def test_slots_are_shared_and_each_process_has_one_place_in_the_line(scope: Scope) -> None:
    slots = [GrantedSlots(3, CAUSE, scope.make(), "s") for _ in range(4)]
    assert [each.idle for each in slots] == [True] * 4
    now = most = 0
    order: list[int] = []
    told: dict[int, int] = {}

    async def one(number: int) -> None:
        nonlocal now, most
        slots[number].tell(lambda: told.update({number: told.get(number, len(order))}))
        await slots[number].acquire()
        order.append(number)
        now += 1
        most = max(most, now)
        assert not slots[number].idle
        await scope.sleep(1)
        now -= 1
        slots[number].release()

    async with anyio.create_task_group() as group:
        for _ in range(30):  # one process that asks much
            group.start_soon(one, 0)
        await scope.until(lambda: len(order) == 3)
        for number in (1, 2, 3):
            group.start_soon(one, number)
        await scope.until(lambda: {1, 2, 3} <= {*told, *order})
    assert most == 3
    # Nobody waits for all thirty: before it come those of other processes, one of each.
    assert all(order.index(number) - told[number] <= 6 for number in told.keys() & {1, 2, 3})
    assert all(each.idle for each in slots)


async def test_who_is_told_to_give_up_leaves_the_line(scope: Scope) -> None:
    one, two = (GrantedSlots(1, CAUSE, scope.make(), "s") for _ in range(2))
    await one.acquire()
    gone: list[str] = []

    async def wait(who: str) -> None:
        try:
            await two.acquire(who=who)
        except AbandonedError:
            gone.append(who)

    async with anyio.create_task_group() as group:
        for who in ("asks", "stands behind"):
            group.start_soon(wait, who)
            await scope.sleep(1)
        two.abandon("somebody else")
        two.abandon("stands behind")
        two.abandon("asks")
    assert sorted(gone) == ["asks", "stands behind"]
    one.release()
    await two.acquire()
    two.release()


async def test_a_rate_holds_over_all_processes(scope: Scope) -> None:
    starts: list[float] = []
    per_s = 10 * scope.unit_s
    rates = [GrantedRate(20, per_s, CAUSE, scope.make(), "s") for _ in range(4)]

    async def one(rate: GrantedRate, pause: float) -> None:
        for number in range(25):
            await scope.sleep(pause)
            await rate.acquire()
            await scope.sleep(pause / 7)  # until it really starts
            if number % 5 == 4:
                rate.release()  # or until it is known that it will not
                continue
            starts.append(anyio.current_time())
            rate.note_start()
            rate.release()

    await scope.sleep(1)
    async with anyio.create_task_group() as group:
        for number, rate in enumerate(rates):
            group.start_soon(one, rate, 0.001 * number)
    assert len(starts) == 80
    assert all(
        after - before >= per_s - 1e-9 for before, after in zip(starts, starts[20:], strict=False)
    )


async def test_a_rate_is_used_up_to_the_last_start(scope: Scope) -> None:
    rate = GrantedRate(2, scope.unit_s, CAUSE, scope.make(), "s")
    assert not rate.is_busy()
    late, told = [], list[int]()
    await scope.sleep(1)
    for number in range(5):
        rate.tell(lambda n=number: told.append(n))  # type: ignore[misc]
        late.append(await rate.acquire())
        rate.note_start()
        rate.release()
    assert late[:3] == [False, False, True]
    assert told[:1] == [2]
    with anyio.CancelScope() as asking:
        asking.cancel()
        await rate.acquire()
    rate.abandon("nobody")


async def test_locks_are_told_to_who_looks(scope: Scope, state: Any) -> None:
    one, two, line = scope.make(), scope.make(), Line()
    first = await one.grant(claim(1, run="r1", task="a[2]"), nothing)
    async with anyio.create_task_group() as group:
        await line.ask(two, claim(2, 3, run="", task="b"), "b")
        group.start_soon(line.ask, two, claim("all", run="r2", task="c"), "c")
        await scope.until(lambda: line.waiting == ["c"])
        (told,) = state()
        limit = await one.grant(Claim(Hold("no lock", number=1), 1), nothing)
        assert [each["name"] for each in state()] == ["gpu"]
        limit.release()
        group.cancel_scope.cancel()
    assert told["capacity"] == 3
    holders = [(each["task"], each["run"], each["amount"]) for each in told["holders"]]
    assert holders == [("a[2]", "r1", 1), ("b", None, 2)]
    assert [each["amount"] for each in told["waiting"]] == ["all"]
    assert {each["process"] for each in told["holders"]} == {os.getpid()}
    first.release()
    line.release_all()
    await scope.until(lambda: state() == [])


async def test_tasks_hold_locks_here_and_then_there(scope: Scope) -> None:
    pools = []
    for _ in range(2):
        pools.append(Locks(resources={"gpu": 2}))
        pools[-1].wider = GrantedLocks({"gpu": scope.make()}.get)
    one, two = pools
    waits: list[str] = []
    await one.acquire(Hold("gpu", number=2), who="a", task="a")
    await one.acquire(Hold("own"), who="a", task="a")
    await two.acquire(Hold("own"), who="b", task="b")  # of its process alone

    async def want(who: str) -> None:
        await two.acquire(
            Hold("gpu", number=1), who=who, task=who, on_wait=lambda: waits.append(who)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(want, "b")
        await scope.until(lambda: waits == ["b"])
        # A name out of order is refused where nobody could see a circle.
        late = Locks([Hold("zoo")], Locks([Hold("own")], two, "b"), "b")
        with pytest.raises(CallError, match='lock "gpu" is not free, and those who hold it may'):
            await late.acquire(Hold("gpu", number=1), who="c", task="b/c")
        one.release("gpu", who="a")
    with anyio.move_on_after(scope.unit_s):
        await one.acquire(Hold("gpu"), who="a", task="a")
    two.release("gpu", who="b")
    two.release("own", who="b")
    one.release("own", who="a")
    assert repr(one) == repr(two) == "Locks([])"
