"""Counts the calls of each task, or bounds them, before a run.

Bounds come from arrays in the file, from inputs and from schemas. Anything else has no upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import cut
from orchestrator.errors import CallError
from orchestrator.expressions.scope import Reference, Scope
from orchestrator.expressions.templates import ListTemplate, Template
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import SchemaType, StaticType, UnionType, schema_type
from orchestrator.schema.variants import NO_LIMIT, lengths, types_of
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan
from orchestrator.workflow.product import Product

_MAX_TEXT = 60

Bounds = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Count:
    """A number of calls if nothing fails, without retries and fallbacks."""

    least: int
    most: int | None  # None if there is no upper bound
    why: str = ""  # what the number depends on; empty if it is always 1

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least:,}+"
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,}-{self.most:,}"


def count_calls(
    workflow: Workflow, tools: Mapping[str, Tool], inputs: Mapping[str, Any]
) -> dict[str, Count]:
    """How many calls of its own tool, or inside its workflow, each task makes; see `forecast`.

    Raises:
        WorkflowError: A given input is unknown or does not fit its schema.
    """
    known = complete_inputs(workflow.inputs, inputs, workflow.name, may_miss=True)
    bounds = _ItemBounds(workflow, tools, known)
    counts: dict[str, Count] = {}
    skippable: set[str] = set()
    # By generations, since the bounds of a task are made of those of the tasks it depends on.
    for task in workflow.plan.order:
        name = task.id
        why, each = [], task.policies.for_each
        least, most = bounds.found[name] = bounds.of(each)
        if each is not None:
            text = getattr(each, "text", "")  # an array in the file has none
            why.append(f"one for each item{' of ' if text else ''}{cut(text, _MAX_TEXT)}")
        if task.inner is not None:
            inside = count_calls(task.inner, tools, {}).values()
            least *= sum(count.least for count in inside)
            ends = [count.most for count in inside if count.most is not None]
            most = None if most is None or len(ends) < len(inside) else most * sum(ends)
            why.append(f"of each task of {task.target}")
        if (repeat := task.policies.repeat) is not None:
            why.append(f"up to {repeat.max_times} times{' each' if each is not None else ''}")
            most = most and most * repeat.max_times
        if task.policies.item_when is not None:
            why.append("none for an item that is skipped")
            least = 0
        if _may_be_skipped(task, skippable):
            skippable.add(name)
            why.append("none if it is skipped")
            least = 0
        if task.kind in ("value", "ask"):
            does = "calls nothing" if task.kind == "value" else "asks a person"
            least, most, why = 0, 0, [f"it {does}"]
        counts[name] = Count(least, most, "; ".join(why))
    return {name: counts[name] for name in workflow.plan.tasks}


def _may_be_skipped(task: TaskPlan, skippable: set[str]) -> bool:
    """Whether a task may be skipped although nothing fails. Its `when` is not evaluated."""
    if task.policies.when is not None or task.policies.run_if == "any_failed":
        return True
    before = [needed in skippable for needed in task.needs]
    if task.policies.run_if == "any_success":
        return all(before)
    return task.policies.run_if == "all_success" and any(before)


@dataclass(frozen=True, slots=True)
class _ItemBounds:
    """Bounds the number of items of a task, given those `found` for the tasks it depends on."""

    workflow: Workflow
    tools: Mapping[str, Tool]
    inputs: Mapping[str, Any]
    found: dict[str, Bounds] = field(default_factory=dict)
    query: TypeQuery = field(default_factory=TypeQuery)

    def of(self, template: Template | Product | None) -> Bounds:
        if template is None:
            return 1, 1
        if isinstance(template, Product):
            least, most = zip(*map(self.of, template.lists.values()), strict=True)
            return math.prod(least), None if None in most else math.prod(most)
        if isinstance(template, ListTemplate):
            return len(template.items), len(template.items)
        places = getattr(template, "places", ())
        if all(place.root == "INPUT" and place.name in self.inputs for place in places):
            # The checker reports an error in it; the number is open until that is fixed.
            with suppress(CallError):
                value = template.resolve(Scope(inputs=self.inputs))
                if isinstance(value, list):
                    return len(value), len(value)
        if isinstance(template, Reference) and not template.or_length:
            if template.root == "INPUT":
                return self._length_at(
                    schema_type(self.workflow.inputs[str(template.name)]), template.path
                )
            if template.root == "ITEMS" and not template.path:
                return 0, self.found[str(template.name)][1]  # none if it was skipped
            if template.root == "OUTPUT":
                return self._length_of_output(str(template.name), template.path)
        return 0, None

    def _length_of_output(self, task: str, path: Path) -> Bounds:
        producer = self.workflow.plan.tasks[task]
        policies = producer.policies
        is_open = producer.kind == "value" or policies.repeat is not None
        if policies.fallback is not None or (is_open and (path or policies.for_each is None)):
            return 0, None  # its output may be of any length
        if producer.policies.for_each is not None:
            if not path:
                return self.found[task]
            path = path[1:]  # the index of an item: all items fit the same schema
        tool = self.tools.get(producer.target)
        return self._length_at(None if tool is None else tool.output_type, path)

    def _length_at(self, type_: StaticType | None, path: Path) -> Bounds:
        """How many items there are at a path of any value of a type."""
        found = schema_type({}) if type_ is None else type_
        for step in path:
            found = self.query.step(found, step).type
        bounds = []
        for option in found.options if isinstance(found, UnionType) else (found,):
            if not isinstance(option, SchemaType):
                return 0, None
            ways = self.query.variants(option)
            bounds += [lengths(way) for way in ways if "array" in types_of(way)]
        most = max((high for _, high in bounds), default=NO_LIMIT)
        return min((low for low, _ in bounds), default=0), None if most == NO_LIMIT else most
