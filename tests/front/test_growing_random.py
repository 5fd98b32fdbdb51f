"""Random plans that grow end as those that were whole, and what a task costs does not grow."""

from __future__ import annotations

import random
import sys
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, RunResult
from orchestrator.workflow.model import Schedule

pytestmark = pytest.mark.anyio


def plan(chance: random.Random) -> dict[str, Any]:
    """A workflow without calls, of which some tasks fail, are skipped, or have items."""
    tasks: list[dict[str, Any]] = []
    for number in range(chance.randint(1, 12)):
        before = chance.sample([task["id"] for task in tasks], min(number, chance.randint(0, 3)))
        task: dict[str, Any] = {
            "id": f"t{number}",
            "value": [f"$OUTPUT[{each}]" for each in before],
        }
        if chance.random() < 0.2:
            task["value"] = "$INPUT.thing.missing"
        if chance.random() < 0.2:
            task["when"] = chance.choice(["$INPUT.no", "$INPUT.yes"])
        if before and chance.random() < 0.3:
            task["run_if"] = chance.choice(["all_done", "any_failed", "any_success"])
            task["value"] = number
            task["depends_on"] = before
        if chance.random() < 0.2:
            task["for_each"], task["value"] = [1, 2], {"item": "$ITEM", "before": task["value"]}
        tasks.append(task)
    inputs = {"thing": {"default": {}}, "no": {"default": False}, "yes": {"default": True}}
    return {"name": "random", "inputs": inputs, "tasks": tasks}


def ended(result: RunResult) -> dict[str, Any]:
    tasks = {
        name: (task.status, task.output, task.generation, task.error and task.error.kind)
        for name, task in result.tasks.items()
    }
    return {"status": result.status, "output": result.output, "tasks": tasks}


@pytest.mark.untraced
@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
async def test_a_random_plan_ends_the_same_however_it_grew(schedule: Schedule) -> None:
    states = set()
    async with Orchestrator({}) as orchestrator:
        for seed in range(20):
            chance = random.Random(seed)
            whole = plan(chance)
            expected = await orchestrator.run(whole, schedule=schedule)
            header = {name: value for name, value in whole.items() if name != "tasks"}
            async with orchestrator.open(header, schedule=schedule) as run:
                for task in whole["tasks"]:
                    await run.add(task)
                    if chance.random() < 0.5:  # what was added so far settles first
                        await anyio.wait_all_tasks_blocked()
                grown = await run.close()
            assert ended(grown) == ended(expected), (seed, whole)
            states |= {task.status for task in grown.tasks.values()}
    assert states == {"success", "error", "skipped"}


@pytest.mark.untraced
async def test_a_task_costs_no_more_after_many_others() -> None:
    steps: list[int] = []
    async with Orchestrator({}) as orchestrator, orchestrator.open() as run:
        for number in range(400):
            needs = [f"$OUTPUT[t{number - 1}]"] if number else []
            steps.append(0)
            if number in (100, 399):
                sys.setprofile(lambda *_: steps.__setitem__(-1, steps[-1] + 1))
            try:
                await run.add({"id": f"t{number}", "value": needs})
            finally:
                sys.setprofile(None)
        await run.close()
    assert steps[399] <= 1.2 * steps[100]
