"""When the tasks of a plan start that grows, compared with a naive model at each step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import anyio
import networkx as nx
import pytest

from orchestrator.calls.worker_pool import Starter
from orchestrator.engine.growth import Growing
from orchestrator.workflow.header import without_tasks
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import TaskPlan

pytestmark = pytest.mark.anyio
TEMPLATE = Workflow.model_validate({"tasks": [{"id": "x", "value": 1}]}).plan.tasks["x"]


@dataclass
class Scene:
    """The tasks that were added, and what has become of them."""

    schedule: Schedule
    at_once: bool = False  # tasks settle while they are started
    tasks: dict[str, TaskPlan] = field(default_factory=dict)
    started: dict[str, Callable[[str], None]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    generations: list[int] = field(default_factory=list)
    early: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = without_tasks({"name": "w"}).plan
        self.growing = Growing(self.plan, lambda: None, self.schedule)

    def start(self, _: Starter, task: str, then: Callable[[str], None]) -> None:
        assert task not in self.started, f"{task} started twice"
        if task not in self.may_start():
            self.early.append(task)
        self.started[task] = then
        if self.at_once:
            self.settle(task)

    def begin(self, generation: int, _: list[str]) -> None:
        self.generations.append(generation)

    def settle(self, task: str) -> None:
        self.settled.add(task)
        self.started[task](task)

    def add(self, name: str, needs: list[str], *, held: bool = False) -> None:
        generation = 1 + max((self.tasks[each].generation or 0 for each in needs), default=-1)
        task = replace(
            TEMPLATE,
            id=name,
            index=len(self.tasks),
            generation=generation,
            dependencies=tuple(needs),
        )
        self.tasks[name] = task
        self.held |= {name} if held else set()
        self.passed |= set() if self.passed.isdisjoint({*needs} - self.settled) else {name}
        cast("dict[str, TaskPlan]", self.plan.tasks)[name] = task
        self.growing.add(task, held=held)

    def ask(self, task: str) -> None:
        self.passed |= {task} | {
            each for each in nx.descendants(self.plan.graph, task) if each not in self.settled
        }
        self.growing.go_past(task)

    def close(self) -> None:
        self.held.clear()
        self.growing.close()

    def behind(self) -> set[str]:
        found: set[str] = set()
        for name, task in self.tasks.items():
            waits = name in self.held | self.passed or not found.isdisjoint(task.dependencies)
            if waits and name not in self.settled:
                found.add(name)
        return found

    def may_start(self) -> set[str]:
        """The tasks that have not started and may, by the definition."""
        behind = self.behind()
        left = [
            task.generation or 0
            for name, task in self.tasks.items()
            if name not in self.settled | behind
        ]
        lowest = min(left, default=0) if self.schedule == "generations" else len(self.tasks)
        return {
            name
            for name, task in self.tasks.items()
            if name not in self.started.keys() | self.held
            and self.settled.issuperset(task.dependencies)
            and (name in behind or (task.generation or 0) <= lowest)
        }

    async def follow(self, steps: Callable[[], Any]) -> None:
        """Take steps while the schedule runs."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.growing.schedule, self.plan, self.start, self.begin, 0)
            await anyio.wait_all_tasks_blocked()
            steps()
            assert not self.early
            assert not self.may_start()


def grow_at_random(scene: Scene, chance: random.Random) -> None:
    """Add, settle, ask and close in any order, until all has settled."""
    to_add, is_closed = chance.randint(1, 14), False
    while to_add or not is_closed or len(scene.settled) < len(scene.tasks):
        running = sorted(scene.started.keys() - scene.settled)
        what = chance.choice(("add", "add", "settle", "settle", "ask", "close"))
        if what == "add" and to_add:
            to_add -= 1
            names = sorted(scene.tasks)
            needs = chance.sample(names, min(len(names), chance.randint(0, 2)))
            scene.add(f"t{len(names)}", needs, held=chance.random() < 0.2)
        elif what == "settle" and running:
            scene.settle(chance.choice(running))
        elif what == "ask" and running:
            scene.ask(chance.choice(running))
        elif what == "close" and not to_add and not is_closed:
            is_closed = True
            scene.close()
        assert not scene.early, scene
        assert not scene.may_start(), scene
        left = scene.tasks.keys() - scene.settled
        assert not left or left & (scene.started.keys() | scene.held), scene  # something goes on


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("schedule", ["generations", "dataflow"])
async def test_each_task_starts_as_soon_as_it_may(schedule: Schedule, at_once: bool) -> None:
    for seed in range(60):
        scene = Scene(schedule, at_once)
        await scene.follow(partial(grow_at_random, scene, random.Random(seed)))
        assert scene.generations == list(range(len(scene.generations)))
        assert bool(scene.generations) or schedule == "dataflow"


async def test_a_task_waits_for_the_generations_that_are_known() -> None:
    scene = Scene("generations")

    def steps() -> None:
        scene.add("a", [])
        scene.add("b", [])
        scene.add("behind_a", ["a"])
        scene.settle("a")
        assert list(scene.started) == ["a", "b"]
        scene.add("c", [])  # of a generation that has begun
        scene.settle("b")
        assert list(scene.started) == ["a", "b", "c"]
        scene.settle("c")
        assert list(scene.started) == ["a", "b", "c", "behind_a"]
        scene.add("d", [])
        assert "d" in scene.started
        scene.settle("behind_a")
        scene.settle("d")
        scene.close()

    await scene.follow(steps)
    assert scene.generations == [0, 1]


async def test_no_generation_waits_for_what_is_held_until_the_plan_is_complete() -> None:
    scene = Scene("generations")

    def steps() -> None:
        scene.add("write", [], held=True)
        scene.add("a", [])
        scene.add("behind_a", ["a"])
        scene.add("behind_write", ["write"])
        scene.add("last", ["behind_a"])
        scene.settle("a")
        assert list(scene.started) == ["a", "behind_a"]
        scene.close()
        scene.settle("behind_a")
        assert list(scene.started) == ["a", "behind_a", "write"]  # now it is waited for
        for task in ("write", "behind_write", "last"):
            scene.settle(task)

    await scene.follow(steps)


async def test_a_plan_that_is_lost_begins_nothing_more() -> None:
    scene = Scene("generations")

    def steps() -> None:
        scene.add("a", [])
        scene.add("behind_a", ["a"])
        scene.growing.lose()
        scene.settle("a")
        assert list(scene.started) == ["a"]
        scene.started["behind_a"] = lambda _: None

    await scene.follow(steps)
    assert scene.growing.is_over
