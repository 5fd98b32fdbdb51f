"""Opens a context manager in one task and closes it in another: a task of its own holds it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import copy_context
from typing import Any, Self

import anyio

_tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


class Owned:
    """Opened with `async with`, or with `start` and `aclose`, which different tasks may call."""

    def __init__(self, held: AbstractAsyncContextManager[Any]) -> None:
        self._held = held
        self._owner: _Owner | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was started and not closed."""
        return self._owner is not None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Do what `async with` does at its begin.

        Raises:
            RuntimeError: It is open already.
        """
        if self._owner is not None:
            raise RuntimeError("it is open already: use one 'async with' at a time")
        self._owner = _Owner(self._held)
        try:
            await self._owner.start()
        except BaseException:
            self._owner = None
            raise

    async def aclose(self) -> None:
        """Do what `async with` does at its end; nothing if it is not open."""
        if (owner := self._owner) is not None:
            self._owner = None
            await owner.aclose()


class Held:
    """What an orchestrator opens and closes, as often as that is asked for."""

    def __init__(self, *held: AbstractAsyncContextManager[Any] | None) -> None:
        self._held = [each for each in held if each is not None]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for each in self._held:
                await stack.enter_async_context(each)
            self._stack = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


class _Owner:
    """Opens a context manager in a task that ends when it is closed again."""

    def __init__(self, held: AbstractAsyncContextManager[Any]) -> None:
        self._held = held
        self._open, self._end, self._over = anyio.Event(), anyio.Event(), anyio.Event()
        self._error: BaseException | None = None

    async def start(self) -> None:
        """Open it; raises what opening it raises."""
        _spawn(self._own)
        try:
            await self._open.wait()
        except BaseException:
            await self._closed()
            raise
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Close it, also if the caller is cancelled; raises what closing it raises."""
        await self._closed()
        if self._error is not None:
            raise self._error

    async def _closed(self) -> None:
        self._end.set()
        with anyio.CancelScope(shield=True):
            await self._over.wait()

    async def _own(self) -> None:
        try:
            async with self._held:
                self._open.set()
                await self._end.wait()
        except Exception as error:  # for the task that waits: nobody waits for this one
            self._error = error
        finally:
            self._open.set()
            self._over.set()


def _spawn(work: Callable[[], Awaitable[None]]) -> None:
    """Run something in a task without a parent."""
    trio = sys.modules.get("trio")  # not loaded: this is asyncio
    if trio is not None and trio.lowlevel.in_trio_task():
        trio.lowlevel.spawn_system_task(work, context=copy_context())
        return
    task = asyncio.ensure_future(work())
    assert isinstance(task, asyncio.Task)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
