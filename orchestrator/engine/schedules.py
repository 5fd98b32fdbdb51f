"""When each task starts: by generations, or as soon as it can.

The rule of this file: a schedule knows the graph and nothing of calls, outcomes or policies. It
has each task started once, when all it waits for has settled; no task raises.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from orchestrator.workflow.plan import Plan

Then = Callable[[str], None]
Start = Callable[[TaskGroup, str, Then], None]
"""Starts a task in a task group; `then` is called with it when it has settled, if it does."""
OnGeneration = Callable[[int, list[str]], None]

BATCH = 16
"""How many tasks are started at a time where none has to wait for another's slot.

So the first calls of many are on their way while the others are started. With 16, what a batch of
calls that answer at once needs is gone before the garbage collector would look at it.
"""


class ScheduleFunction(Protocol):
    """Runs all tasks of a plan."""

    async def __call__(
        self, plan: Plan, start: Start, on_generation: OnGeneration, batch: int, /
    ) -> None: ...


async def generations(plan: Plan, start: Start, on_generation: OnGeneration, batch: int) -> None:
    """One topological generation after the other, each when the whole one before it has settled."""
    for number, tasks in enumerate(plan.generations):
        on_generation(number, tasks)
        async with anyio.create_task_group() as group:
            await _start(tasks, lambda task: start(group, task, _nothing), batch)


async def _start(tasks: Iterable[str], start: Callable[[str], None], batch: int) -> None:
    """Start many tasks; of so many at a time the calls go out while the next are started."""
    for number, task in enumerate(tasks, 1):
        start(task)
        if batch and number % batch == 0:
            await anyio.lowlevel.checkpoint()


def _nothing(_: str) -> None:
    """What follows a task of a generation: the group knows when all have settled."""


async def dataflow(plan: Plan, start: Start, _: OnGeneration, batch: int) -> None:
    """Each task as soon as everything it waits for has settled."""
    graph = plan.graph
    waiting_for = dict(graph.in_degree())
    ready: deque[str] = deque()
    is_starting = False

    def release(task: str) -> None:
        for follower in graph.successors(task):
            waiting_for[follower] -= 1
            if not waiting_for[follower]:
                ready.append(follower)
        start_ready()

    def start_ready() -> None:
        # A task that settles while it is started releases its followers into the same loop: chains
        # of any length.
        nonlocal is_starting
        if is_starting:
            return
        is_starting = True
        while ready:
            start(group, ready.popleft(), release)
        is_starting = False

    async with anyio.create_task_group() as group:
        await _start(plan.generations[0], lambda task: start(group, task, release), batch)


SCHEDULES: dict[str, ScheduleFunction] = {"generations": generations, "dataflow": dataflow}
