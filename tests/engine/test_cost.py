"""What the engine costs for each task, in function calls and objects: numbers without noise.

A function call is a call of Python or C code, or a coroutine that goes on, as `sys.setprofile` sees
it. All numbers are over those of bare anyio, which starts as many tasks that do nothing. Seconds
are measured by `python -m benchmarks --only engine`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import anyio
import pytest

from benchmarks.engine_alone import bare, return_at_once
from benchmarks.scenarios import nothing
from orchestrator import Run, Workflow
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Schedule

pytestmark = pytest.mark.untraced

WIDTH = 100
FEW, MANY = 300, 1000
UNLIMITED, LIMITED = 0, 10

# What was measured with Python 3.11 to 3.13 and anyio 4.16, and a twentieth more. A change that
# needs more has to say in the changelog what for.
MOST_CALLS: dict[tuple[Schedule, int], float] = {
    ("generations", UNLIMITED): 1.05 * 2.25,
    ("generations", LIMITED): 1.05 * 2.15,
    ("dataflow", UNLIMITED): 1.05 * 2.35,
    ("dataflow", LIMITED): 1.05 * 2.01,
}
# The same over those of a plain task, for three steps of each item.
MOST_CALLS_INSIDE = {UNLIMITED: 1.05 * 1.03, LIMITED: 1.05 * 1.31}
# How many objects that the garbage collector looks at a task holds while it is under way, over
# those of a task of bare anyio, and how many while it waits for a slot.
MOST_OBJECTS_UNDER_WAY = 1.05 * 1.51
MOST_OBJECTS_WAITING = 7.0
KNOWN = Servers({"none:nothing": Tool("none", "nothing", {}, read_only=True)})


async def function_calls(work: Callable[[], Awaitable[object]]) -> int:
    """How many functions some work calls."""
    count = 0

    def note(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    await work()  # what is done once is no task's
    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(None)
    return count


def run_of(count: int, schedule: Schedule, limit: int) -> Callable[[], Awaitable[object]]:
    """A run of tasks that do nothing."""
    workflow = Workflow.load(nothing(count, WIDTH))
    return lambda: Run(
        workflow, return_at_once, RunSettings(schedule=schedule, max_concurrency=limit)
    ).execute()


@pytest.mark.parametrize(("schedule", "limit"), MOST_CALLS)
def test_function_calls_for_each_task(schedule: Schedule, limit: int) -> None:
    async def measure() -> tuple[float, float, float]:
        few = await function_calls(run_of(FEW, schedule, limit))
        many = await function_calls(run_of(MANY, schedule, limit))
        return few / FEW, many / MANY, await function_calls(lambda: bare(MANY)) / MANY

    few, many, of_bare = anyio.run(measure)
    assert many / of_bare <= MOST_CALLS[schedule, limit]
    assert many <= 1.02 * few, "a task costs more in a larger workflow"


def steps_of(items: int) -> tuple[Workflow, Workflow]:
    """Three steps for each item: as an inner workflow, and as plain tasks."""

    def step(name: str, given: str) -> dict[str, Any]:
        return {"id": name, "tool": "bench:nothing", "arguments": {"n": given}}

    inner = [step("a", "$INPUT.n"), step("b", "$OUTPUT[a].n"), step("c", "$OUTPUT[b].n")]
    outer = {"id": "o", "for_each": [*range(items)], "arguments": {"n": "$ITEM"}}
    plain = [
        step(f"{name}{number}", f"$OUTPUT[{before}{number}].n" if before else str(number))
        for number in range(items)
        for name, before in (("a", ""), ("b", "a"), ("c", "b"))
    ]
    workflow = {"inputs": {"n": {}}, "tasks": inner, "output": "$OUTPUT[c].n"}
    return Workflow.load({"tasks": [{**outer, "workflow": workflow}]}), Workflow.load(
        {"tasks": plain}
    )


@pytest.mark.parametrize(("limit", "most"), MOST_CALLS_INSIDE.items())
def test_function_calls_for_each_task_of_an_inner_workflow(limit: int, most: float) -> None:
    async def answer(call: Call, _: Attempt) -> Any:
        return call.arguments

    async def measure() -> tuple[int, int]:
        settings = RunSettings(schedule="dataflow", max_concurrency=limit)
        inner, plain = steps_of(200)
        first = await function_calls(lambda: Run(inner, answer, settings).execute())
        return first, await function_calls(lambda: Run(plain, answer, settings).execute())

    of_inner, of_plain = anyio.run(measure)
    assert of_inner / of_plain <= most


def test_objects_for_each_task() -> None:
    count = 1000
    workflow = Workflow.load(nothing(count, count))

    async def objects(limit: int | None) -> float:
        """For each task of a run, or of bare anyio, while all wait."""
        done = anyio.Event()

        async def wait(_: object = None, __: object = None) -> None:
            await done.wait()

        gc.collect()
        before = len(gc.get_objects())
        async with anyio.create_task_group() as group:
            if limit is None:
                for _ in range(count):
                    group.start_soon(wait)
            else:
                settings = RunSettings(max_concurrency=limit)
                group.start_soon(Run(workflow, wait, settings, servers=KNOWN).execute)
            await anyio.wait_all_tasks_blocked()
            gc.collect()
            during = len(gc.get_objects())
            done.set()
        return (during - before) / count

    async def measure() -> tuple[float, float, float]:
        return await objects(None), await objects(UNLIMITED), await objects(LIMITED)

    of_bare, under_way, waiting = anyio.run(measure)
    assert under_way / of_bare <= MOST_OBJECTS_UNDER_WAY
    assert waiting <= MOST_OBJECTS_WAITING
