"""Makes the plan of a workflow from its fields and its compiled templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from orchestrator.documents.encode import to_json
from orchestrator.expressions.templates import Template
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.compiled import CompiledFallback, CompiledTask, CompiledWorkflow
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.inner import WORKFLOW
from orchestrator.workflow.kinds import check_kind
from orchestrator.workflow.plan import (
    PLAIN,
    CachePlan,
    CallTemplate,
    LockPlan,
    Plan,
    Policies,
    RepeatPlan,
    TaskPlan,
)

if TYPE_CHECKING:
    from orchestrator.workflow.graph import Graph
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.task import Defaults, Fallback, Task

_FIELDS = frozenset(Policies.__dataclass_fields__)


def make_plan(
    tasks: Iterable[Task],
    compiled: CompiledWorkflow,
    defaults: Defaults,
    inner: Mapping[str, Workflow],
    last: Sequence[Task] = (),
) -> Plan:
    """The plan of a workflow that compiled without a problem.

    `inner` is by the id of the task, and `last` are those of `finally`.
    """
    assert compiled.graph is not None
    graph = _part(compiled, tasks) if last else compiled.graph
    generations = graphs.generations(graph)
    number = {task: index for index, names in enumerate(generations) for task in names}
    plans: dict[str, TaskPlan] = {}
    for index, task in chain(enumerate(tasks), enumerate(last)):
        templates = compiled.tasks.pop(task.id)
        plans[task.id] = TaskPlan(
            *_own_target(task, inner),
            *templates.arguments,
            check_kind(task.model_fields_set),
            task.id,
            index,
            tuple(dependencies := compiled.dependencies[task.id]),
            _needs(task, dependencies, number),
            _timeout_s(task, defaults),
            number.get(task.id),
            _policies(task, templates, defaults, is_last=task.id not in number),
            inner.get(task.id),
        )
    # Ordered by first use, as messages list servers.
    targets = _each_once(target for plan in plans.values() for target in plan.targets)
    requests = _each_once(request for plan in plans.values() for request in plan.requests)
    edges, output, then = sorted(map(list, compiled.graph.edges)), compiled.output, None
    policies = tuple(each.policies for each in plans.values() if each.policies is not PLAIN)
    if last:
        own, of_last = _part(compiled, last), {task.id: plans[task.id] for task in last}
        ordered = graphs.generations(own)
        then = Plan(of_last, own, ordered, [], None, targets, requests, _servers(of_last))
    more = policies, bool(inner), any(each.asks for each in plans.values()), then
    of_all = targets, requests, _servers(plans), *more, _literal_locks(plans.values())
    return Plan(plans, graph, generations, edges, output, *of_all)


def _servers(plans: Mapping[str, TaskPlan]) -> list[str]:
    return list(dict.fromkeys(name for plan in plans.values() for name in plan.servers))


def _literal_locks(tasks: Iterable[TaskPlan]) -> tuple[Hold, ...]:
    """The locks whose names are known, those inside included."""
    found: dict[str, Hold] = {}
    for task in tasks:
        own = filter(None, (lock.literal for lock in task.policies.locks))
        inside = () if task.inner is None else task.inner.plan.locks
        for hold in (*own, *inside):
            found[hold.name] = hold.joined(found.get(hold.name))
    return tuple(found.values())


def _each_once(calls: Iterable[CallTemplate]) -> dict[str, CallTemplate]:
    found: dict[str, CallTemplate] = {}
    for call in calls:
        found.setdefault(call.target, call)
    return found


def _needs(
    task: Task, dependencies: Mapping[str, bool], others: Mapping[str, int]
) -> tuple[str, ...]:
    """The tasks that decide whether a task runs; `others` are all that are not of `finally`."""
    needs = tuple(name for name, is_needed in dependencies.items() if is_needed)
    # Whether the others failed is what a task of `finally` is most often about.
    is_about_all = not needs and task.id not in others and "run_if" in task.model_fields_set
    return tuple(others) if is_about_all else needs


def _part(compiled: CompiledWorkflow, tasks: Iterable[Task]) -> Graph:
    """The graph of some tasks, with their dependencies on each other."""
    ids = dict.fromkeys(task.id for task in tasks)
    return graphs.build(
        {task: filter(ids.__contains__, compiled.dependencies[task]) for task in ids}
    )


def _own_target(task: Task, inner: Mapping[str, Workflow]) -> tuple[str, str, str]:
    """Its `server:tool`, or `workflow:name` without a server."""
    if task.ask is not None:
        return "ask", "", "ask"
    if task.id not in inner:
        request = task.read or task.prompt
        if request is None:
            return _target(task.tool or "")
        target, server, name = _target(request)
        return f"{'read' if task.read else 'prompt'} {target}", server, name
    name = inner[task.id].name
    return f"{WORKFLOW}:{name}", "", name


def _target(target: str) -> tuple[str, str, str]:
    server, _, tool = target.partition(":")
    return target, server, tool


def _policies(
    task: Task, templates: CompiledTask, defaults: Defaults, *, is_last: bool
) -> Policies:
    given = task.model_fields_set
    asks_nothing = not is_last and defaults.retry is None and _FIELDS.isdisjoint(given)
    if asks_nothing and task.tool is not None:
        return PLAIN
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
            LockPlan(name, lock.mode == "shared", of_item, lock.count)
            for (name, of_item), lock in zip(templates.locks, task.locks, strict=True)
        ),
        task.retry or defaults.retry,
        task.timeout_resets_on_progress,
        templates.item_when,
        _fallback(task.item_fallback, templates.item_fallback),
        task.on_item_error or defaults.on_item_error,
        repeat,
        task.delay_s or None,
        task.deadline_s,
        task.end_run,
        templates.approve,
        _cache(task),
        task.spread,
    )


def _timeout_s(task: Task, defaults: Defaults) -> float | None:
    """The limit of one attempt, or of a question, which has none by default."""
    if task.ask is not None:
        return task.ask.timeout_s or task.timeout_s
    return task.timeout_s or defaults.timeout_s


def _cache(task: Task) -> CachePlan | None:
    if task.cache is None:
        return None
    turns = "" if task.repeat is None else to_json([task.repeat.model_dump(), task.arguments])
    return CachePlan(task.cache.ttl_s, task.cache.open_world, turns)


def _fallback(
    fallback: Fallback | None, templates: CompiledFallback
) -> Template | CallTemplate | None:
    if fallback is None:
        return None
    if fallback.tool is None:
        return templates.value
    return CallTemplate(*_target(fallback.tool), *templates.arguments, "tool")
