"""The limits of servers that a pool keeps, and what becomes of waits for them when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.calls.call import Call
from orchestrator.daemon.guest import Guest
from orchestrator.engine.events import TaskWaiting
from orchestrator.errors import CallError
from tests.daemon.pools import Warm, faulty, until, warm

pytestmark = pytest.mark.anyio
HANGS = {"id": "a", "tool": "faulty:append", "arguments": {"value": 1, "ms": 60_000}}
ECHO = {"id": "b", "tool": "faulty:echo", "arguments": {"value": 2}}


def rate_of(kept: Warm) -> Any:
    return kept.host.servers["faulty"].policy.rate


async def test_a_start_counts_for_all_and_blocks_nobody_longer(tmp_path: Path) -> None:
    async with (
        warm(tmp_path, faulty(rate="2/h")) as kept,
        Orchestrator(kept.pool()) as one,
        Orchestrator(kept.pool()) as two,
    ):
        for each in (one, two):
            assert await each.call("faulty:echo", {"value": 1}) == {"value": 1}
        assert kept.said == []
        assert len(rate_of(kept)._starts) == 2
        late = await two.run({"tasks": [ECHO], "timeout_s": 0.01})
        assert late["b"].status == "cancelled"
        await until(lambda: rate_of(kept)._turn.idle)


async def test_who_waits_for_a_limit_when_the_pool_ends_takes_its_own(tmp_path: Path) -> None:
    def note(event: Any) -> None:
        if isinstance(event, TaskWaiting):
            kept.kill()

    async with (
        warm(tmp_path, faulty(max_concurrency=1, rate="100/s")) as kept,
        Orchestrator(kept.pool()) as one,
        Orchestrator(pool := kept.pool()) as two,
        anyio.create_task_group() as group,
    ):
        group.start_soon(one.run, {"tasks": [HANGS]})
        await until(kept.calls)
        tasks = [ECHO, {**ECHO, "id": "c"}]
        result = await two.run({"tasks": tasks}, observers=[note])
        assert [each.output for each in result.tasks.values()] == [{"value": 2}, {"value": 2}]
        policy = pool.policies["faulty"]
        assert policy.slots is not None
        assert policy.rate is not None
        assert policy.slots.idle
        assert policy.rate._turn.idle
        assert len(policy.rate._starts) == 2


async def test_who_waits_for_a_lock_when_the_pool_ends_goes_on(tmp_path: Path) -> None:
    def note(event: Any) -> None:
        if isinstance(event, TaskWaiting):
            kept.kill()

    async with (
        warm(tmp_path, faulty()) as kept,
        Orchestrator(kept.pool()) as one,
        Orchestrator(kept.pool()) as two,
        anyio.create_task_group() as group,
    ):
        group.start_soon(one.run, {"tasks": [{**HANGS, "locks": ["door"]}]})
        await until(kept.calls)
        result = await two.run({"tasks": [{**ECHO, "locks": ["door"]}]}, observers=[note])
        assert result["b"].output == {"value": 2}


async def test_a_call_that_is_cancelled_waits_for_no_limit(tmp_path: Path) -> None:
    async with (
        warm(tmp_path, faulty(max_concurrency=1)) as kept,
        Orchestrator(kept.pool()) as one,
        Orchestrator(kept.pool()) as two,
        one.begin({"tasks": [HANGS]}) as first,
        two.begin({"tasks": [ECHO]}, observers=[lambda event: note(event)]) as second,
        anyio.create_task_group() as group,
    ):

        def note(event: Any) -> None:
            if isinstance(event, TaskWaiting):
                second.cancel_task("b", "not needed")

        group.start_soon(first.execute)
        await until(kept.calls)
        result = await second.execute()
        assert result["b"].status == "cancelled"
        first.cancel("enough")
        slots = kept.host.servers["faulty"].policy.slots
        assert slots is not None
        await until(lambda: slots.idle)


async def test_what_fails_in_the_pool_is_an_error_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(*_: object) -> None:
        raise RuntimeError("a bug")

    async with warm(tmp_path, faulty()) as kept, kept.pool() as pool:
        await pool.open(["faulty"])
        with monkeypatch.context() as broken:
            broken.setattr(Guest, "_do_call", bug)
            with pytest.raises(CallError, match="the warm pool failed: RuntimeError") as caught:
                await pool.call(Call("a", "faulty", "echo", {"value": 1}))
            assert caught.value.error.kind == "internal"
        kept.program().call = not_json
        with pytest.raises(CallError, match="the output cannot be passed on"):
            await pool.call(Call("a", "faulty", "echo", {"value": 1}))


async def not_json(*_: object) -> Any:
    return {1, 2}


async def test_a_pool_that_keeps_none_of_the_servers_is_left_alone(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty("one")) as kept:
        mine = {"faulty": faulty(), "one": faulty("one", env={"X": "1"})}
        async with Orchestrator(kept.pool(mine)) as orchestrator:
            assert await orchestrator.call("faulty:echo", {"value": 1}) == {"value": 1}
            await until(lambda: not kept.host._guests)
            assert len(kept.said) == 1  # of those that it needs
            assert await orchestrator.call("one:echo", {"value": 1}) == {"value": 1}
            assert await orchestrator.call("one:echo", {"value": 2}) == {"value": 2}
    assert kept.said == [
        f"the warm pool has another configuration of server {differs}, "
        'so this command starts its own; "orchestrator up" renews the pool'
        for differs in ('"faulty" (it has none)', '"one" (env)')
    ]
