"""What a workflow expects of the outputs that it refers to: which places, and of what type.

The rule of this file: templates are followed as before a run, with outputs of which nothing is
known but their place; it says what is referred to, not whether it will be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.check.environment import Environment
from orchestrator.check.infer import Inference
from orchestrator.documents.jsonpath import Path
from orchestrator.expressions.templates import Template
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    ARRAY,
    TEXT,
    ArrayType,
    Found,
    LiteralType,
    ObjectType,
    SchemaType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
    schema_type,
)
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan

ANYTHING = schema_type({})
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
    wanted: SchemaType


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
class _WishedPlace(UnknownType):
    """A value of which only the place in the output of a task is known."""

    task: str
    path: Path


class _Collector(TypeQuery):
    """Reads shapes, and notes each place that is stepped to, or taken for something."""

    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        super().__init__()
        self._tools = tools
        outputs: dict[str, StaticType] = {}
        for name, task in workflow.plan.tasks.items():
            place = _WishedPlace("", name, ())
            outputs[name] = place if task.policies.for_each is None else ArrayType(place)
        self._outputs = outputs
        self._around = Environment(outputs)
        self.found: dict[str, list[Wish]] = {name: [] for name in outputs}

    def add(self, task: TaskPlan) -> None:
        policies, inside = task.policies, self._around
        if policies.when is not None:
            self.want(policies.when, ANYTHING)
        if policies.for_each is not None:
            item = self.element(self.want(policies.for_each, ARRAY))
            inside = Environment(self._outputs, item=UnknownType("") if item is None else item)
        for lock in policies.locks:
            self.want(lock.name, TEXT, inside)
        self._arguments(task, inside)
        if isinstance(policies.fallback, CallTemplate):
            self._arguments(policies.fallback, self._around)
        elif policies.fallback is not None:
            self.want(policies.fallback, ANYTHING)

    def _arguments(self, target: CallTemplate, around: Environment) -> None:
        tool = self._tools.get(target.target)
        wanted = ANYTHING if tool is None else schema_type(tool.input_schema)
        self.want(target.arguments, wanted, around)

    def want(
        self, template: Template, wanted: SchemaType, around: Environment | None = None
    ) -> StaticType:
        """The shape of a template; what it refers to is noted, where this is wanted."""
        shape = Inference(self, around or self._around).infer(template)
        self._note(shape, wanted)
        return shape

    def _note(self, shape: StaticType, wanted: StaticType) -> None:
        match shape:
            case _WishedPlace(task=task, path=path):
                self.found[task].append(Wish(path, _known(wanted)))
            case SourcedType(inner):
                self._note(inner, wanted)
            case UnionType(options):
                for option in options:
                    self._note(option, wanted)
            case ArrayType(item):
                self._note(item, super().step(wanted, 0).shape)
            case TupleType(items):
                for index, item in enumerate(items):
                    self._note(item, super().step(wanted, index).shape)
            case ObjectType(members):
                for name, member in members.items():
                    self._note(member, super().step(wanted, name).shape)

    def step(self, shape: StaticType, segment: str | int) -> Found:
        """What is below a place is another place."""
        if not isinstance(shape, _WishedPlace):
            return super().step(shape, segment)
        below = _WishedPlace("", shape.task, (*shape.path, segment))
        self._note(below, ANYTHING)
        return Found(below, "unknown")

    def element(self, shape: StaticType) -> StaticType | None:
        """The items of a list at a place are known by the first one."""
        return (
            self.step(shape, 0).shape if isinstance(shape, _WishedPlace) else super().element(shape)
        )

    def takes(self, shape: StaticType, types: list[str]) -> None:
        """Note what a function takes it for."""
        for name in types:
            kind, _, inner = name.partition("-")
            if kind in _TYPES:
                items = {"items": {"type": inner}} if inner else {}
                self._note(shape, schema_type({"type": kind, **items}))
                return

    def compares(self, operator: str, left: StaticType, right: StaticType) -> None:
        """Note what makes a comparison with a literal true, or can be compared."""
        self._note(left, _compared(operator, right))
        self._note(right, _compared(_TURNED.get(operator, operator), left))


def _known(shape: StaticType) -> SchemaType:
    """What is wanted; of several ways the first."""
    options = shape.options if isinstance(shape, UnionType) else (shape,)
    return next((option for option in options if isinstance(option, SchemaType)), ANYTHING)


def _compared(operator: str, other: StaticType) -> SchemaType:
    value = other.value if isinstance(other, LiteralType) else None
    if operator == "eq" and value is not None:
        return schema_type({"const": value})
    if operator not in _BOUNDS:
        return ANYTHING
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    bound = {_BOUNDS[operator]: value} if is_number else {}
    return schema_type({"type": "number", **bound})
