"""While long work is done in a thread, the event loop gets its turns; then all is as before."""

from __future__ import annotations

import gc
import sys
import threading

import anyio
import pytest

from orchestrator.documents.threads import TURN_S, in_thread, short_turns

pytestmark = pytest.mark.anyio


def turn_s() -> float:
    return round(sys.getswitchinterval(), 6)


async def test_turns_are_short_and_nothing_is_collected_while_work_is_done_in_a_thread() -> None:
    before = turn_s(), gc.isenabled()
    assert before[0] > TURN_S
    assert await in_thread(lambda a, b: (a, b, turn_s(), gc.isenabled()), 1, 2) == (
        1,
        2,
        TURN_S,
        False,
    )
    with pytest.raises(ValueError, match="no"):
        await in_thread(int, "no")
    assert (turn_s(), gc.isenabled()) == before


async def test_turns_are_short_until_the_last_work_ends_also_if_nobody_waits_for_it() -> None:
    before, goes_on, may_end = turn_s(), threading.Event(), threading.Event()
    seen: list[float] = []

    def work() -> None:
        goes_on.set()
        may_end.wait(60)
        seen.append(turn_s())

    async with anyio.create_task_group() as group:
        group.start_soon(in_thread, work)
        await anyio.to_thread.run_sync(goes_on.wait, 10)
        group.cancel_scope.cancel()
    with short_turns():
        pass
    assert turn_s() == TURN_S
    may_end.set()
    while not seen or turn_s() != before:
        await anyio.sleep(0)
    assert seen == [TURN_S]
