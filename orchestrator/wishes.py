"""What a workflow expects of the outputs that it refers to: which places, and of what type.

The rule of this file: pure functions of the compiled templates and of the tools that take what they
give; it says what is referred to, not whether it will be there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.calls import Tool
from orchestrator.paths import Path
from orchestrator.planning import Target, TaskPlan
from orchestrator.reading import reads_of
from orchestrator.references import ListTemplate, Literal, ObjectTemplate, Reference, Template, Text
from orchestrator.subschemas import subschema
from orchestrator.templates import Computed
from orchestrator.workflow import Workflow

ANYTHING: Mapping[str, Any] = {}
_LIST: Mapping[str, Any] = {"type": "array"}
_TEXT: Mapping[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A place in an output that is referred to.

    Attributes:
        path: The place.
        schema: What is wanted there, a JSON Schema; `ANYTHING` if that is not known.
    """

    path: Path
    schema: Mapping[str, Any]


def wishes(workflow: Workflow, tools: Mapping[str, Tool]) -> dict[str, list[Wish]]:
    """What is referred to of the output of each task, by its id."""
    collector = _Collector(workflow, tools)
    for task in workflow.plan.tasks.values():
        collector.add(task)
    if workflow.plan.output is not None:
        collector.read(workflow.plan.output, ANYTHING)
    return collector.found


class _Collector:
    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        self.found: dict[str, list[Wish]] = defaultdict(list)
        self._tasks = workflow.plan.tasks
        self._tools = tools
        self._schemas: dict[tuple[int, Path], Mapping[str, Any]] = {}

    def add(self, task: TaskPlan) -> None:
        policies = task.policies
        item = None if policies.for_each is None else self._item_of(policies.for_each)
        if policies.for_each is not None:
            self.read(policies.for_each, _LIST)
        if policies.when is not None:
            self.read(policies.when, ANYTHING)
        for lock in policies.locks:
            self.read(lock.name, _TEXT, item)
        self._arguments(task, item)
        match policies.fallback:
            case Target() as target:
                self._arguments(target, None)
            case None:
                pass
            case template:
                self.read(template, ANYTHING)

    def _arguments(self, target: Target, item: tuple[str, Path] | None) -> None:
        tool = self._tools.get(target.target)
        self.read(target.arguments, ANYTHING if tool is None else tool.input_schema, item)

    def _item_of(self, each: Template) -> tuple[str, Path] | None:
        """The task and the place in its output of the first item that a `for_each` goes through."""
        if isinstance(each, Computed):
            reads = reads_of(each.expression)
            if not reads:
                return None
            last = reads[-1]
            return last.task, last.path if last.projected else (*last.path, 0)
        if isinstance(each, Reference) and each.root == "OUTPUT":
            return str(each.name), (*each.path, 0)
        return None

    def read(
        self, template: Template, schema: Mapping[str, Any], item: tuple[str, Path] | None = None
    ) -> None:
        """Note what a template refers to, where a value of this schema is wanted."""
        for part, path in _parts(template):
            wanted = ANYTHING if path is None else self._schema_at(schema, path)
            if isinstance(part, Computed):
                for read in reads_of(part.expression):
                    self._note(read.task, read.path, read.schema)
            elif part.root == "OUTPUT":
                path = part.path[:-1] if part.or_length else part.path
                self._note(str(part.name), path, ANYTHING if part.or_length else wanted)
            elif part.root == "ITEM" and item is not None:
                self._note(item[0], (*item[1], *part.path), wanted)

    def _schema_at(self, schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        """What a schema says of a place: the same object whenever it is asked for the same."""
        key = id(schema), path
        if key not in self._schemas:
            self._schemas[key] = subschema(schema, path) or ANYTHING
        return self._schemas[key]

    def _note(self, task: str, path: Path, schema: Mapping[str, Any]) -> None:
        """Note a place. Of a `for_each` it is one in the output of each item."""
        producer = self._tasks.get(task)
        if producer is not None and producer.policies.for_each is not None:
            if not path or not isinstance(path[0], int):
                return
            path = path[1:]
        self.found[task].append(Wish(path, schema))


def _parts(template: Template) -> Iterator[tuple[Reference | Computed, Path | None]]:
    """Each reference of a template with the place where it stands alone; None within a text."""
    pending: list[tuple[Template, Path]] = [(template, ())]
    while pending:
        here, path = pending.pop()
        match here:
            case Reference() | Computed():
                yield here, path
            case Text(parts):
                yield from ((part, None) for part in parts if not isinstance(part, str))
            case ListTemplate(items):
                pending += [(item, (*path, index)) for index, item in enumerate(items)]
            case ObjectTemplate(members):
                pending += [(member, (*path, _name(name))) for name, member in members]
                pending += [(name, ()) for name, _ in members if isinstance(name, Text)]


def _name(name: Literal | Text) -> str:
    return name.value if isinstance(name, Literal) else ""
