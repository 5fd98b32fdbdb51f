"""Locks that count: resources of which there are several, on a virtual clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from orchestrator.calls.locks import Locks
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.errors import CallError
from orchestrator.workflow.hold import Hold
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio
FOUR = {"gpu": 4}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    return virtual_clock(request.param)


@dataclass(frozen=True)
class Row:
    """A call that wants some of a lock: when it asks, how long it holds it, when it gives up."""

    hold: Hold
    asks_s: float
    holds_s: float
    patience_s: float | None = None


def granted_by_hand(rows: list[Row], capacity: int) -> dict[int, float]:
    """When each row is granted what it wants, as naive code: first come, first served."""
    events = [(row.asks_s, number, "asks") for number, row in enumerate(rows)]
    events += [
        (row.asks_s + row.patience_s, number, "leaves")
        for number, row in enumerate(rows)
        if row.patience_s is not None
    ]
    heapq.heapify(events)
    queue: list[int] = []
    holding: list[int] = []
    granted: dict[int, float] = {}

    def fits(wanted: Hold) -> bool:
        others = [rows[number].hold for number in holding]
        if wanted.number is None:
            return not others
        return all(other.number for other in others) and (
            wanted.number + sum(other.number or 0 for other in others) <= capacity
        )

    while events:
        now, number, what = heapq.heappop(events)
        match what:
            case "asks":
                queue.append(number)
            case "leaves" if number in queue:
                queue.remove(number)
            case "ends":
                holding.remove(number)
        while queue and fits(rows[queue[0]].hold):
            first = queue.pop(0)
            holding.append(first)
            granted[first] = now
            heapq.heappush(events, (now + rows[first].holds_s, first, "ends"))
    return granted


def dyadic(dice: random.Random, most: int) -> float:
    """A time whose sums are exact, and which no other is equal to."""
    return dice.randrange(1, most << 20) / (1 << 20)


def random_rows(seed: int, many: int) -> list[Row]:
    dice, rows = random.Random(seed), []
    for _ in range(many):
        hold = Hold("gpu", number=dice.randint(1, 4)) if dice.random() < 0.9 else Hold("gpu")
        patience_s = dyadic(dice, 20) if dice.random() < 0.4 else None
        rows.append(Row(hold, dyadic(dice, 100), dyadic(dice, 3), patience_s))
    return rows


@pytest.mark.parametrize("seed", range(5))
async def test_two_hundred_calls_are_granted_as_naive_code_has_it(seed: int) -> None:
    rows, locks, granted = random_rows(seed, 200), Locks(resources=FOUR), dict[int, float]()
    zero = anyio.current_time()

    async def one(number: int, row: Row) -> None:
        await anyio.sleep(row.asks_s)
        patience_s = float("inf") if row.patience_s is None else row.patience_s
        with anyio.move_on_after(patience_s) as waiting:
            await locks.acquire(row.hold, who=number, task="")
            waiting.deadline = float("inf")
            granted[number] = anyio.current_time() - zero
            await anyio.sleep(row.holds_s)
            locks.release("gpu", who=number)

    async with anyio.create_task_group() as group:
        for number, row in enumerate(rows):
            group.start_soon(one, number, row)
    assert granted == granted_by_hand(rows, 4)
    assert 0 < len(granted) < 200
    assert repr(locks) == "Locks([])"  # nothing leaks, whoever gave up


async def run(*tasks: Any, resources: Mapping[str, int] = FOUR, **fields: Any) -> RunResult:
    caller = ScriptedCaller({"a": [(1, 1)], "b": [(1, 1)]})
    servers = Servers(locks=Locks(resources=resources))
    with anyio.fail_after(1000):
        return await Run(workflow(*tasks, **fields), caller, servers=servers).execute()


def task(name: str, *locks: Any, **fields: Any) -> dict[str, Any]:
    return {"id": name, "tool": "fake:a", "arguments": {}, "locks": list(locks), **fields}


def gpu(count: int, name: str = "gpu") -> dict[str, Any]:
    return {"name": name, "count": count}


@pytest.mark.parametrize(
    ("lock", "took_ms"),
    [(gpu(1), 2_000), (gpu(2), 4_000), (gpu(3), 8_000), ("gpu", 8_000), (gpu(1, "other"), 8_000)],
)
async def test_items_hold_as_many_as_there_are(lock: Any, took_ms: float) -> None:
    result = await run(task("a", lock, for_each=list(range(8))))
    assert (result.status, result.duration_ms) == ("success", took_ms)


async def test_one_that_wants_many_is_not_overtaken_by_those_that_want_few() -> None:
    few = [task(f"few{n}", gpu(1)) for n in range(4)]
    late = [task(f"late{n}", gpu(1), delay_s=0.5) for n in range(4)]
    result = await run(*few, task("all", gpu(4), delay_s=0.25), *late)
    assert [result[name].started_ms for name in ("few3", "all", "late0")] == [0, 1_000, 2_000]


async def test_retries_and_turns_keep_what_they_hold() -> None:
    tries = task("a", gpu(3), retry={"max_attempts": 2, "initial_s": 5, "jitter": 0})
    turns = task("b", gpu(3), repeat={"until": "LAST == `1`", "every_s": 5}, tool="fake:b")
    script: dict[str, Any] = {"a": [(1, failing("no")), (1, 1)], "b": [(1, 0), (1, 1)]}
    servers = Servers(locks=Locks(resources=FOUR))
    result = await Run(workflow(tries, turns), ScriptedCaller(script), servers=servers).execute()
    assert (result.status, result.duration_ms) == ("success", 14_000)


async def test_two_names_in_any_order_are_taken_in_one() -> None:
    resources = {"gpu": 1, "cpu": 3}
    one = task("a", gpu(1), gpu(2, "cpu"), for_each=[1, 2])
    two = task("b", gpu(2, "cpu"), gpu(1), for_each=[1, 2])
    result = await run(one, two, resources=resources)
    assert (result.status, result.duration_ms) == ("success", 4_000)


@pytest.mark.parametrize(
    ("locks", "took_ms"),
    [
        ((gpu(1), gpu(2)), 2_000),  # the larger counts
        ((gpu(1), "gpu"), 4_000),
        ((gpu(1, "x"), {"name": "x", "mode": "shared"}), 4_000),
    ],
)
async def test_of_a_name_that_stands_there_twice_the_most_is_held(
    locks: tuple[Any, ...], took_ms: float
) -> None:
    result = await run(task("a", *locks, for_each=[1, 2, 3, 4]))
    assert (result.status, result.duration_ms) == ("success", took_ms)


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (gpu(5, "$INPUT.n"), 'expected at most 4 of lock "gpu", got 5'),
        (gpu(2, "x$INPUT.n"), 'expected at most 1 of lock "xgpu", got 2'),
        (
            {"name": "$INPUT.n", "mode": "shared"},
            'lock "gpu" is a resource of 4, which is counted and not shared',
        ),
    ],
)
async def test_what_there_never_is_is_an_error_and_no_wait(lock: Any, message: str) -> None:
    inputs = {"n": {"default": "gpu"}}
    plan = workflow(task("a", lock), inputs=inputs)
    servers = Servers(locks=Locks(resources=FOUR))
    result = await Run(plan, ScriptedCaller(), inputs={"n": "gpu"}, servers=servers).execute()
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.message) == ("invalid_arguments", message)


async def test_tasks_inside_share_what_the_task_around_holds() -> None:
    steps = [task("x", gpu(1)), task("y", gpu(1)), task("z", gpu(2), delay_s=0.5)]
    inner = {"tasks": steps}
    outer = {"id": "o", "workflow": inner, "locks": [gpu(2)], "for_each": [1, 2, 3]}
    # Of the four, two items hold two each, and in each its steps take turns.
    result = await run(outer)
    assert (result.status, result.duration_ms) == ("success", 4_000)


async def test_inside_a_name_is_held_as_far_as_around() -> None:
    locks = Locks(resources=FOUR)
    await locks.acquire(Hold("gpu", number=2), who="outer", task="o")
    await locks.acquire(Hold("x", shared=True), who="outer", task="o")
    inside = Locks([Hold("gpu", number=2), Hold("x", shared=True)], locks, "outer")
    for hold, message in (
        (Hold("gpu", number=3), 'holds 2 of lock "gpu", so no task in it can hold 3 of it'),
        (Hold("gpu"), 'holds 2 of lock "gpu", so no task in it can hold all of it'),
        (Hold("x", number=1), 'holds lock "x" shared, so no task in it can hold it counted'),
        (Hold("x"), 'holds lock "x" shared, so no task in it can hold it exclusively'),
    ):
        with pytest.raises(CallError, match=message):
            await inside.acquire(hold, who="i", task="o/i")
    await inside.acquire(Hold("gpu", number=2), who="i", task="o/i")
    inside.release("gpu", who="i")


async def test_a_share_and_a_count_of_one_name_exclude_each_other() -> None:
    # Two commands whose files differ may ask for it like that.
    locks, order = Locks(), list[str]()

    async def hold(who: str, what: Hold) -> None:
        await locks.acquire(what, who=who, task="")
        order.append(f"+{who}")
        await anyio.sleep(1)
        order.append(f"-{who}")
        locks.release("x", who=who)

    async with anyio.create_task_group() as group:
        for who, what in (("s", Hold("x", shared=True)), ("c", Hold("x", number=1))):
            group.start_soon(hold, who, what)
            await anyio.sleep(0.25)
        group.start_soon(hold, "t", Hold("x", shared=True))
    assert order == ["+s", "-s", "+c", "-c", "+t", "-t"]


async def test_the_state_says_who_holds_what_and_who_waits_in_which_order() -> None:
    locks = Locks(resources=FOUR)
    await locks.acquire(Hold("gpu", number=3), who=1, task="a[2]", run="r1")
    await anyio.sleep(2)
    async with anyio.create_task_group() as group:
        for who, what in ((2, Hold("gpu", number=2)), (3, Hold("gpu"))):
            group.start_soon(acquire, locks, what, who)
            await anyio.sleep(1)
        (state,) = locks.state()
        group.cancel_scope.cancel()
    held = {"run": "r1", "task": "a[2]", "amount": 3, "process": None, "for_s": 4.0}
    waits = {"run": None, "task": "w", "process": None}
    assert state == {
        "name": "gpu",
        "capacity": 4,
        "holders": [held],
        "waiting": [
            {**waits, "amount": 2, "for_s": 2.0},
            {**waits, "amount": "all", "for_s": 1.0},
        ],
    }
    assert [lock["waiting"] for lock in locks.state()] == [[]]
    locks.release("gpu", who=1)
    assert locks.state() == []


async def acquire(locks: Locks, hold: Hold, who: object) -> None:
    await locks.acquire(hold, who=who, task="w")
