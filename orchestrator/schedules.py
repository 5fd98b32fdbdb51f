"""When each task starts: by generations, or as soon as it can.

The rule of this file: a schedule knows the graph and nothing of calls, outcomes or policies. It
starts `run_task` for each task once, when all it waits for has settled; `run_task` never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio

from orchestrator.planning import Plan

RunTask = Callable[[str], Coroutine[Any, Any, None]]
OnGeneration = Callable[[int, list[str]], None]


class ScheduleFunction(Protocol):
    """Runs all tasks of a plan."""

    async def __call__(
        self, plan: Plan, run_task: RunTask, on_generation: OnGeneration, /
    ) -> None: ...


async def generations(plan: Plan, run_task: RunTask, on_generation: OnGeneration) -> None:
    """One topological generation after the other, each when the whole one before it has settled."""
    for number, tasks in enumerate(plan.generations):
        on_generation(number, tasks)
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(run_task, task)


async def dataflow(plan: Plan, run_task: RunTask, _: OnGeneration) -> None:
    """Each task as soon as everything it waits for has settled."""
    graph = plan.graph
    waiting_for = dict(graph.in_degree())

    async def run_and_release(task: str) -> None:
        await run_task(task)
        for follower in graph.successors(task):
            waiting_for[follower] -= 1
            if not waiting_for[follower]:
                group.start_soon(run_and_release, follower)

    async with anyio.create_task_group() as group:
        for task in plan.generations[0]:
            group.start_soon(run_and_release, task)


SCHEDULES: dict[str, ScheduleFunction] = {"generations": generations, "dataflow": dataflow}
