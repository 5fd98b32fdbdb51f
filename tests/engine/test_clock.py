"""The clock of a run stands still while the run only waits for servers, and at no other time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from orchestrator import Run
from orchestrator.engine.emitter import Clock
from orchestrator.workflow.plan import CallTemplate
from tests.fakes import ScriptedCaller, workflow
from tests.virtual_asyncio import VirtualLoop

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Door:
    """A gate that lets a tool through after so many seconds, and the run end after the last."""

    def __init__(self, **opens_s: float) -> None:
        self.zero = anyio.current_time()
        self.opens_s = opens_s

    def waiting_for(self, target: CallTemplate | None = None) -> str:
        last = max(self.opens_s.values())
        opens_s = last if target is None else self.opens_s.get(target.tool, 0.0)
        return "the door" if anyio.current_time() - self.zero < opens_s else ""

    async def changed(self) -> None:
        past_s = anyio.current_time() - self.zero
        await anyio.sleep(min(at for at in self.opens_s.values() if at > past_s) - past_s)


async def test_it_counts_but_while_it_stands_still() -> None:
    clock = Clock()
    clock.start()
    await anyio.sleep(1)
    clock.go_on()  # it does
    clock.stand_still()
    await anyio.sleep(5)
    clock.stand_still()
    assert clock.now_ms() == 1000
    clock.go_on()
    await anyio.sleep(1)
    assert clock.now_ms() == 2000
    assert anyio.current_time() - clock.zero == 2


async def test_a_run_that_only_waits_for_a_server_takes_no_time() -> None:
    caller = ScriptedCaller({"a": [(1, None)], "b": [(1, None)]})
    result = await Run(workflow("a", "b"), caller, gate=Door(b=5)).execute()
    a, b = result["a"], result["b"]
    assert (a.started_ms, a.duration_ms, a.waited_ms) == (0, 1000, 0)
    assert (b.started_ms, b.duration_ms, b.waited_ms) == (1000, 1000, 5000)
    assert (result.duration_ms, result.speedup) == (2000, 1)


async def test_time_in_which_anything_runs_counts() -> None:
    caller = ScriptedCaller({"a": [(3, None)], "b": [(1, None)]})
    result = await Run(workflow("a", "b"), caller, gate=Door(b=2)).execute()
    assert result["b"].started_ms == 2000
    assert result.duration_ms == 3000


async def test_a_run_that_waits_for_the_check_of_its_plan_has_ended() -> None:
    caller = ScriptedCaller({"a": [(1, None)], "b": [(1, None)]})
    result = await Run(workflow("a", "b: a"), caller, gate=Door(c=9)).execute()
    assert result.duration_ms == 2000
    assert result["b"].started_ms == 1000
