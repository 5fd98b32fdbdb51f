"""When each task of a plan starts that is still being written."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from orchestrator.engine.schedules import Followers, OnGeneration, StartTask
from orchestrator.workflow.model import Schedule
from orchestrator.workflow.plan import Plan, TaskPlan

Hold = Literal["writes"]
"""Which tasks of a plan that grows wait until it is complete: those whose tools may write."""


class Growing:
    """Starts each task of a plan that grows.

    Under `dataflow` that is as soon as its dependencies have settled. Under `generations` a task
    also waits for all tasks of lower generations that are known by then, but for those that are
    held or wait for an answer, and what is behind them: these start as under `dataflow`.

    Attributes:
        is_lost: Whether the rest of the plan will never come.
        is_over: Whether nothing starts any more.
    """

    def __init__(self, plan: Plan, on_end: Callable[[], None], schedule: Schedule) -> None:
        self.is_lost = self.is_over = False
        self._tasks = plan.tasks  # it grows
        self._followers = Followers(plan, self._begin)
        self._settled: set[str] = set()
        self._held: list[str] = []  # tasks that wait for the end of the plan
        self._barrier = _Barrier() if schedule == "generations" else None
        self._on_end, self._end = on_end, anyio.Event()
        self._group: TaskGroup | None = None
        self._start: StartTask | None = None
        self._on_generation: OnGeneration | None = None

    def add(self, task: TaskPlan, *, held: bool = False) -> None:
        """Add a task of the plan, after its dependencies; a held one waits for `close`, too."""
        graph, waiting_for = self._followers.graph, self._followers.waiting_for
        graph.add_node(task.id)
        graph.add_edges_from((needed, task.id) for needed in task.dependencies)
        left = set(task.dependencies) - self._settled
        if held:
            self._held.append(task.id)
        if self._barrier is not None:
            self._barrier.add(task, left, held=held)
        waiting_for[task.id] = len(left) + held
        if not waiting_for[task.id]:
            self._begin(task.id)

    def _begin(self, task: str) -> None:
        """Start a task whose dependencies have settled, as soon as its generation may."""
        if self._group is None or self._start is None or self.is_lost:
            return
        if self._barrier is not None:
            if not self._barrier.lets(self._tasks[task]):
                return
            for number in self._barrier.newly_begun(self._tasks[task]):
                assert self._on_generation is not None
                self._on_generation(number, self._barrier.members[number])
        self._start(self._group, task, self._note)

    def _note(self, task: str) -> None:
        self._settled.add(task)
        if self._barrier is not None:
            self._barrier.settle(self._tasks[task])
        self._followers.release(task)
        self._begin_due()

    def _begin_due(self) -> None:
        if self._barrier is not None:
            for task in self._barrier.due():
                self._begin(task)

    def go_past(self, task: str) -> None:
        """Let no generation wait for a task any longer, nor for what depends on it."""
        if self._barrier is not None and task in self._tasks:
            self._barrier.pass_by(task, self._followers.graph.successors)
            self._begin_due()

    def close(self) -> None:
        """No further task comes."""
        waiting_for, held = self._followers.waiting_for, self._held
        self._held = []
        if self._barrier is not None:
            self._barrier.release_held(self._tasks)
        for task in held:
            waiting_for[task] -= 1
            if not waiting_for[task]:
                self._begin(task)
        self._end.set()

    def lose(self) -> None:
        """No further task comes or begins."""
        self.is_lost = True
        self._end.set()

    async def schedule(
        self, _: Plan, start: StartTask, on_generation: OnGeneration, __: int
    ) -> None:
        """Start the tasks that there are, and those that come."""
        try:
            async with anyio.create_task_group() as group:
                self._group, self._start, self._on_generation = group, start, on_generation
                for task in [each for each, n in self._followers.waiting_for.items() if not n]:
                    self._begin(task)
                await self._end.wait()
        finally:
            self.is_over = True
            self._on_end()


class _Barrier:
    """Which tasks the generations below them let start.

    A task is waited for unless it has settled, is held or passed, or is behind one that is. So what
    a task depends on is waited for if the task is, and the lowest generation can always start.
    """

    def __init__(self) -> None:
        self.members: dict[int, list[str]] = defaultdict(list)
        self._waited_for: dict[str, int] = {}  # its generation, by task
        self._left = Counter[int]()  # how many are waited for, by generation
        self._numbers: list[int] = []  # a heap of generations, also of some with none left
        self._due: list[tuple[int, int, str]] = []  # a heap of tasks that wait for generations
        self._unsettled: set[str] = set()
        self._passed: set[str] = set()  # with all that was behind one then
        self._begun, self._is_starting = -1, False

    def add(self, task: TaskPlan, left: set[str], *, held: bool) -> None:
        number = task.generation or 0
        self.members[number].append(task.id)
        self._unsettled.add(task.id)
        if not self._passed.isdisjoint(left):
            self._passed.add(task.id)
        elif not held and self._waited_for.keys() >= left:
            self._wait_for(task)

    def _wait_for(self, task: TaskPlan) -> None:
        number = task.generation or 0
        self._waited_for[task.id] = number
        self._left[number] += 1
        if self._left[number] == 1:
            heapq.heappush(self._numbers, number)

    def _wait_no_longer(self, task: str) -> None:
        if (number := self._waited_for.pop(task, None)) is not None:
            self._left[number] -= 1

    def lets(self, task: TaskPlan) -> bool:
        """Whether a task may start now; else `due` gives it when it may."""
        number = self._waited_for.get(task.id)
        if number is None or number <= self._lowest():
            return True
        heapq.heappush(self._due, (number, task.index, task.id))
        return False

    def _lowest(self) -> float:
        """The lowest generation that has a task which is waited for."""
        while self._numbers and not self._left[self._numbers[0]]:
            heapq.heappop(self._numbers)
        return self._numbers[0] if self._numbers else float("inf")

    def newly_begun(self, task: TaskPlan) -> Iterable[int]:
        """The generations that begin with a task."""
        if task.id not in self._waited_for:
            return ()
        begun, self._begun = self._begun, max(self._begun, task.generation or 0)
        return range(begun + 1, self._begun + 1)

    def due(self) -> Iterable[str]:
        """The tasks that may start by now; there is no recursion where one settles at once."""
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._due and self._due[0][0] <= self._lowest():
                yield heapq.heappop(self._due)[2]
        finally:
            self._is_starting = False

    def settle(self, task: TaskPlan) -> None:
        self._unsettled.discard(task.id)
        self._wait_no_longer(task.id)

    def pass_by(self, task: str, after: Callable[[str], Iterable[str]]) -> None:
        """Wait for a task no longer, nor for what is behind it."""
        left = [task]
        while left:
            task = left.pop()
            if task in self._unsettled and task not in self._passed:
                self._passed.add(task)
                self._wait_no_longer(task)
                left.extend(after(task))

    def release_held(self, tasks: Mapping[str, TaskPlan]) -> None:
        """Wait for what was held as for other tasks."""
        for task in self._unsettled - self._waited_for.keys() - self._passed:
            self._wait_for(tasks[task])
