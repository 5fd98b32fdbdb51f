"""What a workflow expects of the outputs that it refers to: which places, and of what type.

The rule of this file: templates are followed as before a run, with outputs of which nothing is
known but their place; it says what is referred to, not whether it will be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.calls import Tool
from orchestrator.inference import Inference
from orchestrator.paths import Path
from orchestrator.planning import Target, TaskPlan
from orchestrator.reader import Reader
from orchestrator.references import Template
from orchestrator.shapes import (
    ARRAY,
    TEXT,
    ArrayOf,
    Either,
    Exactly,
    Found,
    Known,
    ListOf,
    Members,
    Shape,
    Sourced,
    Unknown,
    schema_shape,
)
from orchestrator.surroundings import Surroundings
from orchestrator.workflow import Workflow

ANYTHING = schema_shape({})
_TYPES = {"string", "number", "boolean", "array", "object"}
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}
_TURNED = {"gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A place in an output that is referred to.

    Attributes:
        path: The place; in the output of each item, if the task has a `for_each`.
        wanted: What is wanted there; `ANYTHING` if that is not known.
    """

    path: Path
    wanted: Known


def wishes(workflow: Workflow, tools: Mapping[str, Tool]) -> dict[str, list[Wish]]:
    """What is referred to of the output of each task, by its id."""
    collector = _Collector(workflow, tools)
    for task in workflow.plan.tasks.values():
        collector.add(task)
    if workflow.plan.output is not None:
        collector.want(workflow.plan.output, ANYTHING)
    return {task: _telling(found) for task, found in collector.found.items()}


def _telling(wishes: list[Wish]) -> list[Wish]:
    """Each wish once; for anything at all only where no other wish says more."""
    said = {wish.path[:length] for wish in wishes for length in range(len(wish.path))}
    said |= {wish.path for wish in wishes if wish.wanted is not ANYTHING}
    different = {(wish.path, id(wish.wanted.schema)): wish for wish in wishes}
    return [w for w in different.values() if w.wanted is not ANYTHING or w.path not in said]


@dataclass(frozen=True, slots=True)
class _Place(Unknown):
    """A value of which only the place in the output of a task is known."""

    task: str
    path: Path


class _Collector(Reader):
    """Reads shapes, and notes each place that is stepped to, or taken for something."""

    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        super().__init__()
        self._tools = tools
        outputs: dict[str, Shape] = {}
        for name, task in workflow.plan.tasks.items():
            place = _Place("", name, ())
            outputs[name] = place if task.policies.for_each is None else ArrayOf(place)
        self._outputs = outputs
        self._around = Surroundings(outputs)
        self.found: dict[str, list[Wish]] = {name: [] for name in outputs}

    def add(self, task: TaskPlan) -> None:
        policies, inside = task.policies, self._around
        if policies.when is not None:
            self.want(policies.when, ANYTHING)
        if policies.for_each is not None:
            item = self.element(self.want(policies.for_each, ARRAY))
            inside = Surroundings(self._outputs, item=Unknown("") if item is None else item)
        for lock in policies.locks:
            self.want(lock.name, TEXT, inside)
        self._arguments(task, inside)
        if isinstance(policies.fallback, Target):
            self._arguments(policies.fallback, self._around)
        elif policies.fallback is not None:
            self.want(policies.fallback, ANYTHING)

    def _arguments(self, target: Target, around: Surroundings) -> None:
        tool = self._tools.get(target.target)
        wanted = ANYTHING if tool is None else schema_shape(tool.input_schema)
        self.want(target.arguments, wanted, around)

    def want(self, template: Template, wanted: Known, around: Surroundings | None = None) -> Shape:
        """The shape of a template; what it refers to is noted, where this is wanted."""
        shape = Inference(self, around or self._around).shape_of(template)
        self._note(shape, wanted)
        return shape

    def _note(self, shape: Shape, wanted: Shape) -> None:
        match shape:
            case _Place(task=task, path=path):
                self.found[task].append(Wish(path, _known(wanted)))
            case Sourced(inner):
                self._note(inner, wanted)
            case Either(options):
                for option in options:
                    self._note(option, wanted)
            case ArrayOf(item):
                self._note(item, super().step(wanted, 0).shape)
            case ListOf(items):
                for index, item in enumerate(items):
                    self._note(item, super().step(wanted, index).shape)
            case Members(members):
                for name, member in members.items():
                    self._note(member, super().step(wanted, name).shape)

    def step(self, shape: Shape, segment: str | int) -> Found:
        """What is below a place is another place."""
        if not isinstance(shape, _Place):
            return super().step(shape, segment)
        below = _Place("", shape.task, (*shape.path, segment))
        self._note(below, ANYTHING)
        return Found(below, "unknown")

    def element(self, shape: Shape) -> Shape | None:
        """The items of a list at a place are known by the first one."""
        return self.step(shape, 0).shape if isinstance(shape, _Place) else super().element(shape)

    def takes(self, shape: Shape, types: list[str]) -> None:
        """Note what a function takes it for."""
        for name in types:
            kind, _, inner = name.partition("-")
            if kind in _TYPES:
                items = {"items": {"type": inner}} if inner else {}
                self._note(shape, schema_shape({"type": kind, **items}))
                return

    def compares(self, operator: str, left: Shape, right: Shape) -> None:
        """Note what makes a comparison with a literal true, or can be compared."""
        self._note(left, _compared(operator, right))
        self._note(right, _compared(_TURNED.get(operator, operator), left))


def _known(shape: Shape) -> Known:
    """What is wanted; of several ways the first."""
    options = shape.options if isinstance(shape, Either) else (shape,)
    return next((option for option in options if isinstance(option, Known)), ANYTHING)


def _compared(operator: str, other: Shape) -> Known:
    value = other.value if isinstance(other, Exactly) else None
    if operator == "eq" and value is not None:
        return schema_shape({"const": value})
    if operator not in _BOUNDS:
        return ANYTHING
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    bound = {_BOUNDS[operator]: value} if is_number else {}
    return schema_shape({"type": "number", **bound})
