"""What a run follows: the compiled tasks, their graph and its generations, all frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.expressions.templates import Template
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.inner import WORKFLOW
from orchestrator.workflow.kinds import check_kind

if TYPE_CHECKING:
    from orchestrator.workflow.compiled import CompiledFallback, CompiledTask, CompiledWorkflow
    from orchestrator.workflow.graph import Graph
    from orchestrator.workflow.kinds import Kind
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.product import Product
    from orchestrator.workflow.task import (
        Defaults,
        EndRun,
        Fallback,
        OnItemError,
        Retry,
        RunIf,
        Task,
    )


@dataclass(frozen=True, slots=True)
class CallTemplate:
    """A tool to call, and the template of its arguments."""

    target: str  # server:tool
    server: str
    tool: str
    arguments: Template
    whole: tuple[Path, ...]  # the paths in the arguments where a reference stands alone


@dataclass(frozen=True, slots=True)
class LockPlan:
    """A lock, by the template of its name."""

    name: Template
    shared: bool  # with others that share it
    of_item: bool  # the name reads the item of a for_each: each item holds its own lock


@dataclass(frozen=True, slots=True)
class RepeatPlan:
    """When a call is made again; `until` and `collect` read its last answer."""

    until: Template
    every_s: float
    max_times: int
    collect: Template | None


@dataclass(frozen=True, slots=True)
class Policies:
    """What a task asks for beyond its call, as in the workflow file; `PLAIN` asks for nothing."""

    run_if: RunIf = "all_success"
    when: Template | None = None
    for_each: Template | Product | None = None
    max_parallel: int | None = None  # None: as many items at a time as the run allows
    fallback: Template | CallTemplate | None = None  # the template of a value, or a call
    critical: bool = False
    locks: tuple[LockPlan, ...] = ()
    retry: Retry | None = None  # None: repeat only a call that was lost, where that is safe
    timeout_resets_on_progress: bool = False
    item_when: Template | None = None
    item_fallback: Template | CallTemplate | None = None
    on_item_error: OnItemError | None = None
    repeat: RepeatPlan | None = None
    delay_s: float | None = None
    deadline_s: float | None = None
    end_run: EndRun | None = None


# Most tasks have no policies: they share one value, which the engine tests with `is`.
PLAIN = Policies()
_FIELDS = frozenset(Policies.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class TaskPlan(CallTemplate):
    """A compiled task."""

    id: str
    index: int  # its position in the file
    dependencies: tuple[str, ...]  # all that it waits for: those that references imply, too
    needs: tuple[str, ...]  # those that decide whether it runs: not what only its fallback reads
    timeout_s: float | None  # of one attempt; None for the server's
    generation: int  # the number of its topological generation, from 0
    policies: Policies = PLAIN
    kind: Kind = "tool"
    inner: Workflow | None = None  # what it runs in place of a tool

    @property
    def targets(self) -> tuple[CallTemplate, ...]:
        """What it may call: its tool, and those of its fallbacks."""
        own = (self,) if self.kind == "tool" else ()
        inside = () if self.inner is None else self.inner.plan.targets.values()
        return (*own, *inside, *(fallback for _, fallback in self.fallback_calls))

    @property
    def fallback_calls(self) -> Iterator[tuple[str, CallTemplate]]:
        """The calls that stand in for it, or for an item of it, by their field."""
        policies = self.policies
        if isinstance(policies.fallback, CallTemplate):
            yield "fallback", policies.fallback
        if isinstance(policies.item_fallback, CallTemplate):
            yield "item_fallback", policies.item_fallback


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run follows. Made once for a workflow, shared by all its runs."""

    tasks: Mapping[str, TaskPlan]  # by id, in the order of the file
    graph: Graph
    generations: list[list[str]]
    edges: list[tuple[str, str]]  # each dependency, sorted: a task, and one that waits for it
    output: Template | None  # of what the run returns; None for the default
    targets: Mapping[str, CallTemplate]  # the first call in the file of each server:tool
    servers: list[str]  # of the targets, in the order of the file
    has_inner: bool = False  # whether any task runs a workflow
    is_chain: bool = False  # whether each generation has one task

    @property
    def fans_out(self) -> bool:
        """Whether any task may make more than one call at a time."""
        tasks = self.tasks.values()
        return self.has_inner or any(task.policies.for_each is not None for task in tasks)

    @property
    def is_plain(self) -> bool:
        """Whether no task asks for any policy, or has tasks inside."""
        all_plain = all(task.policies is PLAIN for task in self.tasks.values())
        return all_plain and not self.has_inner

    @property
    def size(self) -> int:
        """The number of tasks, with those of inner workflows."""
        inner = (task.inner.plan.size for task in self.tasks.values() if task.inner is not None)
        return len(self.tasks) + sum(inner)

    @property
    def calls(self) -> Iterator[tuple[TaskPlan, CallTemplate, str]]:
        """Each task with each call that it may make, and the JSON Pointer to its tool.

        A task of an inner workflow has the id `outer/inner` and the generation of the outer one; in
        a file of its own, the pointer ends at the path of the file.
        """
        for task in self.tasks.values():
            if task.kind == "tool":
                yield task, task, pointer("tasks", task.index, "tool")
            elif task.inner is not None:
                at, in_file = (
                    pointer("tasks", task.index, "workflow"),
                    task.inner.source is not None,
                )
                for inside, target, path in task.inner.plan.calls:
                    own = f"{task.id}/{inside.id}"
                    outer = replace(inside, id=own, generation=task.generation)
                    yield outer, target, at if in_file else at + path
            for field, target in task.fallback_calls:
                yield task, target, pointer("tasks", task.index, field, "tool")

    @property
    def sorted_generations(self) -> list[list[str]]:
        """The generations as documents have them: each in alphabetical order."""
        return [sorted(generation) for generation in self.generations]

    @property
    def sinks(self) -> list[str]:
        """The tasks that nothing depends on."""
        return [task for task, degree in self.graph.out_degree() if not degree]


def make_plan(
    tasks: Iterable[Task],
    compiled: CompiledWorkflow,
    defaults: Defaults,
    inner: Mapping[str, Workflow],
) -> Plan:
    """The plan of a workflow that compiled without a problem; `inner` is by the id of the task."""
    assert compiled.graph is not None
    generations = graphs.generations(compiled.graph)
    number = {task: index for index, names in enumerate(generations) for task in names}
    plans: dict[str, TaskPlan] = {}
    for index, task in enumerate(tasks):
        templates = compiled.tasks.pop(task.id)
        plans[task.id] = TaskPlan(
            *_own_target(task, inner),
            *templates.arguments,
            task.id,
            index,
            tuple(dependencies := compiled.dependencies[task.id]),
            tuple(name for name, is_needed in dependencies.items() if is_needed),
            task.timeout_s or defaults.timeout_s,
            number[task.id],
            PLAIN
            if defaults.retry is None and _FIELDS.isdisjoint(task.model_fields_set)
            else _policies(task, templates, defaults),
            check_kind(task.model_fields_set),
            inner.get(task.id),
        )
    targets: dict[str, CallTemplate] = {}  # ordered by first use, as messages list servers
    for plan in plans.values():
        for target in plan.targets:
            targets.setdefault(target.target, target)
    servers = list(dict.fromkeys(target.server for target in targets.values()))
    edges = sorted(compiled.graph.edges)
    shape = bool(inner), all(len(names) == 1 for names in generations)
    output = compiled.output
    return Plan(plans, compiled.graph, generations, edges, output, targets, servers, *shape)


def _own_target(task: Task, inner: Mapping[str, Workflow]) -> tuple[str, str, str]:
    """Its `server:tool`, or `workflow:name` without a server."""
    if task.id not in inner:
        return _target(task.tool or "")
    name = inner[task.id].name
    return f"{WORKFLOW}:{name}", "", name


def _target(target: str) -> tuple[str, str, str]:
    server, _, tool = target.partition(":")
    return target, server, tool


def _policies(task: Task, templates: CompiledTask, defaults: Defaults) -> Policies:
    repeat = None
    if task.repeat is not None:
        assert templates.until is not None
        every_s, max_times = task.repeat.every_s, task.repeat.max_times
        repeat = RepeatPlan(templates.until, every_s, max_times, templates.collect)
    return Policies(
        task.run_if,
        templates.when,
        templates.for_each,
        task.max_parallel,
        _fallback(task.fallback, templates.fallback),
        task.critical,
        tuple(
            LockPlan(name, lock.mode == "shared", of_item)
            for (name, of_item), lock in zip(templates.locks, task.locks, strict=True)
        ),
        task.retry or defaults.retry,
        task.timeout_resets_on_progress,
        templates.item_when,
        _fallback(task.item_fallback, templates.item_fallback),
        task.on_item_error or defaults.on_item_error,
        repeat,
        task.delay_s,
        task.deadline_s,
        task.end_run,
    )


def _fallback(
    fallback: Fallback | None, templates: CompiledFallback
) -> Template | CallTemplate | None:
    if fallback is None:
        return None
    if fallback.tool is None:
        return templates.value
    return CallTemplate(*_target(fallback.tool), *templates.arguments)


def waves(plan: Plan) -> tuple[list[str], dict[str, int]]:
    """The servers of the tasks that depend on nothing; and the others, with their generation."""
    tasks = plan.tasks.values()
    # Without those of fallbacks, which are needed only if a task has failed.
    first = list(
        dict.fromkeys(task.server for task in tasks if task.server and not task.generation)
    )
    later: dict[str, int] = {}
    for task, target, _ in sorted(plan.calls, key=lambda call: call[0].generation):
        if target.server not in first:
            later.setdefault(target.server, task.generation)
    return first, later
