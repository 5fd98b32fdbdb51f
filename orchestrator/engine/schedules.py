"""When each task starts: by generations, or as soon as its dependencies have settled.

A schedule knows the graph, and nothing of calls, outcomes or policies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import anyio.lowlevel

from orchestrator.calls.worker_pool import Starter
from orchestrator.workflow.plan import Plan

Then = Callable[[str], None]
StartTask = Callable[[Starter, str, Then], None]
"""Starts a task in a task group; `then` is called with its id when it has settled, if it does."""
OnGeneration = Callable[[int, list[str]], None]
ScheduleFunction = Callable[[Plan, StartTask, OnGeneration, int], Awaitable[None]]
"""Starts each task of a plan once; the last argument is `BATCH`, or 0 for all at a time."""

BATCH = 16
"""How many tasks are started at a time where none has to wait for another's slot.

So the first calls of many are made while other tasks are started. With 16, what a batch of calls
that answer at once allocates is freed before the garbage collector would look at it.
"""


async def generations(
    plan: Plan, start: StartTask, on_generation: OnGeneration, batch: int
) -> None:
    """Start each topological generation when the whole one before it has settled."""
    for number, tasks in enumerate(plan.generations):
        on_generation(number, tasks)
        async with anyio.create_task_group() as group:
            await _start(tasks, lambda task: start(group, task, _nothing), batch)


async def _start(tasks: Iterable[str], start: Callable[[str], None], batch: int) -> None:
    for number, task in enumerate(tasks, 1):
        start(task)
        if batch and number % batch == 0:
            await anyio.lowlevel.checkpoint()


def _nothing(_: str) -> None:
    """What follows a task of a generation: its task group knows when all have settled."""


class Followers:
    """Starts what depends on tasks that have settled, as soon as all that it needs has.

    A task that settles while it is started releases its dependents into the loop of the first:
    there is no recursion, however long the chain.
    """

    def __init__(self, plan: Plan, start: Callable[[str], None]) -> None:
        self.waiting_for = dict(plan.graph.in_degree())
        self.graph, self._start = plan.graph, start
        self._ready: deque[str] = deque()
        self._is_starting = False

    def release(self, task: str) -> None:
        waiting_for, ready = self.waiting_for, self._ready
        for dependent in self.graph.successors(task):
            waiting_for[dependent] -= 1
            if not waiting_for[dependent]:
                ready.append(dependent)
        if self._is_starting:
            return
        self._is_starting = True
        while ready:
            self._start(ready.popleft())
        self._is_starting = False


async def dataflow(plan: Plan, start: StartTask, _: OnGeneration, batch: int) -> None:
    """Start each task as soon as its dependencies have settled."""
    followers = Followers(plan, lambda task: start(group, task, followers.release))
    async with anyio.create_task_group() as group:
        first = plan.generations[0]
        await _start(first, lambda task: start(group, task, followers.release), batch)


class Passing:
    """Generations that do not wait for tasks which are passed, nor for what is behind those.

    What depends on a task that was passed starts as soon as its dependencies have settled.
    """

    def __init__(self) -> None:
        self._holding: set[str] = set()  # what the next generation waits for
        self._behind: set[str] = set()  # what could not start with its generation
        self._changed: anyio.Event | None = None

    def go_past(self, task: str) -> None:
        """Do not wait for a task any longer."""
        self._holding.discard(task)
        if not self._holding and self._changed is not None:
            self._changed.set()

    async def generations(
        self, plan: Plan, start: StartTask, on_generation: OnGeneration, _: int
    ) -> None:
        """Start each topological generation when those before have settled or were passed."""
        self._behind.clear()

        def settled(task: str) -> None:
            self.go_past(task)
            followers.release(task)

        def start_late(task: str) -> None:
            if task in self._behind:  # else it starts with its generation
                start(group, task, settled)

        followers = Followers(plan, start_late)
        async with anyio.create_task_group() as group:
            for number, tasks in enumerate(plan.generations):
                on_generation(number, tasks)
                self._changed = anyio.Event()
                can_start = [task for task in tasks if not followers.waiting_for[task]]
                self._behind |= set(tasks).difference(can_start)
                self._holding = set(can_start)
                for task in can_start:
                    start(group, task, settled)
                if self._holding:
                    await self._changed.wait()


class _Alone:
    """Carries out the one task that is started, where the schedule waits for it."""

    def __init__(self) -> None:
        self._begin: Callable[[], Awaitable[object]] | None = None

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        self._begin = lambda: work(*arguments)

    async def carry_out(self) -> None:
        if self._begin is not None:
            await self._begin()


async def chain(plan: Plan, start: StartTask, on_generation: OnGeneration, _: int) -> None:
    """Start each task when the one before it has settled: either schedule, if no two overlap.

    A task of the event loop for each would cost as much as its call does.
    """
    for number, (task,) in enumerate(plan.generations):
        on_generation(number, [task])
        alone = _Alone()
        start(alone, task, _nothing)
        await alone.carry_out()


SCHEDULES: dict[str, ScheduleFunction] = {"generations": generations, "dataflow": dataflow}
