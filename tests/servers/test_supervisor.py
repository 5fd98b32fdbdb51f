"""When the sessions of a server are started again, on a virtual clock, with sessions made of rows.

A row is how long a start takes, and then how long the session lives; one that fails lives for None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio.testing

from orchestrator import CallError, Server
from orchestrator.calls.call import Call
from orchestrator.engine.events import ServerFailed, ServerReady, ServerStarting, ServerToolsChanged
from orchestrator.errors import NotExecutedError, TaskError
from orchestrator.schema.tool import Tool
from orchestrator.servers.pool import ServerPool
from tests.real_servers import Watch

pytestmark = pytest.mark.anyio

FOREVER = float("inf")
Row = tuple[float, float | None]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Script:
    """What the sessions do, and when they were started.

    Attributes:
        rows: One for each start; the last one for ever.
        starts: The times of all starts.
        calls: The call of each, and the number of the session that it was made on.
        refuse: How many calls are refused because their session is gone.
        tools: What a session lists.
    """

    def __init__(self, *rows: Row) -> None:
        self.rows: Sequence[Row] = rows
        self.starts: list[float] = []
        self.calls: list[tuple[str, int]] = []
        self.refuse = 0
        self.tools = ["echo"]


class FakeSession:
    """A session that follows the script."""

    script = Script()

    def __init__(self, server: Server, listener: Any, *_: object) -> None:
        self.server = server
        self.listener = listener
        self.tools = [Tool(server.name, name, {}) for name in self.script.tools]
        self.protocol, self.offers = "fake", None
        self.in_flight = 0
        self.failure: TaskError | None = None
        self.doubtful = False
        self.served = False
        self.began_at = 0.0
        self.number = -1
        self._up = False
        self._ready = anyio.Event()
        self._over = anyio.Event()

    @property
    def usable(self) -> bool:
        return self._up and self.failure is None

    async def own(self) -> None:
        self.number = len(self.script.starts)
        rows = self.script.rows
        start_s, lives_s = rows[min(self.number, len(rows) - 1)]
        self.script.starts.append(anyio.current_time() - ZERO)
        with anyio.move_on_after(start_s):
            await self._over.wait()
        if lives_s is None:
            self._fail(f"start {self.number} failed")
        else:
            self._up, self.began_at = True, anyio.current_time()
        self._ready.set()
        with anyio.move_on_after(lives_s or 0.0):
            await self._over.wait()
        if self.failure is None:
            self.die()

    def die(self) -> None:
        self._fail(f"session {self.number} died")
        self.listener.on_end(self)
        self._over.set()

    def _fail(self, message: str) -> None:
        if self.failure is None:
            self.failure = TaskError("server_unavailable", message, True, {"server": "it"})

    async def started_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self._ready.wait()
        return self._ready.is_set()

    def give_up(self) -> None:
        self._fail("hung")
        self.close()

    def close(self) -> None:
        self._fail("was closed")
        self._over.set()

    def unavailable(self) -> CallError:
        assert self.failure is not None
        return CallError("server_unavailable", self.failure.message, **self.failure.details)

    async def call(self, call: Call, _: object = None) -> int:
        self.served = True
        self.script.calls.append((call.task, self.number))
        if self.script.refuse:
            self.script.refuse -= 1
            self.die()
            raise NotExecutedError("server_unavailable", "session gone")
        self.in_flight += 1
        try:
            with anyio.move_on_after(call.arguments.get("s", 0)):
                await self._over.wait()
        finally:
            self.in_flight -= 1
        if self.failure is not None:
            raise CallError("server_unavailable", self.failure.message)
        return self.number


ZERO = 0.0


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script((0.0, FOREVER))
    monkeypatch.setattr(FakeSession, "script", made)
    monkeypatch.setattr("orchestrator.servers.session.Session", FakeSession)
    return made


@asynccontextmanager
async def opened(
    script: Script, *rows: Row, watch: Watch | None = None, **settings: Any
) -> AsyncIterator[ServerPool]:
    global ZERO
    ZERO = anyio.current_time()
    script.rows = rows
    with anyio.fail_after(10_000):
        async with ServerPool({"it": Server(command="it", **settings)}) as pool:
            with pool.subscribe(watch or Watch(), ["it"]):
                await pool.open(["it"])
                yield pool


def now() -> float:
    return anyio.current_time() - ZERO


async def call(pool: ServerPool, task: str = "t", **arguments: Any) -> Any:
    return await pool.call(Call(task, "it", "echo", arguments))


async def error_of(pool: ServerPool, s: float = 0) -> CallError:
    with pytest.raises(CallError) as caught:
        await call(pool, s=s)
    return caught.value


async def test_a_session_that_ends_is_replaced_at_once_before_anybody_calls(script: Script) -> None:
    watch = Watch()
    async with opened(script, (0, 20), (1, FOREVER), watch=watch) as pool:
        await anyio.sleep(30)
        assert script.starts == [0, 20]
        assert await call(pool) == 1
    kinds = [type(event) for event in watch.events]
    first = [ServerStarting, ServerReady]
    assert kinds == [*first, ServerFailed, *first]
    assert isinstance(failed := watch.events[2], ServerFailed)
    assert failed.error.message == "session 0 died"


async def test_a_call_waits_for_the_restart_and_goes_on_there(script: Script) -> None:
    async with opened(script, (0, 20), (3, FOREVER)) as pool:
        await anyio.sleep(21)
        assert await call(pool) == 1
        assert now() == 23


async def test_many_calls_wait_for_one_restart(script: Script) -> None:
    async with opened(script, (0, 20), (3, FOREVER)) as pool:
        await anyio.sleep(20.5)
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(call, pool, f"t{number}")
        assert script.starts == [0, 20]
        assert {session for _, session in script.calls} == {1}


async def test_a_call_that_gives_up_waiting_does_not_stop_the_restart(script: Script) -> None:
    async with opened(script, (0, 20), (3, FOREVER)) as pool:
        await anyio.sleep(20.5)
        with anyio.move_on_after(1) as scope:
            await call(pool)
        assert scope.cancelled_caught
        assert await call(pool) == 1
        assert (now(), script.starts) == (23, [0, 20])


async def test_sessions_that_end_young_are_waited_for_longer_each_time(script: Script) -> None:
    async with opened(script, (0, 1)) as pool:
        await call(pool)  # a server that is used
        for number in range(1, 5):
            while len(script.starts) <= number:
                await anyio.sleep(0.125)
            await call(pool)
        async with anyio.create_task_group() as group:
            group.start_soon(error_of, pool, 60)
        assert script.starts == [0, 1, 2.5, 4.5, 7.5]
        error = await error_of(pool)
        assert "session 4 died. It has failed 5 times in a row" in str(error)
        assert error.error.details["failures"] == 5


async def test_restarts_that_fail_open_the_circuit_and_a_probe_closes_it(script: Script) -> None:
    watch = Watch()
    rows: list[Row] = [(0, 20), *[(0, None)] * 6, (2, FOREVER)]
    async with opened(script, *rows, watch=watch) as pool:
        await anyio.sleep(20.25)
        error = await error_of(pool)  # waits for all the restarts
        assert script.starts == [0, 20, 20.5, 21.5, 23.5, 27.5]
        assert now() == 27.5
        assert "start 5 failed. It has failed 5 times in a row" in str(error)
        assert error.error.details["retry_after_s"] == 10.0
        assert error.error.details == {"server": "it", "failures": 5, "retry_after_s": 10.0}
        await anyio.sleep(9)
        assert (await error_of(pool)).error.details["retry_after_s"] == 1.0
        assert now() == 36.5  # at once
        await anyio.sleep(1)
        assert "6 times" in str(await error_of(pool))  # the probe fails
        assert script.starts[6:] == [37.5]
        await anyio.sleep(10)
        assert await call(pool) == 7
        assert script.starts[7:] == [47.5]
        assert now() == 49.5
    assert sum(isinstance(event, ServerFailed) for event in watch.events) == 7


async def test_one_call_probes_and_the_others_wait_for_it(script: Script) -> None:
    async with opened(script, (0, None), (3, FOREVER)) as pool:
        await anyio.sleep(10)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call, pool)
        assert (now(), script.starts) == (13, [0, 10])


async def test_a_server_that_hangs_on_start_is_not_waited_for_again(script: Script) -> None:
    async with opened(script, (FOREVER, None), start_timeout_s=5) as pool:
        assert now() == 5
        for _ in range(3):
            error = await error_of(pool)
            assert str(error) == "hung"
        assert now() == 5


async def test_opening_before_a_run_tries_whatever_the_circuit_says(script: Script) -> None:
    async with opened(script, (0, None), (0, FOREVER)) as pool:
        assert pool.failure("it") is not None
        await pool.open(["it"])
        assert pool.failure("it") is None
        assert await call(pool) == 1
        assert now() == 0


async def test_opening_does_not_wait_for_the_backoff(script: Script) -> None:
    async with opened(script, (0, 20), (0, None), (0, None), (0, FOREVER)) as pool:
        await anyio.sleep(20.75)  # the third start would come at 21.5
        await pool.open(["it"])
        assert now() == 20.75
        await anyio.sleep(10)
        assert script.starts == [0, 20, 20.5, 20.75]


async def test_a_session_that_nobody_called_or_asked_for_is_not_replaced(script: Script) -> None:
    async with opened(script, (0, 20)) as pool:
        await anyio.sleep(100)
        assert script.starts == [0, 20]  # the second one was nobody's
        assert await call(pool) == 2
        await anyio.sleep(100)
        assert script.starts == [0, 20, 100, 120]


async def test_of_several_sessions_the_dead_are_replaced_while_the_others_carry_on(
    script: Script,
) -> None:
    rows: list[Row] = [(0, FOREVER), (0, 20), (5, FOREVER)]
    async with opened(script, *rows, sessions=2) as pool:
        await anyio.sleep(21)
        [session] = [await call(pool)]
        assert now() == 21
        await anyio.sleep(10)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(lambda: call(pool, s=1))
        assert {number for _, number in script.calls[1:]} == {session, 2}
        assert script.starts == [0, 0, 20]


async def test_many_sessions_that_are_killed_together_are_one_failure(script: Script) -> None:
    rows: list[Row] = [*[(0.0, 5.0)] * 8, (0, FOREVER)]
    async with opened(script, *rows, sessions=8) as pool:
        await anyio.sleep(6)
        await call(pool)
        assert script.starts == [0] * 8 + [5] * 8


async def test_sessions_that_cannot_be_replaced_do_not_keep_the_others_from_calls(
    script: Script,
) -> None:
    async with opened(script, (0, FOREVER), (0, 20), (0, None), sessions=2) as pool:
        await anyio.sleep(60)
        count = len(script.starts)
        assert count < 10
        await call(pool)
        await call(pool)
        await anyio.sleep(1)
        assert len(script.starts) == count + 1  # the probe


async def test_a_call_that_was_refused_unexecuted_is_repeated_once(script: Script) -> None:
    async with opened(script, (0, FOREVER)) as pool:
        script.refuse = 1
        assert await call(pool, "a") == 1
        script.refuse = 2
        with pytest.raises(NotExecutedError):
            await call(pool, "b")
    assert script.calls == [("a", 0), ("a", 1), ("b", 1), ("b", 2)]


async def test_calls_that_wait_are_told_when_the_pool_is_closed(script: Script) -> None:
    errors: list[CallError] = []
    async with (
        anyio.create_task_group() as group,
        opened(script, (0, 20), (FOREVER, None)) as pool,
    ):
        await anyio.sleep(21)

        async def wait() -> None:
            errors.append(await error_of(pool))

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
    assert [str(error) for error in errors] == ['server "it" was closed']
    assert now() == 21


async def test_tools_that_are_different_after_a_restart_are_told(script: Script) -> None:
    watch = Watch()
    async with opened(script, (0, 20), (0, FOREVER), watch=watch) as pool:
        view = pool.catalog.of(["it"])
        script.tools = ["echo", "new"]
        await anyio.sleep(30)
        assert list(view) == ["it:echo", "it:new"]
    [changed] = [event for event in watch.events if isinstance(event, ServerToolsChanged)]
    assert (changed.added, changed.removed, changed.changed) == (("new",), (), ())


async def test_a_subscriber_that_fails_is_told_nothing_more(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    told = []

    def tell(event: Any) -> None:
        told.append(event)
        raise ValueError("no")

    async with opened(script, (0, 20), (0, FOREVER)) as pool:
        with pool.subscribe(tell, ["it", "other"]), pool.subscribe(tell, ["other"]):
            await anyio.sleep(30)
    assert len(told) == 1
    assert "receives nothing more" in caplog.text


async def test_a_server_that_there_is_not_or_was_not_opened_says_so(script: Script) -> None:
    del script
    async with ServerPool({"it": Server(command="it")}) as pool:
        with pytest.raises(CallError, match='server "it" was never opened'):
            await call(pool)
        with pytest.raises(CallError, match='unknown server "x"'):
            await pool.call(Call("t", "x", "echo", {}))
        assert repr(pool._supervisors["it"]) == "Supervisor('it', 0 of 1 usable, closed)"
