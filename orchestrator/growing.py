"""A run whose plan is still being written: each task is checked when it comes, and starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import anyio

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import quoted
from orchestrator.engine.growth import Growing, Hold
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.summary import Stop
from orchestrator.errors import Problem, WorkflowError
from orchestrator.expressions.templates import Literal
from orchestrator.journal.kept_run import KeptRun
from orchestrator.preflight import check_online, findings, unknown_servers, usable
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import task_of
from orchestrator.workflow.plan import Policies, RepeatPlan, TaskPlan
from orchestrator.workflow.task import Task

_PLACEHOLDER: dict[str, Any] = {"id": "placeholder", "value": None}
_WORDS = re.compile(r"[\w-]+"), re.compile(r"[\w.:-]+")
_LATE = ("name", "description", "output", "finally")  # what is only read at the end
_HINT = 'write it before "tasks"'
_NO_TOOL = "-:-"  # of a task whose output has a type that is not known
# A task that comes later may have any policy.
_ANY = Policies(repeat=RepeatPlan(Literal(True), 0.0, 1, None), deadline_s=1.0)


def without_tasks(header: Mapping[str, Any]) -> Workflow:
    """The workflow that a plan begins with: all but its tasks, and what reads them.

    Raises:
        WorkflowError: The header is wrong.
    """
    left = {name: value for name, value in header.items() if name not in ("output", "finally")}
    workflow = Workflow.model_validate({**left, "tasks": [_PLACEHOLDER]})
    plan = replace(
        workflow.plan,
        tasks={},
        graph=graphs.build({}),
        generations=[],
        has_inner=True,
        asks=True,
        policies=(_ANY,),
    )
    workflow._plan = workflow.__dict__["plan"] = plan
    return workflow


class GrowingRun:
    """A run to which tasks are added; `Orchestrator.open` makes it.

    Attributes:
        run: The run.
        result: How it ended; None before.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        run: Run,
        pool: ServerPool,
        hold: Hold | None = None,
        kept: KeptRun | None = None,
    ) -> None:
        self.run, self._kept = run, kept
        self._holds_writes = hold == "writes"
        self.result: RunResult | None = None
        self._header, self._pool = dict(header), pool
        self._written: list[Mapping[str, Any]] = []
        self._tasks: dict[str, TaskPlan] = run.plan.tasks  # type: ignore[assignment]  # it grows
        self._growing = Growing(run.plan, self._end, run.schedule)
        self._ended, self._turn = anyio.Event(), anyio.Lock()
        self._is_closed, self._failure = False, ""
        run.follow(self._growing)

    async def __aenter__(self) -> Self:
        self._pool.start_soon(self.execute)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lose("the plan was not completed")
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

    async def add(self, task: Task | Mapping[str, Any]) -> None:
        """Check a task, and start it as soon as its dependencies have settled.

        It can read tasks that were added before. Its server starts if it is not ready.

        Raises:
            WorkflowError: The task is wrong, with every finding; nothing has changed, so
                that it can be added again.
            RuntimeError: The plan is complete, or the run has ended.
        """
        written = task.model_dump(exclude_unset=True) if isinstance(task, Task) else task
        async with self._turn:
            self._check_open()
            plan, document = await self._checked(written)
            self._check_open()
            if self._kept is not None:
                self._kept.recorder.note_added(plan.id, plan.index, document())
            self._written.append(written)
            self._growing.add(plan, held=self._holds_writes and self._may_write(plan))

    def _may_write(self, task: TaskPlan) -> bool:
        tools = self._pool.catalog.of(task.servers)
        found = (tools.get(each.target) for each in task.targets)
        return not all(tool is not None and tool.read_only for tool in found)

    def _check_open(self) -> None:
        if self._ended.is_set() or self._growing.is_over:
            raise RuntimeError("the run has ended: no task can be added")
        if self._is_closed:
            raise RuntimeError("the plan is complete: no task can be added after close()")

    async def _checked(
        self, written: Mapping[str, Any]
    ) -> tuple[TaskPlan, Callable[[], Mapping[str, Any]]]:
        name = task_of(written)
        if name in self._tasks:
            message = f'duplicate id "{name}": a task with this id was added before'
            raise WorkflowError(name, [Problem("duplicate_id", message, "/id", name)])
        text = to_json(written)
        known = {word for words in _WORDS for word in words.findall(text)} & self._tasks.keys()
        part: dict[str, Any] = {
            name: self._header[name] for name in ("inputs", "defaults") if name in self._header
        }
        part |= {"name": name or "task", "tasks": [*map(self._stub, sorted(known)), written]}
        at = f"/tasks/{len(known)}"
        try:
            workflow = Workflow.model_validate(part)
        except WorkflowError as error:
            raise WorkflowError(name or "task", _of_task(error.problems, at)) from None
        plan = workflow.plan.tasks[str(name)]
        if found := await self._findings(workflow, list(plan.servers), at):
            raise WorkflowError(str(name), _of_task(found, at))
        of_before = (self._tasks[each].generation or 0 for each in plan.dependencies)
        number = 1 + max(of_before, default=-1)
        placed = replace(plan, index=len(self._tasks), generation=number)
        return placed, lambda: workflow.to_dict(whole=True)["tasks"][-1]

    async def _findings(self, workflow: Workflow, alone: list[str], at: str) -> list[Problem]:
        """What is wrong with the task at a place for its servers; they start if they are known."""
        servers = self._pool.servers
        if found := [
            each for each in unknown_servers(workflow, servers) if each.path.startswith(at)
        ]:
            return found
        await self._pool.open(alone)
        await self._pool.learn_prompts(workflow.plan.prompt_servers & set(alone))
        try:
            check_online(workflow, self._pool)
        except WorkflowError as error:
            found = list(error.problems)
        more = findings(workflow, servers, usable(workflow, self._pool))
        errors = [*found, *(each for each in more if each.severity == "error")]
        return [each for each in errors if each.path.startswith(at)]

    def _stub(self, name: str) -> dict[str, Any]:
        """What stands for a task that was added before, as far as others can read it."""
        task = self._tasks[name]
        is_tool = task.kind == "tool" and task.policies.fallback is None
        stub: dict[str, Any] = {"id": name, "tool": task.target if is_tool else _NO_TOOL}
        if task.policies.repeat is not None or task.policies.item_fallback is not None:
            stub["tool"] = _NO_TOOL
        return stub if task.policies.for_each is None else stub | {"for_each": [""]}

    def complete_with(self, document: Mapping[str, Any]) -> None:
        """Take what reads the tasks from the whole workflow: its `output` and `finally`.

        Raises:
            WorkflowError: It has other fields that came too late.
        """
        self._header |= {name: document[name] for name in _LATE if name in document}
        late = [
            Problem(
                "usage", f"{quoted(name)} came after the tasks had begun", f"/{name}", hint=_HINT
            )
            for name, value in document.items()
            if name not in ("tasks", *_LATE) and value != self._header.get(name)
        ]
        if late:
            raise WorkflowError(str(self._header.get("name", "workflow")), late)

    async def close(self) -> RunResult:
        """The plan is complete: wait until every task has settled.

        Raises:
            WorkflowError: The whole plan is wrong, such as its `output`; the run goes on, and
                ends as cancelled when the block ends.
        """
        async with self._turn:
            if not self._is_closed and not self._growing.is_over:
                whole = Workflow.model_validate({**self._header, "tasks": self._written})
                await self._pool.open(whole.plan.servers)
                if self._kept is not None:
                    self._kept.complete(whole.to_dict(whole=True))
                self.run.complete(whole)
                self._is_closed = True
                self._growing.close()
        await self._ended.wait()
        if self.result is None:
            raise RuntimeError(self._failure or "the run was ended from outside")
        return self.result

    def lose(self, why: str) -> None:
        """The rest of the plan will never come: what runs is finished, and nothing new begins."""
        if not self._is_closed:
            self._failure, self.run.grows = why, False
            self._growing.lose()

    def _end(self) -> None:
        if not self._is_closed:
            self.run.end_growing(Stop.cancelled(self._failure) if self._growing.is_lost else None)

    async def execute(self) -> None:
        """Run the tasks as they come."""
        try:
            result = await self.run.execute()
            if self._growing.is_lost and result.status != "cancelled":
                error = Stop.cancelled(self._failure).error
                result = replace(result, status="cancelled", reason="cancelled", error=error)
            self.result = self.run.result = result
        finally:
            self._growing.is_over = True
            self._ended.set()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()


def _of_task(problems: list[Problem] | Any, at: str) -> list[Problem]:
    """The problems with their paths in the task alone."""
    found = []
    for each in problems:
        hint = each.hint
        if each.code == "unknown_task":
            hint = "a task can only read tasks that were added before it"
        path = each.path.removeprefix(at)
        found.append(replace(each, path=path, hint=hint, replacement=(), line=None, column=None))
    return found
