"""A run whose plan is still being written: each task is checked when it comes, and starts.

A few lines longer than other files: the check and the start of a task share what is known so far.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import anyio

from orchestrator.checking import problems_of
from orchestrator.documents.encode import to_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted
from orchestrator.engine.growth import Growing, Hold
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.summary import Stop
from orchestrator.errors import Problem, WorkflowError
from orchestrator.journal.kept_run import KeptRun
from orchestrator.preflight import check_online, unknown_servers
from orchestrator.servers.pool import ServerPool
from orchestrator.trust import reached_calls
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import task_of, with_paths
from orchestrator.workflow.plan import TaskPlan
from orchestrator.workflow.task import Task

if TYPE_CHECKING:
    from orchestrator.check.earlier import Earlier

_WORDS = re.compile(r"[\w-]+"), re.compile(r"[\w.:-]+")
_LATE = ("name", "description", "output", "finally")  # what is only read at the end
_HINT = 'write it before "tasks"'
_BEFORE = "a task can only read tasks that were added before it"
_SO_FAR = "the tasks that came before go on"
_READ_BY_TASKS = ("inputs", "defaults", "on_error", "timeout_s")


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
        earlier: Earlier,
        hold: Hold | None = None,
        kept: KeptRun | None = None,
    ) -> None:
        self.run, self._kept = run, kept
        self._holds_writes = hold == "writes"
        self.result: RunResult | None = None
        self._header, self._pool = dict(header), pool
        self._written: dict[int, Mapping[str, Any]] = {}  # by their numbers
        self._numbers = count()
        self._coming: dict[str | None, anyio.Event] = {}  # set when the task was added or refused
        self._tasks, self._earlier = run.plan.tasks, earlier
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
        """Check a task, and start it as soon as the schedule lets it.

        It can read tasks whose `add` began before. Its server starts if it is not ready; meanwhile
        others can be added.

        Raises:
            WorkflowError: The task is wrong, with every finding; nothing has changed, so
                that it can be added again.
            RuntimeError: The plan is complete, or the run has ended.
        """
        written = task.model_dump(exclude_unset=True) if isinstance(task, Task) else task
        self._check_open()
        number, name, words = next(self._numbers), task_of(written), _words(written)
        before = [come for other, come in self._coming.items() if other in words or other == name]
        self._coming[name] = come = anyio.Event()
        try:
            for other in before:
                await other.wait()
            await self._add(number, written, words)
        finally:
            come.set()
            if self._coming[name] is come:  # else the task is being added again
                del self._coming[name]

    async def _add(self, number: int, written: Mapping[str, Any], words: set[str]) -> None:
        self._check_open()
        plan, document = await self._checked(number, written, words)
        self._check_open()
        if self._kept is not None:
            self._kept.recorder.note_added(plan.id, plan.index, document())
        self._written[number] = written
        self.run.add(plan)
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
        self, number: int, written: Mapping[str, Any], words: set[str]
    ) -> tuple[TaskPlan, Callable[[], Mapping[str, Any]]]:
        name = task_of(written)
        if name in self._tasks:
            message = f'duplicate id "{name}": a task with this id was added before'
            raise WorkflowError(str(name), [Problem("duplicate_id", message, "/id", name)])
        part = self._part(name, written, sorted(words & self._tasks.keys()))
        try:
            workflow = Workflow.model_validate(part)
        except WorkflowError as error:
            raise self._unreadable(name, written, error) from None
        plan = workflow.plan.tasks[str(name)]
        if found := await self._findings(workflow, _at(part)):
            self._earlier.forget(plan.id)
            raise self._refused(plan.id, found, part)
        of_before = (self._tasks[each].generation or 0 for each in plan.dependencies)
        placed = replace(plan, index=number, generation=1 + max(of_before, default=-1))
        return placed, lambda: workflow.to_dict(whole=True)["tasks"][-1]

    def _part(self, name: Any, written: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
        """A workflow that ends with a task, after what stands for some that came before."""
        header = {each: self._header[each] for each in _READ_BY_TASKS if each in self._header}
        return header | {"name": name or "task", "tasks": [*map(self._stub, known), written]}

    def _unreadable(
        self, name: Any, written: Mapping[str, Any], error: WorkflowError
    ) -> WorkflowError:
        """The error that a task cannot be read; names are compared with all that came before."""
        coming = (each for each in self._coming if each is not None and each != name)
        part = self._part(name, written, dict.fromkeys((*self._tasks, *coming)))
        try:
            Workflow.model_validate(part)
        except WorkflowError as all_compared:
            error = all_compared
        return self._refused(name or "task", error.problems, part)

    def _refused(
        self, name: str, found: Sequence[Problem], part: Mapping[str, Any]
    ) -> WorkflowError:
        """The error that a task is wrong, with the fixes that are certain."""
        from orchestrator.check.proof import proved

        tools = self._pool.catalog.of(self._pool.servers)
        fixed = proved(found, lambda: part, tools, self._earlier)
        return WorkflowError(name, _of_task(fixed, _at(part)))

    async def _findings(self, workflow: Workflow, at: str) -> list[Problem]:
        """What is wrong with the task at a place for its servers, which start."""
        found = await problems_of(workflow, self._pool, self._earlier)
        errors = [each for each in found if each.severity == "error"]
        errors = [each for each in errors if not each.path or each.path.startswith(at)]
        if not errors:
            try:
                await self._pool.open(workflow.plan.servers)  # with a lock, none has started yet
                check_online(workflow, self._pool, grows=True)
            except WorkflowError as error:
                errors = list(error.problems)
        return errors

    def _stub(self, name: str) -> dict[str, Any]:
        """What stands for a task that came before; the type of its output is known."""
        stub = {"id": name, "value": None}
        if name not in self._tasks:  # it still comes: nothing is known of its output
            return {"id": name, "tool": "unknown:unknown"}
        stub = {"id": name, "value": None}
        is_list = self._tasks[name].policies.for_each is not None
        return stub | {"for_each": [""]} if is_list else stub

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
            while self._coming:
                await next(iter(self._coming.values())).wait()
            if not self._is_closed and not self._growing.is_over:
                tasks = [task for _, task in sorted(self._written.items())]
                whole = self._whole(tasks)
                await self._open(whole)
                if self._kept is not None:
                    self._kept.complete(whole.to_dict(whole=True))
                self.run.complete(whole)
                self._is_closed = True
                self._growing.close()
        await self._ended.wait()
        if self.result is None:
            raise RuntimeError(self._failure or "the run was ended from outside")
        return self.result

    def _whole(self, tasks: list[Mapping[str, Any]]) -> Workflow:
        name = str(self._header.get("name", "workflow"))
        if not tasks:
            hint = "a plan has at least one task"
            raise WorkflowError(name, [Problem("usage", "no task came", hint=hint)])
        try:
            return Workflow.model_validate({**self._header, "tasks": tasks})
        except WorkflowError as error:
            raise WorkflowError(error.source, error.problems, _SO_FAR) from None

    async def _open(self, whole: Workflow) -> None:
        """Start the servers of the tasks of `finally`, and check them."""
        if found := unknown_servers(whole, self._pool.servers):
            raise WorkflowError(whole.name, found, _SO_FAR)
        await self._pool.open(whole.plan.servers)
        check_online(whole, self._pool, _SO_FAR, grows=True)
        self._earlier.reached |= reached_calls(whole, self._pool.servers, grows=True)

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


def _words(written: Mapping[str, Any]) -> set[str]:
    """All that may be a name of a task in what is written."""
    text = to_json(written)
    return {word for words in _WORDS for word in words.findall(text)}


def _at(part: Mapping[str, Any]) -> str:
    """Where the last task of a workflow is."""
    return pointer("tasks", len(part["tasks"]) - 1)


def _of_task(problems: Iterable[Problem], at: str) -> list[Problem]:
    """The problems with their paths in the task alone; a fix of anything else is left out."""
    found = []
    for each in problems:
        paths = (operation["path"] for operation in each.replacement)
        is_inside = all(path.startswith(f"{at}/") for path in paths)
        moved = with_paths(
            each if is_inside else replace(each, replacement=()), lambda path: path.removeprefix(at)
        )
        hint = _BEFORE if each.code == "unknown_task" else each.hint
        found.append(replace(moved, hint=hint, line=None, column=None))
    return found
