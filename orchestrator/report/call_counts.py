"""How many calls each task of a workflow makes, or the bounds that are known before a run.

Bounds come from lists in the file, from inputs and from schemas. Anything else has no upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import cut
from orchestrator.errors import CallError
from orchestrator.expressions.scope import MISSING, Reference, Scope
from orchestrator.expressions.templates import Computed, ListTemplate, Template
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import SchemaType, StaticType, UnionType, schema_type
from orchestrator.schema.variants import NO_LIMIT, lengths, types_of
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

# Whether a task runs if no task fails, in an order in which `min` and `max` combine dependencies.
_NEVER, _MAYBE, _ALWAYS = range(3)
_MAX_TEXT = 60

Bounds = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Count:
    """A number of calls; retries and fallbacks are not counted.

    Attributes:
        least: The fewest calls, if nothing fails.
        most: The most calls; None if there is no upper bound.
        why: What the number depends on; empty if it is always 1.
    """

    least: int
    most: int | None
    why: str = ""

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least:,}+"
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,}-{self.most:,}"


def count_calls(
    workflow: Workflow, tools: Mapping[str, Tool], inputs: Mapping[str, Any]
) -> dict[str, Count]:
    """How many calls of its own tool each task makes, by task.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`; may be empty.
        inputs: The inputs that were given; defaults are used for the others.

    Raises:
        WorkflowError: A given input is unknown or does not fit its schema.
    """
    known = complete_inputs(workflow.inputs, inputs, workflow.name, may_miss=True)
    counter = _Counter(workflow, tools, known)
    for generation in workflow.plan.generations:
        for name in generation:
            counter.add(workflow.plan.tasks[name])
    return {name: counter.calls[name] for name in workflow.plan.tasks}


def total(counts: list[Count]) -> Count:
    """The sum of counts."""
    most = [count.most for count in counts if count.most is not None]
    least = sum(count.least for count in counts)
    return Count(least, sum(most) if len(most) == len(counts) else None)


class _Counter:
    """Counts the calls of one task after the other; dependencies have to come first."""

    def __init__(
        self, workflow: Workflow, tools: Mapping[str, Tool], inputs: Mapping[str, Any]
    ) -> None:
        self.calls: dict[str, Count] = {}
        self._workflow = workflow
        self._tools = tools
        self._inputs = inputs
        self._query = TypeQuery()
        self._items: dict[str, Bounds] = {}
        self._runs: dict[str, int] = {}

    def add(self, task: TaskPlan) -> None:
        each, why = task.policies.for_each, []
        least, most = self._items[task.id] = self._number_of_items(each)
        if isinstance(each, Reference | Computed):
            why.append(f"one for each item of {cut(each.text, _MAX_TEXT)}")
        elif each is not None:
            why.append("one for each item")
        runs = self._runs[task.id] = self._whether_it_runs(task)
        if runs == _NEVER:
            self.calls[task.id] = Count(0, 0, "it is skipped")
            return
        if runs == _MAYBE:
            least = 0
            why.append("none if it is skipped")
        self.calls[task.id] = Count(least, most, "; ".join(why))

    def _whether_it_runs(self, task: TaskPlan) -> int:
        before = [self._runs[needed] for needed in task.dependencies]
        match task.policies.run_if:
            case "all_success":
                runs = min(before, default=_ALWAYS)
            case "any_success":
                runs = max(before, default=_NEVER)
            case "any_failed":  # never certain: the counts hold if nothing fails
                runs = min(max(before, default=_NEVER), _MAYBE)
            case _:
                runs = _ALWAYS
        if task.policies.when is None:
            return runs
        value = self._value(task.policies.when)
        if value is MISSING:
            return min(runs, _MAYBE)
        is_false = value is None or value is False or value in ("", [], {})
        return _NEVER if is_false else runs

    def _value(self, template: Template) -> Any:
        """The value of a template that reads nothing but known inputs, else MISSING."""
        for place in getattr(template, "places", ()):
            if place.root != "INPUT" or place.name not in self._inputs:
                return MISSING
        # The checker reports the error; the number of calls is open until it is fixed.
        try:
            return template.resolve(Scope(inputs=self._inputs))
        except CallError:
            return MISSING

    def _number_of_items(self, template: Template | None) -> Bounds:
        if template is None:
            return 1, 1
        if isinstance(template, ListTemplate):
            return len(template.items), len(template.items)
        value = self._value(template)
        if isinstance(value, list):
            return len(value), len(value)
        if isinstance(template, Reference) and not template.or_length:
            if template.root == "INPUT":
                return self._length_at(self._workflow.inputs[str(template.name)], template.path)
            if template.root == "OUTPUT":
                return self._length_of_output(str(template.name), template.path)
        return 0, None

    def _length_of_output(self, task: str, path: Path) -> Bounds:
        producer = self._workflow.plan.tasks[task]
        if producer.policies.fallback is not None:  # its output may be of any length
            return 0, None
        if producer.policies.for_each is not None:
            if not path:
                return self._items[task]
            path = path[1:]  # the index of an item: all items fit the same schema
        tool = self._tools.get(producer.target)
        return self._length_at(None if tool is None else tool.output_schema, path)

    def _length_at(self, schema: Any, path: Path) -> Bounds:
        """How many items there are at a path of any value that fits a schema."""
        found: StaticType = schema_type({} if schema is None else schema)
        for step in path:
            found = self._query.step(found, step).type
        bounds = []
        for option in found.options if isinstance(found, UnionType) else (found,):
            if not isinstance(option, SchemaType):
                return 0, None
            ways = self._query.variants(option)
            bounds += [lengths(way) for way in ways if "array" in types_of(way)]
        most = max((high for _, high in bounds), default=NO_LIMIT)
        return min((low for low, _ in bounds), default=0), None if most == NO_LIMIT else most
