"""A worker that has no memory left."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster import memory


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.anyio
async def test_a_worker_ends_where_the_event_loop_finds_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends, others = list[int](), list[Any]()
    monkeypatch.setattr(os, "write", lambda file, _: ends.append(file))
    monkeypatch.setattr(os, "_exit", ends.append)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, about: others.append(about["exception"]))
    with memory.watched():
        loop.call_soon(failing(MemoryError()))
        loop.call_soon(failing(wrong := ValueError("no")))
        await asyncio.sleep(0.01)
    assert ends == [2, memory.CODE]
    assert others == [wrong]
    loop.set_exception_handler(None)


def test_what_else_an_event_loop_finds_is_told_as_before(caplog: pytest.LogCaptureFixture) -> None:
    async def find() -> None:
        with memory.watched():
            asyncio.get_running_loop().call_soon(failing(ValueError("no")))
            await asyncio.sleep(0.01)

    asyncio.run(find())
    assert "Exception in callback" in caplog.text


class Checks:
    """Lets an event loop go on before each of the first checks."""

    def __init__(self, goes_on: int) -> None:
        self._goes_on, self.made, self.is_over = goes_on, 0, False

    def call_soon(self, do: Callable[[], None]) -> None:
        if self.made < self._goes_on:
            do()

    def wait(self, seconds: float) -> bool:
        assert seconds == memory.CHECK_S
        self.made += 1
        return self.is_over


def test_a_worker_whose_event_loop_stands_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, said = Checks(20), list[bytes]()
    dog = memory.Watchdog(checks.call_soon)
    over: Any = checks
    dog._over = over

    def end(text: bytes) -> None:
        said.append(text)
        checks.is_over = True

    monkeypatch.setattr(memory, "end", end)
    dog._watch()
    assert checks.made == 20 + memory.CHECKS + 1
    assert b"stands still" in said[0]
    with memory.Watchdog(checks.call_soon) as other:
        pass
    other._thread.join(30)
    assert not other._thread.is_alive()


class Lost(threading.Thread):
    """A thread that fails as it starts, as one does for which there is no memory."""

    def _bootstrap(self) -> None:
        pass


def test_a_worker_with_a_thread_that_never_begins_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    dog, said = memory.Watchdog(lambda tick: tick()), list[bytes]()
    monkeypatch.setattr(memory, "end", said.append)
    monkeypatch.setattr(memory, "CHECK_S", 0.01)
    lost: Any = Lost()
    starts = threading.Thread(target=lost.start)
    with dog:
        starts.start()
        until = time.monotonic() + 30
        while not said and time.monotonic() < until:
            time.sleep(0.01)
        lost._started.set()
        starts.join()
    assert b"stands still" in said[0]


def test_a_watchdog_without_memory_ends_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = list[int]()

    def no_memory() -> Any:
        raise MemoryError

    monkeypatch.setattr(memory, "_starting", no_memory)
    monkeypatch.setattr(memory, "CHECK_S", 0.0)
    monkeypatch.setattr(memory, "end", lambda: ends.append(1))
    memory.Watchdog(lambda tick: tick())._watch()
    assert ends == [1]


@pytest.mark.anyio
async def test_a_worker_ends_where_a_thread_finds_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends, before = list[int](), (threading.excepthook, sys.unraisablehook)
    monkeypatch.setattr(memory, "end", lambda: ends.append(1))
    others = list[Any]()
    monkeypatch.setattr(threading, "excepthook", others.append)
    monkeypatch.setattr(sys, "unraisablehook", others.append)
    with memory.watched():
        for error in (MemoryError(), RuntimeError("can't start new thread"), ValueError("no")):
            thread = threading.Thread(target=failing(error))
            thread.start()
            thread.join()
        about: Any = SimpleNamespace(exc_value=MemoryError())
        sys.unraisablehook(about)
    assert ends == [1, 1, 1]
    kinds = [type(each.exc_value) for each in others]
    assert kinds == [MemoryError, RuntimeError, ValueError, MemoryError]
    with pytest.raises(RuntimeError), memory.watched():
        raise RuntimeError("can't start new thread")
    assert len(ends) == 4
    monkeypatch.undo()
    assert before == (threading.excepthook, sys.unraisablehook)


@pytest.mark.anyio
async def test_a_worker_has_mapped_its_libraries_before_it_lacks_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = list[str]()
    monkeypatch.setattr("importlib.import_module", found.append)
    with memory.watched():
        assert found == ["jsonschema_rs"]
