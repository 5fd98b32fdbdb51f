"""The slots of a run on a virtual clock: who is carried out when, and by how many tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from orchestrator.calls.limits import AbandonedError
from orchestrator.calls.worker_pool import WorkerPool
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    return virtual_clock(request.param)


class Log:
    """Who began, when, and in which task of the event loop."""

    def __init__(self) -> None:
        self.zero = anyio.current_time()
        self.began: list[tuple[str, float]] = []
        self.tasks: set[int] = set()
        self.at_once = self.most = 0

    def work(self, who: str, seconds: float = 1.0) -> Callable[[], Coroutine[Any, Any, None]]:
        async def do() -> None:
            self.began.append((who, anyio.current_time() - self.zero))
            self.tasks.add(anyio.get_current_task().id)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await anyio.sleep(seconds)
            self.at_once -= 1

        return do


async def test_the_queue_is_served_by_priority_and_by_as_many_tasks_as_there_are_slots() -> None:
    crew, log = WorkerPool(2), Log()
    async with anyio.create_task_group() as tasks:
        for number in reversed(range(6)):
            crew.start_soon(tasks, log.work(str(number)), priority=(number,))
        assert crew.is_busy()
    began = [("0", 0), ("1", 0), ("2", 1), ("3", 1), ("4", 2), ("5", 2)]
    assert sorted(log.began) == began
    assert log.most == len(log.tasks) == 2
    assert crew.idle
    assert repr(crew) == "WorkerPool(2 of 2 free, 0 wanted)"


async def test_what_becomes_ready_at_the_same_moment_takes_part() -> None:
    crew, log = WorkerPool(1), Log()
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            await log.work("first")()
            crew.start_soon(tasks, log.work("urgent"), priority=(0,))

        crew.start_soon(tasks, first, priority=(1,))
        crew.start_soon(tasks, log.work("patient"), priority=(2,))
    assert log.began == [("first", 0), ("urgent", 1), ("patient", 2)]


async def test_those_who_wait_by_themselves_share_the_slots_with_the_queue() -> None:
    crew, log = WorkerPool(1), Log()

    async def alone(who: str, priority: float) -> None:
        await crew.acquire((priority,), group="another of the run")
        await log.work(who)()
        crew.release()

    async with anyio.create_task_group() as tasks:
        crew.start_soon(tasks, log.work("b"), priority=(2,))
        crew.start_soon(tasks, log.work("d"), priority=(4,))
        tasks.start_soon(alone, "c", 3)
        tasks.start_soon(alone, "a", 1)
        crew.start_soon(tasks, log.work("e"), priority=(5,))
    assert log.began == [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 4)]
    assert log.most == 1
    assert crew.idle


async def test_what_is_abandoned_in_the_queue_is_done_at_once_and_without_a_slot() -> None:
    crew, log = WorkerPool(1), Log()
    async with anyio.create_task_group() as tasks:
        crew.start_soon(tasks, log.work("long", 3), priority=(1,), who="long")
        crew.start_soon(tasks, log.work("abandoned", 0), priority=(2,), who="abandoned")
        crew.start_soon(tasks, log.work("next"), priority=(3,), who="next")
        await anyio.sleep(1)
        crew.abandon("abandoned")
        crew.abandon("abandoned")
        crew.abandon("long")  # it has its slot: nothing to give up
        crew.abandon("nobody")
    assert log.began == [("long", 0), ("abandoned", 1), ("next", 3)]
    assert crew.idle


async def test_one_who_waits_by_himself_can_be_abandoned_too() -> None:
    crew, log = WorkerPool(1), Log()

    async def alone() -> None:
        with pytest.raises(AbandonedError):
            await crew.acquire(who="me")
        log.began.append(("gone", anyio.current_time() - log.zero))

    async with anyio.create_task_group() as tasks:
        crew.start_soon(tasks, log.work("long", 3))
        tasks.start_soon(alone)
        await anyio.sleep(1)
        crew.abandon("me")
    assert log.began == [("long", 0), ("gone", 1)]


async def test_what_is_cancelled_leaves_its_slot_to_others() -> None:
    crew, log = WorkerPool(1), Log()
    async with anyio.create_task_group() as others, anyio.create_task_group() as tasks:
        crew.start_soon(tasks, log.work("cancelled", 9), priority=(1,))
        crew.start_soon(tasks, log.work("never"), priority=(2,), who="never")
        crew.start_soon(others, log.work("other"), priority=(3,))
        await anyio.sleep(1)
        crew.abandon("never")
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    assert log.began == [("cancelled", 0), ("never", 1), ("other", 2)]
    assert crew.idle


async def test_a_failure_leaves_its_slot_and_comes_out() -> None:
    crew = WorkerPool(1)

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            crew.start_soon(tasks, fail)
    assert caught.group_contains(ValueError, match="broken")
    assert crew.idle
