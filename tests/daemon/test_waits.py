"""What commands wait for in a pool: locks of each other, and one that says nothing any more."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.calls.grants import GrantedLocks
from orchestrator.calls.locks import Locks
from orchestrator.daemon import connection
from orchestrator.daemon.guest import Guest
from orchestrator.engine.events import TaskWaiting
from orchestrator.errors import CallError
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold
from tests.daemon.pools import faulty, until, warm

pytestmark = pytest.mark.anyio
HANGS = {"id": "a", "tool": "faulty:hang", "arguments": {}, "timeout_s": 60}
ECHO = {"id": "b", "tool": "faulty:echo", "arguments": {"value": 2}}


async def test_a_wait_for_a_lock_of_another_command_is_reported(tmp_path: Path) -> None:
    waits: list[str] = []
    async with (
        warm(tmp_path, faulty()) as kept,
        Orchestrator(kept.pool()) as one,
        Orchestrator(kept.pool()) as two,
        one.begin({"tasks": [{**HANGS, "locks": ["door"]}]}) as run,
        anyio.create_task_group() as group,
    ):
        group.start_soon(run.execute)
        await until(kept.calls)

        def note(event: Any) -> None:
            if isinstance(event, TaskWaiting):
                waits.append(event.waiting_for)
                run.cancel("its turn")

        result = await two.run({"tasks": [{**ECHO, "locks": ["door"]}]}, observers=[note])
    assert result["b"].output == {"value": 2}
    assert waits == ['lock "door"']


async def test_no_two_commands_wait_for_each_others_locks(tmp_path: Path) -> None:
    waiting = anyio.Event()
    async with warm(tmp_path, faulty()) as kept, kept.pool() as one, kept.pool() as two:
        around_x, inside_x, around_a, inside_a = (object() for _ in range(4))
        await one.locks.acquire(Hold("x"), who=around_x, task="x")
        await two.locks.acquire(Hold("a"), who=around_a, task="a")
        in_x = Locks([Hold("x")], one.locks, around_x)
        in_a = Locks([Hold("a")], two.locks, around_a)

        async def last() -> None:
            await in_a.acquire(Hold("x"), who=inside_a, task="a/last", on_wait=waiting.set)

        async with anyio.create_task_group() as group:
            group.start_soon(last)
            await waiting.wait()
            with pytest.raises(CallError, match='lock "a" would never be free: task "a/last"'):
                await in_x.acquire(Hold("a"), who=inside_x, task="x/last")
            one.locks.release("x", who=around_x)
        in_a.release("x", who=inside_a)
        two.locks.release("a", who=around_a)
        await until(lambda: not kept.host.locks._named)
        assert repr(one.locks) == repr(two.locks) == "Locks([])"


async def test_where_locks_hold_for_the_machine_too_a_late_one_is_not_waited_for(
    tmp_path: Path,
) -> None:
    async with warm(tmp_path, faulty()) as kept, kept.pool() as one, kept.pool() as two:
        two.locks.wider = GrantedLocks({"z": Machine(tmp_path)}.get)
        await one.locks.acquire(Hold("a"), who=1, task="")
        await two.locks.acquire(Hold("x"), who=2, task="")
        inside = Locks([Hold("x")], two.locks, 2)
        with pytest.raises(CallError, match='lock "a" is not free, and those who hold it may wait'):
            await inside.acquire(Hold("a"), who=3, task="")
        one.locks.release("a", who=1)
        await until(lambda: "a" not in kept.host.locks._named)
        await inside.acquire(Hold("a"), who=3, task="")
        inside.release("a", who=3)
        two.locks.release("x", who=2)


async def test_each_command_counts_up_to_what_its_own_file_says(tmp_path: Path) -> None:
    # The file was changed while the pool runs, between two commands.
    async with warm(tmp_path, faulty()) as kept, kept.pool() as old, kept.pool() as new:
        old.locks._resources, new.locks._resources = {"gpu": 2}, {"gpu": 3}
        one, waits = Hold("gpu", number=1), list[str]()
        for who in (1, 2):
            await old.locks.acquire(one, who=who, task="")
        await new.locks.acquire(one, who=3, task="")

        async def want(pool: Any, who: int) -> None:
            note = partial(waits.append, str(who))
            await pool.locks.acquire(one, who=who, task="", on_wait=note)

        async with anyio.create_task_group() as group:
            group.start_soon(want, old, 4)
            await until(lambda: waits == ["4"])
            group.start_soon(want, new, 5)
            await until(lambda: waits == ["4", "5"])  # nobody overtakes
            for pool, who in ((new, 3), (old, 1)):
                pool.locks.release("gpu", who=who)
        for pool, who in ((old, 2), (old, 4), (new, 5)):
            pool.locks.release("gpu", who=who)
        await until(lambda: not kept.host.locks._named)


async def test_a_pool_that_says_nothing_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.01)
    monkeypatch.setattr(connection, "ROUNDS", 3)
    async with warm(tmp_path, faulty()) as kept, Orchestrator(kept.pool()) as orchestrator:
        results: list[Any] = []
        writes = {"id": "a", "tool": "faulty:append", "arguments": {"value": 1, "ms": 60_000}}
        plan = {"tasks": [writes, {**ECHO, "depends_on": ["a"], "run_if": "all_done"}]}

        async def run() -> None:
            results.append(await orchestrator.run(plan))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await until(kept.calls)
            monkeypatch.setattr(Guest, "_take", lambda *_: None)
        [result] = results
        error = result["a"].error
        assert error is not None
        assert (error.kind, error.details["lost"]) == ("server_unavailable", True)
        assert error.message == (
            'server "faulty": the warm pool has not answered for 0.03 s, and it was kept there'
        )
        assert result["b"].output == {"value": 2}
    assert kept.said == [
        "the warm pool has not answered for 0.03 s; this command goes on with its own servers"
    ]


async def test_one_that_answers_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.001)
    pings, ping = [], Guest._do_ping

    async def noted(guest: Guest, *given: Any) -> Any:
        pings.append(1)
        return await ping(guest, *given)

    monkeypatch.setattr(Guest, "_do_ping", noted)
    async with (
        warm(tmp_path, faulty()) as kept,
        Orchestrator(kept.pool()) as orchestrator,
        orchestrator.begin({"tasks": [HANGS]}) as run,
        anyio.create_task_group() as group,
    ):
        group.start_soon(run.execute)
        await until(lambda: len(pings) > 3)
        run.cancel("enough")
    assert kept.said == []
