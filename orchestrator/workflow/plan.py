"""What a run follows: the compiled tasks, their graph and its generations, all frozen.

A few lines longer than other files: these values are made of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import counted
from orchestrator.expressions.templates import Literal, Template, Text, to_text
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.kinds import REQUESTS

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.workflow.graph import Graph
    from orchestrator.workflow.kinds import Kind
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.product import Product
    from orchestrator.workflow.task import EndRun, OnItemError, Retry, RunIf


@dataclass(frozen=True, slots=True)
class CallTemplate:
    """A tool to call, a resource to read or a prompt to get, and the template of its arguments."""

    target: str  # server:tool; `read server:uri` and `prompt server:name`
    server: str
    tool: str  # or the URI as the file has it, or the name of the prompt
    arguments: Template
    whole: tuple[Path, ...]  # the paths in the arguments where a reference stands alone
    kind: Kind  # what is asked of the server; of a task also what it does without one


@dataclass(frozen=True, slots=True)
class LockPlan:
    """A lock, by the template of its name."""

    name: Template
    shared: bool  # with others that share it
    of_item: bool  # the name reads the item of a for_each: each item holds its own lock
    count: int | None = None  # how many of a resource; None for all of it, or a share

    def hold(self, name: str) -> Hold:
        """What is held under the name that its template gives."""
        return Hold(name, self.shared, self.count)

    @property
    def known(self) -> tuple[str, bool]:
        """What is known of its name before a run: how it begins, and whether that is all of it."""
        if (hold := self.literal) is not None:
            return hold.name, True
        first = self.name.parts[0] if isinstance(self.name, Text) else ""
        return first if isinstance(first, str) else "", False

    @property
    def literal(self) -> Hold | None:
        """The same, if the name stands in the file."""
        return self.hold(to_text(self.name.value)) if isinstance(self.name, Literal) else None


@dataclass(frozen=True, slots=True)
class RepeatPlan:
    """When a call is made again; `until` and `collect` read its last answer."""

    until: Template
    every_s: float
    max_times: int
    collect: Template | None


@dataclass(frozen=True, slots=True)
class CachePlan:
    """How long the answer of a call stands for the same call."""

    ttl_s: float
    open_world: bool  # also if the tool reaches an open world
    turns: str  # what `repeat` makes of its answers, as the file has it; empty without

    def allows(self, tool: Tool) -> bool:
        """Whether the answers of a tool may be kept, by what it declares."""
        return bool(tool.read_only) and (self.open_world or not tool.open_world)


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
    approve: Template | None = None  # of the message of the question; an empty one: the default
    cache: CachePlan | None = None
    spread: bool = False  # whether workers share the items


# Most tasks call a tool and have no policies: they share one value, which the engine tests with
# `is`.
PLAIN = Policies()


@dataclass(frozen=True, slots=True)
class TaskPlan(CallTemplate):
    """A compiled task."""

    id: str
    index: int  # its position in `tasks` or `finally`
    dependencies: tuple[str, ...]  # all that it waits for: those that references imply, too
    needs: tuple[str, ...]  # those that decide whether it runs: not what only its fallback reads
    timeout_s: float | None  # of one attempt; None for the server's
    generation: int | None  # the number of its topological generation, from 0; None in `finally`
    policies: Policies = PLAIN
    inner: Workflow | None = None  # what it runs in place of a tool

    @property
    def asks(self) -> bool:
        """Whether a person is asked something for it."""
        inside = self.inner is not None and self.inner.plan.asks
        return self.kind == "ask" or self.policies.approve is not None or inside

    @property
    def held_locks(self) -> tuple[LockPlan, ...]:
        """The locks that it holds, or a task inside of it."""
        inside = () if self.inner is None else self.inner.plan.tasks.values()
        return self.policies.locks + tuple(lock for task in inside for lock in task.held_locks)

    @property
    def path(self) -> Path:
        """Where it stands in the file."""
        return "tasks" if self.generation is not None else "finally", self.index

    @property
    def targets(self) -> tuple[CallTemplate, ...]:
        """What it may call: its tool, and those of its fallbacks."""
        own = (self,) if self.kind == "tool" else ()
        inside = () if self.inner is None else self.inner.plan.targets.values()
        return (*own, *inside, *(fallback for _, fallback in self.fallback_calls))

    @property
    def requests(self) -> tuple[CallTemplate, ...]:
        """The resources that it may read, and the prompts that it may get."""
        own = (self,) if self.kind in ("read", "prompt") else ()
        return own if self.inner is None else (*self.inner.plan.requests.values(),)

    @property
    def is_request(self) -> bool:
        """Whether it asks a server itself."""
        return self.kind in REQUESTS

    @property
    def servers(self) -> Iterator[str]:
        """The servers that it may call."""
        if self.is_request:
            yield self.server
        if self.inner is not None:
            yield from self.inner.plan.servers
        for _, fallback in self.fallback_calls:
            yield fallback.server

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

    tasks: Mapping[str, TaskPlan]  # by id, in the order of the file; those of `finally` last
    graph: Graph  # without those of `finally`, as are the generations
    generations: list[list[str]]
    edges: list[list[str]]  # each dependency, sorted: a task, and one that waits for it
    output: Template | None  # of what the run returns; None for the default
    targets: Mapping[str, CallTemplate]  # the first call in the file of each server:tool
    requests: Mapping[str, CallTemplate]  # the same for resources and prompts
    servers: list[str]  # of its own tasks, in the order of the file
    policies: tuple[Policies, ...] = ()  # of all tasks for which they are not `PLAIN`
    has_inner: bool = False  # whether any task runs a workflow
    asks: bool = False  # whether a person is asked something for any task
    finally_: Plan | None = None  # the tasks of `finally` alone, which depend on each other only
    locks: tuple[Hold, ...] = ()  # those whose names are known

    @property
    def stages(self) -> tuple[Plan, ...]:
        """What runs one after the other: the tasks, and those of `finally` if there are any."""
        return (self,) if self.finally_ is None else (self, self.finally_)

    def closing(self, *, inside: bool) -> Iterator[Plan]:
        """The tasks of its `finally`, and those `inside` of its tasks."""
        if self.finally_ is not None:
            yield self.finally_
        for task in self.tasks.values() if inside else ():
            if task.inner is not None:
                yield from task.inner.plan.closing(inside=True)

    @property
    def shape(self) -> str:
        """How many tasks it has, in how many generations."""
        tasks, generations = counted(len(self.graph), "task"), len(self.generations)
        text = f"{tasks} in {counted(generations, 'generation')}"
        last = 0 if self.finally_ is None else len(self.finally_.tasks)
        return f"{text}, then {counted(last, 'task')} of finally" if last else text

    @property
    def order(self) -> Iterator[TaskPlan]:
        """All tasks, each behind those that it reads."""
        generations = chain.from_iterable(stage.generations for stage in self.stages)
        return map(self.tasks.__getitem__, chain.from_iterable(generations))

    @property
    def is_chain(self) -> bool:
        """Whether each generation has one task."""
        return len(self.generations) == len(self.graph)

    @property
    def fans_out(self) -> bool:
        """Whether any task may make more than one call at a time."""
        return self.has_inner or any(each.for_each is not None for each in self.policies)

    @property
    def is_plain(self) -> bool:
        """Whether every task calls a tool and asks for nothing else."""
        return not self.policies

    @property
    def prompt_servers(self) -> set[str]:
        """The servers of its prompts."""
        return {each.server for each in self.requests.values() if each.kind == "prompt"}

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
            if task.kind in REQUESTS:
                yield task, task, pointer(*task.path, task.kind)
            elif task.inner is not None:
                at, in_file = pointer(*task.path, "workflow"), task.inner.source is not None
                for inside, target, path in task.inner.plan.calls:
                    own = f"{task.id}/{inside.id}"
                    outer = replace(inside, id=own, generation=task.generation)
                    yield outer, target, at if in_file else at + path
            for field, target in task.fallback_calls:
                yield task, target, pointer(*task.path, field, "tool")

    @property
    def first_tasks(self) -> Iterator[TaskPlan]:
        """The tasks that nothing has to come before, those of inner workflows included."""
        for task in map(self.tasks.__getitem__, self.generations[0]):
            if task.inner is None:
                yield task
            else:
                yield from task.inner.plan.first_tasks

    @property
    def sorted_generations(self) -> list[list[str]]:
        """The generations as documents have them: each in alphabetical order."""
        return [sorted(generation) for generation in self.generations]

    @property
    def cached(self) -> Iterator[str]:
        """The tasks with `cache`, those inside others as `outer/inner`."""
        for task in self.tasks.values():
            if task.policies.cache is not None:
                yield task.id
            for inside in () if task.inner is None else task.inner.plan.cached:
                yield f"{task.id}/{inside}"

    @property
    def sinks(self) -> list[str]:
        """The tasks that nothing depends on."""
        return [task for task, degree in self.graph.out_degree() if not degree]


def waves(plan: Plan) -> tuple[list[str], dict[str, int]]:
    """The servers of the tasks that depend on nothing; and the others, with their generation."""
    tasks = plan.tasks.values()
    # Without those of fallbacks, which are needed only if a task has failed.
    first: dict[str, None] = {}
    for task in tasks:
        if task.generation == 0 and task.inner is not None:
            first |= dict.fromkeys(waves(task.inner.plan)[0])
        elif task.generation == 0 and task.server:
            first[task.server] = None
    later: dict[str, int] = {}
    last = len(plan.generations)  # stands for `finally`
    needed = (
        (last if task.generation is None else task.generation, target.server)
        for task, target, _ in plan.calls
    )
    for generation, server in sorted(needed, key=itemgetter(0)):
        if server not in first:
            later.setdefault(server, generation)
    return list(first), later
