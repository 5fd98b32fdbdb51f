"""Real programs that end, hang or stop within a run: what their calls see, and what comes after."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import CallError, Server
from orchestrator.calls.call import Call
from orchestrator.engine.events import ServerFailed, ServerReady
from orchestrator.servers.pool import ServerPool
from tests.real_servers import TIMEOUT_S, Watch, alive, faulty

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]


class Pool:
    """A pool of one server, `it`, and what its subscriber was told."""

    def __init__(self, pool: ServerPool, watch: Watch) -> None:
        self.pool = pool
        self.watch = watch

    async def call(self, tool: str, **arguments: Any) -> Any:
        return await self.pool.call(Call("t", "it", tool, arguments))

    async def error(self, tool: str, **arguments: Any) -> CallError:
        with pytest.raises(CallError) as caught:
            await self.call(tool, **arguments)
        return caught.value

    async def pid(self) -> int:
        pid: int = (await self.call("pid"))["pid"]
        return pid

    async def until_failed(self) -> CallError:
        await self.watch.until(lambda event: isinstance(event, ServerFailed))
        [failed] = [event for event in self.watch.events if isinstance(event, ServerFailed)]
        return CallError(failed.error.kind, failed.error.message)

    async def until_ready(self) -> None:
        await self.watch.until(lambda event: isinstance(event, ServerReady))


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Pool]:
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"it": server}) as pool:
            await pool.open(["it"])
            watch = Watch()
            with pool.subscribe(watch, ["it"]):
                yield Pool(pool, watch)


@pytest.mark.parametrize("tool", ["crash", "crash_writing"])
async def test_killed_with_calls_in_flight(tool: str) -> None:
    errors: list[CallError] = []
    async with opened(faulty()) as it:
        pid = await it.pid()

        async def hang() -> None:
            errors.append(await it.error("hang"))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            errors.append(await it.error(tool))
        assert await it.pid() != pid
    assert {error.kind for error in errors} == {"server_unavailable"}
    assert all(error.error.details["lost"] is True for error in errors)
    assert "Last output: faulty: crashing as asked (code 1)" in str(errors[0])


async def test_killed_while_idle_is_noticed_and_mended_before_the_next_call() -> None:
    async with opened(faulty()) as it:
        pid = await it.pid()
        os.kill(pid, signal.SIGKILL)
        assert 'server "it" closed the connection' in str(await it.until_failed())
        await it.until_ready()
        assert await it.pid() != pid


def threads(pid: int) -> int:
    """The threads of a process; 0 once it is gone, which can be while they are counted."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
    except OSError:
        return 0


async def test_killed_a_moment_before_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.servers.circuit_breaker.FIRST_WAIT_S", 0.01)
    async with opened(faulty()) as it:
        for _ in range(3):
            pid = await it.pid()
            os.kill(pid, signal.SIGKILL)
            # The event loop does not run until the last thread has closed the pipes.
            while alive(pid) or threads(pid) > 1:
                time.sleep(0.001)
            assert await it.pid() != pid


async def test_pipe_closed() -> None:
    async with opened(faulty()) as it:
        pid = await it.pid()
        error = await it.error("close_stdout")
        assert error.error.details["lost"] is True
        assert await it.pid() != pid
    assert not alive(pid)


async def test_stopped_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.servers.health.PROBE_S", 0.3)
    async with opened(faulty()) as it:
        pid = await it.pid()
        os.kill(pid, signal.SIGSTOP)
        errors: list[CallError] = []

        async def waits() -> None:
            errors.append(await it.error("hang"))

        async with anyio.create_task_group() as group:
            group.start_soon(waits)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.1) as scope:  # as the limit of an attempt does
                await it.call("echo", value=1)
            assert scope.cancelled_caught
        assert 'server "it" stopped answering' in str(errors[0])
        assert errors[0].error.details["lost"] is True
        assert await it.pid() != pid
        assert not alive(pid)


async def test_stopped_process_whose_pipe_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.servers.health.PROBE_S", 0.3)
    monkeypatch.setattr("orchestrator.transport.base.COURTESY_S", 0.1)
    async with opened(faulty()) as it:
        pid = await it.pid()
        os.kill(pid, signal.SIGSTOP)
        errors: list[CallError] = []

        async def large() -> None:
            with anyio.move_on_after(0.1):
                await it.call("echo", value="x" * 300_000)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(large)
        await it.until_failed()
        assert await it.pid() != pid
    assert not errors
    assert not alive(pid)


async def test_a_call_that_is_slow_on_a_server_that_answers_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.servers.health.PROBE_S", 5)
    async with opened(faulty()) as it:
        pid = await it.pid()
        for _ in range(3):
            with anyio.move_on_after(0.05):
                await it.call("hang")
        while (await it.call("listings"))["count"] < 2:  # the probe
            await anyio.sleep(0.01)
        assert await it.pid() == pid


@pytest.mark.slow
async def test_crashes_on_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.servers.circuit_breaker.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("orchestrator.servers.circuit_breaker.COOLING_S", 1.0)
    needed = tmp_path / "needed"
    needed.touch()
    async with opened(faulty("--needs", str(needed))) as it:
        pid = await it.pid()
        needed.unlink()
        os.kill(pid, signal.SIGKILL)
        await it.until_failed()
        error = await it.error("pid")
        assert "did not start: it closed the connection" in str(error)
        assert "It has failed 5 times in a row" in str(error)
        assert str(needed) in str(error)
        assert error.error.details["retry_after_s"] <= 1.0
        assert "lost" not in error.error.details
        needed.touch()
        await anyio.sleep(error.error.details["retry_after_s"])
        assert await it.pid() != pid


async def test_hangs_on_start() -> None:
    async with opened(faulty("--hang-on-start", start_timeout_s=0.3)) as it:
        for _ in range(3):
            error = await it.error("pid")
            assert "did not start: it did not answer within 0.3 s" in str(error)
            assert error.error.details["failures"] == 1


async def test_of_two_sessions_one_carries_on_while_the_other_is_replaced() -> None:
    async with opened(faulty(sessions=2)) as it:
        first: set[int] = set()

        async def note() -> None:
            first.add(await it.pid())

        async with anyio.create_task_group() as group:
            group.start_soon(note)
            group.start_soon(note)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        await it.until_failed()
        assert await it.pid() == max(first)
        await it.until_ready()
        assert repr(it.pool._supervisors["it"]) == "Supervisor('it', 2 of 2 usable, closed)"
