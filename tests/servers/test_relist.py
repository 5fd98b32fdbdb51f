"""How often the tools of a server are listed again, on a virtual clock."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from orchestrator.schema.tool import Tool
from orchestrator.servers.health import HealthMonitor

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def listed(notices: list[float], takes_s: float, until_s: float) -> list[float]:
    """When the tools are listed, with notices at these times and a server that takes so long."""
    times: list[float] = []
    zero = anyio.current_time()
    monitor = HealthMonitor("it", lambda _: None, lambda: None)

    async def list_tools() -> list[Tool]:
        times.append(round(anyio.current_time() - zero, 3))
        await anyio.sleep(takes_s)
        return []

    async with anyio.create_task_group() as group:
        group.start_soon(monitor._relist, list_tools)
        for at in notices:
            await anyio.sleep_until(zero + at)
            monitor.relist_soon()
        await anyio.sleep_until(zero + until_s)
        group.cancel_scope.cancel()
    return times


async def test_a_storm_of_notices_is_answered_less_and_less_often() -> None:
    storm = [number / 100 for number in range(12_000)]
    times = await listed(storm, 0.0, 200)
    assert times[:5] == [0.0, 0.1, 0.3, 0.7, 1.5]
    assert len([at for at in times if at < 120]) == 12
    assert times[-1] >= storm[-1]  # the last notice counts


async def test_a_long_list_leaves_nine_tenths_of_the_time() -> None:
    storm = [number / 100 for number in range(6_000)]
    times = await listed(storm, 1.0, 60)
    assert times == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


async def test_single_changes_are_listed_at_once() -> None:
    assert await listed([5.0, 6.0, 7.0], 0.01, 10) == [5.0, 6.0, 7.0]


async def test_after_a_storm_changes_are_listed_at_once_again() -> None:
    storm = [number / 100 for number in range(500)]
    times = await listed([*storm, 60.0, 61.0], 0.0, 70)
    assert times[-2:] == [60.0, 61.0]
