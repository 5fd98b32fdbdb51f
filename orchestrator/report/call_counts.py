"""How many calls the tasks of a workflow make, as far as that is known before the first one.

The rule of this file: pure functions, one pass over the tasks; what is not known has no bound, and
is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import cut
from orchestrator.errors import CallError
from orchestrator.expressions.scope import MISSING, Reference, Scope
from orchestrator.expressions.templates import Computed, ListTemplate, Template, written
from orchestrator.expressions.templates import Literal as LiteralTemplate
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    LiteralType,
    SchemaType,
    StaticType,
    UnionType,
    UnknownType,
    schema_type,
)
from orchestrator.schema.variants import NO_LIMIT, lengths, types_of
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan

Runs = Literal["never", "maybe", "surely"]
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Count:
    """A number of calls.

    Attributes:
        least: As many there are at least, if nothing fails.
        most: As many there are at most, without repetitions; None if there is no bound.
        why: Why it is not simply one; empty if it is.
    """

    least: int
    most: int | None
    why: str = ""

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least}+"
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"

    @property
    def is_exact(self) -> bool:
        """Whether it can be only one number."""
        return self.least == self.most


ONE = Count(1, 1)
_NO_LIST = "its for_each is no list"
_NO_CONDITION = "its condition cannot be read"
FAILING = frozenset({_NO_LIST, _NO_CONDITION})
"""Why a task makes no call and fails for certain, so that its fallback stands in."""


def count_calls(
    workflow: Workflow, tools: Mapping[str, Tool], inputs: Mapping[str, Any]
) -> dict[str, Count]:
    """How many calls of its own tool each task makes; calls that are repeated count once.

    Args:
        workflow: The workflow.
        tools: Each tool that is known, by `server:tool`; may be empty.
        inputs: The inputs that were given; the defaults stand in for the others.
    """
    counter = _Counter(workflow, tools, inputs)
    tasks = workflow.plan.tasks
    for generation in workflow.plan.generations:
        for name in generation:
            counter.add(tasks[name])
    return {name: counter.calls[name] for name in tasks}


class _Counter:
    """Counts the calls of one task after the other, those that it depends on before it."""

    def __init__(
        self, workflow: Workflow, tools: Mapping[str, Tool], inputs: Mapping[str, Any]
    ) -> None:
        self.calls: dict[str, Count] = {}
        self._plan: Plan = workflow.plan
        self._tools = tools
        self._declared = workflow.inputs
        defaults = {
            name: schema["default"]
            for name, schema in workflow.inputs.items()
            if isinstance(schema, Mapping) and "default" in schema
        }
        self._inputs = defaults | dict(inputs)
        self._scope = Scope(inputs=self._inputs)
        self._reader = TypeQuery()
        self._items: dict[str, Count] = {}
        self._runs: dict[str, Runs] = {}

    def add(self, task: TaskPlan) -> None:
        items = self._items[task.id] = self._items_of(task)
        runs, why = self._runs_of(task)
        self._runs[task.id] = runs
        if why == _NO_CONDITION or runs == "never":
            self.calls[task.id] = Count(0, 0, why)
        elif runs == "maybe":
            self.calls[task.id] = Count(0, items.most, "; ".join(filter(None, (items.why, why))))
        else:
            self.calls[task.id] = items

    def _runs_of(self, task: TaskPlan) -> tuple[Runs, str]:
        """Whether the task runs if no task fails, and why it may not."""
        runs, why = self._let_run(task)
        when = task.policies.when
        if runs == "never" or when is None:
            return runs, why
        value = self._value(when)
        if isinstance(value, CallError):
            return runs, _NO_CONDITION
        if value is not MISSING:
            is_false = value is None or value is False or value in ("", [], {})
            return ("never", "its condition is false") if is_false else (runs, why)
        return "maybe", "; ".join(filter(None, (why, f"if {_short(when)}")))

    def _let_run(self, task: TaskPlan) -> tuple[Runs, str]:
        """Whether the tasks before it let it run, if none of them fails."""
        before = {self._runs[needed] for needed in task.dependencies}
        match task.policies.run_if:
            case "all_success" if "never" in before:
                return "never", "what it depends on never runs"
            case "all_success" if "maybe" in before:
                return "maybe", "if what it depends on runs"
            case "any_success" | "any_failed" if before <= {"never"}:
                return "never", "nothing that it depends on runs"
            case "any_success" if "surely" not in before:
                return "maybe", "if any that it depends on runs"
            case "any_failed":
                return "maybe", "if any that it depends on fails"
        return "surely", ""

    def _value(self, template: Template) -> Any:
        """The value of a template that reads nothing but known inputs, or the error; or MISSING."""
        if isinstance(template, LiteralTemplate):
            return template.value
        assert isinstance(template, Reference | Computed)  # no text is a list or a condition
        if any(
            place.root != "INPUT" or place.name not in self._inputs for place in template.places
        ):
            return MISSING
        try:
            return template.resolve(self._scope)
        except CallError as error:
            return error

    def _items_of(self, task: TaskPlan) -> Count:
        template = task.policies.for_each
        if template is None:
            return ONE
        if isinstance(template, ListTemplate):
            return _exactly(len(template.items))
        value = self._value(template)
        if isinstance(value, list):
            return _exactly(len(value), "" if isinstance(template, LiteralTemplate) else template)
        if value is not MISSING:
            return Count(0, 0, _NO_LIST)
        if isinstance(template, Reference) and not template.or_length:
            if template.root == "INPUT":
                declared = self._declared.get(str(template.name), True)
                return self._within(schema_type(declared), template.path, template)
            if template.root == "OUTPUT":
                return self._items_of_output(template)
        return Count(0, None, _each(template))

    def _items_of_output(self, reference: Reference) -> Count:
        """How many items there are at a place in the output of a task, or of its fallback."""
        producer, path = self._plan.tasks[str(reference.name)], reference.path
        fallback = producer.policies.fallback
        if producer.policies.for_each is not None:
            if not path:
                items = self._items[producer.id]
                return Count(items.least, items.most, _each(reference))
            path = path[1:] if isinstance(path[0], int) else path
        own = self._within(self._output_of(producer), path, reference)
        if fallback is None:
            return own
        other = self._within(self._output_of(fallback), reference.path, reference)
        return _between([own, other], own.why)

    def _output_of(self, source: CallTemplate | Template) -> StaticType:
        if isinstance(source, LiteralTemplate):
            return LiteralType(source.value)
        tool = self._tools.get(source.target) if isinstance(source, CallTemplate) else None
        declared = None if tool is None else tool.output_schema
        return UnknownType("") if declared is None else schema_type(declared)

    def _within(self, shape: StaticType, path: Path, reference: Reference) -> Count:
        """How many items there are at a place of a value."""
        for step in path:
            found = self._reader.step(shape, step)
            is_open = found.presence == "no" and not isinstance(shape, LiteralType)
            shape = UnknownType("") if is_open else found.shape
        return self._length(shape, _each(reference))

    def _length(self, shape: StaticType, why: str) -> Count:
        match shape:
            case LiteralType(value):
                number = len(value) if isinstance(value, list) else 0
                return Count(number, number, why)
            case SchemaType():
                ways = [lengths(v) for v in self._reader.variants(shape) if "array" in types_of(v)]
                counts = [Count(low, None if high == NO_LIMIT else high) for low, high in ways]
                return _between(counts, why)
            case UnionType(options):
                return _between([self._length(option, why) for option in options], why)
        return Count(0, None, why)


def _between(counts: list[Count], why: str) -> Count:
    """What the number is, if it is one of several."""
    least = min((count.least for count in counts), default=0)
    most = [count.most for count in counts if count.most is not None]
    return Count(least, max(most) if counts and len(most) == len(counts) else None, why)


def _exactly(number: int, template: Template | str = "") -> Count:
    why = "" if number == 1 else "one for each item" if template == "" else _each(template)
    return Count(number, number, why)


def _each(template: Template | str) -> str:
    return f"one for each item of {_short(template)}"


def _short(template: Template | str) -> str:
    text = template if isinstance(template, str) else written(template)
    return cut(text, _SHOWN)


def total(counts: list[Count]) -> Count:
    """The sum of counts."""
    most = [count.most for count in counts if count.most is not None]
    return Count(
        sum(count.least for count in counts), sum(most) if len(most) == len(counts) else None
    )
