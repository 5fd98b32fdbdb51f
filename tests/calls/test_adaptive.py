"""Slots whose number adapts, on a virtual clock: how near they come to the right limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import anyio
import pytest

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.limits import Slots
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    """asyncio, which starts tasks in their order: what is learnt does not depend on chance."""
    return virtual_clock("asyncio")


Latency = Callable[[int], float]


class RefusedError(Exception):
    """The server is overloaded."""


async def makespan(
    slots: Slots, calls: int, latency: Latency, refuses_beyond: float = 256
) -> float:
    """How long a server takes for `calls`, of which one beside n others takes `latency(n + 1)`."""
    running = 0

    async def call() -> None:
        nonlocal running
        running += 1
        try:
            if running > refuses_beyond:
                await anyio.sleep(0.02)
                raise RefusedError
            await anyio.sleep(latency(running))
        finally:
            running -= 1

    async def until_answered(wait_s: float = 0.25) -> None:
        async with slots.slot():
            timed = slots.begin("t") if isinstance(slots, AdaptiveSlots) else None
            try:
                await call()
            except RefusedError:
                if isinstance(slots, AdaptiveSlots) and timed is not None:
                    slots.fail(timed, overloaded=True)
            else:
                if isinstance(slots, AdaptiveSlots) and timed is not None:
                    slots.succeed(timed)
                return
        await anyio.sleep(wait_s)
        await until_answered(2 * wait_s)

    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(until_answered)
    return anyio.current_time() - start


def spread_of(name: str) -> Callable[[], float]:
    """How a call's time differs from the next one's."""
    chance = Random(1)
    return {
        "always the same": lambda: 1.0,
        "half to one and a half": lambda: chance.uniform(0.5, 1.5),
        "most short, some ten times as long": lambda: chance.choice([0.3, 0.3, 0.3, 3.1]),
    }[name]


async def of_twenty(
    slots: Slots, slower: Callable[[float], float], refuses_beyond: float, spread: str
) -> float:
    """The makespan on a server for which 20 calls at a time are right."""
    differs = spread_of(spread)

    def latency(running: int) -> float:
        return differs() * slower(max(1.0, running / 20))

    return await makespan(slots, 800, latency, refuses_beyond)


@pytest.mark.untraced
@pytest.mark.parametrize("spread", ["always the same", "half to one and a half"])
@pytest.mark.parametrize(
    ("slower", "refuses_beyond"),
    [
        pytest.param(lambda load: load, 256, id="shares its time"),
        pytest.param(lambda load: load**1.6, 256, id="thrashes"),
        pytest.param(lambda load: load**2, 256, id="thrashes badly"),
        pytest.param(lambda _: 1.0, 20, id="refuses"),
    ],
)
async def test_an_adaptive_limit_comes_near_the_right_limit(
    slower: Callable[[float], float], refuses_beyond: float, spread: str
) -> None:
    adaptive = await of_twenty(AdaptiveSlots(), slower, refuses_beyond, spread)
    assert adaptive <= 1.3 * await of_twenty(Slots(20), slower, refuses_beyond, spread)


async def test_a_few_calls_that_take_long_anyway_do_not_mislead_an_adaptive_limit() -> None:
    spread = "most short, some ten times as long"
    adaptive = await of_twenty(AdaptiveSlots(), lambda load: load, 256, spread)
    assert adaptive <= 1.5 * await of_twenty(Slots(20), lambda load: load, 256, spread)


async def test_an_adaptive_limit_grows_without_bound_where_calls_stay_quick() -> None:
    slots = AdaptiveSlots()
    took = await makespan(slots, 2000, lambda _: 1.0)
    assert slots.limit == AdaptiveSlots.MOST
    # 4 twice, 8, 16, 32, 64, 128, and then 256 at a time.
    assert took == pytest.approx(7 + 7)


async def test_an_adaptive_limit_goes_below_its_first_value() -> None:
    slots = AdaptiveSlots()
    await makespan(slots, 200, lambda running: max(1, running / 2) ** 2)
    assert slots.limit <= 3


async def call_in_slots(slots: AdaptiveSlots, times: Iterable[float], tool: str = "t") -> None:
    async def call(took_s: float) -> None:
        async with slots.slot():
            timed = slots.begin(tool)
            await anyio.sleep(took_s)
            slots.succeed(timed)

    async with anyio.create_task_group() as group:
        for took_s in times:
            group.start_soon(call, took_s)


async def test_slow_first_calls_are_not_the_measure() -> None:
    slots = AdaptiveSlots()
    await call_in_slots(slots, [30.0] * 4 + [1.0] * 60)
    assert slots.limit > 16
    await call_in_slots(slots, [3.0] * 300)
    assert slots.limit <= 16


async def test_tools_are_measured_each_by_itself() -> None:
    slots = AdaptiveSlots()
    await call_in_slots(slots, [1.0] * 60, "quick")
    grown = slots.limit
    await call_in_slots(slots, [50.0] * 200, "long")
    assert slots.limit > grown


async def test_a_call_that_hangs_does_not_stop_the_limit_from_adapting() -> None:
    slots = AdaptiveSlots()
    await call_in_slots(slots, [1.0] * 4 + [500.0] + [1.0] * 400)
    assert slots.limit > 64


async def test_refusals_reduce_the_limit_once_for_all_that_was_under_way() -> None:
    slots = AdaptiveSlots()
    slots.limit = 16
    limits = []
    for _ in range(8):
        under_way = [slots.begin("t") for _ in range(16)]
        for timed in under_way:
            slots.fail(timed, overloaded=True)
        limits.append(slots.limit)
    assert limits == [11, 8, 6, 4, 3, 2, 1, 1]


@pytest.mark.parametrize("used", [False, True])
async def test_what_failed_for_another_reason_teaches_nothing(used: bool) -> None:
    slots = AdaptiveSlots()
    for _ in range(50):
        await slots.acquire()
        slots.fail(slots.begin("t"), overloaded=False)
        slots.release()
    assert slots.limit == AdaptiveSlots.INITIAL
    if used:
        await call_in_slots(slots, [1.0] * 60)
        assert slots.limit > AdaptiveSlots.INITIAL


async def test_a_limit_that_is_not_used_does_not_grow() -> None:
    slots = AdaptiveSlots()
    for _ in range(50):
        async with slots.slot():
            slots.succeed(slots.begin("t"))
    assert slots.limit == AdaptiveSlots.INITIAL
