"""A part of a workflow: some items of one task, as a workflow of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orchestrator.expressions.scope import ScopeKey
from orchestrator.expressions.templates import (
    ListTemplate,
    Literal,
    ObjectTemplate,
    Template,
    Text,
)
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan
from orchestrator.workflow.product import Slice


def part_of(workflow: Workflow, task: str, items: list[Any], first: int, most: int) -> Workflow:
    """The workflow that makes the calls of some items; the rest of the task is done around it.

    Args:
        workflow: The whole workflow.
        task: The task.
        items: The items, and the number of the `first`.
        most: How many of them may be in flight at a time; 0 for any number.
    """
    whole = workflow.plan
    own = whole.tasks[task]
    policies = replace(
        own.policies,
        run_if="all_success",
        when=None,
        for_each=Slice(items, first),
        max_parallel=most or None,
        fallback=None,
        critical=False,
        delay_s=None,
        end_run=None,
        spread=False,
    )
    alone = replace(own, dependencies=(), needs=(), policies=policies)
    known = {name: whole.tasks[name] for name in read_by_items(own)}
    plan = Plan(
        tasks=known | {task: alone},
        graph=graphs.build(dict.fromkeys((*known, task), ())),
        generations=[[task]],
        edges=[],
        output=Literal(None),
        targets={each.target: each for each in alone.targets},
        requests={each.target: each for each in alone.requests},
        servers=list(dict.fromkeys(alone.servers)),
        policies=(policies,),
        has_inner=alone.inner is not None,
        asks=alone.asks,
        locks=whole.locks,
    )
    part = workflow.model_copy(update={"timeout_s": None, "budget": None})
    part._plan = part.__dict__["plan"] = plan
    return part


def read_by_items(task: TaskPlan) -> list[str]:
    """The tasks that the calls of its items read, in the order of its dependencies."""
    read = {key.name for template in _of_items(task) for key in _places(template)}
    return [name for name in task.dependencies if None in read or name in read]


def _of_items(task: TaskPlan) -> Iterator[Template]:
    """The templates that are resolved for each item."""
    policies = task.policies
    yield task.arguments
    yield from (lock.name for lock in policies.locks)
    yield from filter(None, (policies.item_when, policies.approve))
    if isinstance(policies.item_fallback, CallTemplate):
        yield policies.item_fallback.arguments
    elif policies.item_fallback is not None:
        yield policies.item_fallback
    if policies.repeat is not None:
        yield policies.repeat.until
        yield from filter(None, [policies.repeat.collect])


def _places(template: Template | str) -> Iterator[ScopeKey]:
    """What a template reads that may be of a task."""
    match template:
        case str() | Literal():
            return
        case Text(parts):
            for part in parts:
                yield from _places(part)
        case ListTemplate(items):
            for item in items:
                yield from _places(item)
        case ObjectTemplate(members):
            for name, member in members:
                yield from (*_places(name), *_places(member))
        case found:
            yield from (key for key in found.places if key.root not in ("ITEM", "INDEX", "LAST"))
