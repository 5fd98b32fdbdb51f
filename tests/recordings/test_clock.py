"""The clock that does not wait: it jumps to the next timer, but never past work in a thread."""

from __future__ import annotations

import signal
import threading
from functools import partial

import anyio
from anyio import to_thread

from orchestrator.recordings.clock import INSTANT


def test_time_is_that_of_the_timers() -> None:
    async def wait() -> list[float]:
        times = [anyio.current_time()]
        await anyio.sleep(86_400)
        times.append(anyio.current_time())
        with anyio.move_on_after(3600):
            await anyio.sleep_forever()
        return [*times, anyio.current_time()]

    assert anyio.run(wait, **INSTANT) == [0, 86_400, 90_000]


def test_work_in_a_thread_takes_no_time() -> None:
    async def wait() -> float:
        may_end = threading.Event()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(partial(to_thread.run_sync, may_end.wait))
                await anyio.sleep(0)
                timer = threading.Timer(0.05, may_end.set)
                timer.start()
        timer.join()
        return anyio.current_time()

    assert anyio.run(wait, **INSTANT) == 0


def test_a_signal_ends_a_wait_without_a_timer() -> None:
    async def wait() -> signal.Signals:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGUSR1)).start()
            async for number in signals:
                return signal.Signals(number)
        raise AssertionError

    assert anyio.run(wait, **INSTANT) == signal.SIGUSR1
