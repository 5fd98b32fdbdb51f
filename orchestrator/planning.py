"""From a workflow's data to a plan: references compiled, names checked, the graph built.

The rule of this file: everything that can be known to be wrong before a server is asked is found
here, all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator import graph as graphs
from orchestrator.canonical import task_of
from orchestrator.errors import Problem, nearest, pointer
from orchestrator.expressions import Place
from orchestrator.paths import Path
from orchestrator.references import EMPTY, Compiler, Computed, Reference, Template

if TYPE_CHECKING:
    from orchestrator.graph import Graph
    from orchestrator.workflow import Task

MAX_SUGGESTIONS = 25
NOT_SUPPORTED_YET: Mapping[str, Any] = {
    "retry": None,
    "when": True,
    "run_if": "all_success",
    "for_each": None,
    "max_parallel": None,
    "fallback": None,
    "critical": False,
    "locks": [],
}


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """A task, ready to be decided on.

    Attributes:
        id: Its id.
        index: Its position in the file.
        server: The server it calls, and `tool` the name of the tool there.
        arguments: The template of the arguments.
        whole: The places in the arguments where a reference stands alone.
        dependencies: The tasks it waits for, those that references imply included.
        timeout_s: The limit of one attempt, or None for the server's.
        generation: The number of its topological generation, from 0.
    """

    id: str
    index: int
    server: str
    tool: str
    arguments: Template
    whole: tuple[Path, ...]
    dependencies: tuple[str, ...]
    timeout_s: float | None
    generation: int

    @property
    def target(self) -> str:
        """`server:tool`."""
        return f"{self.server}:{self.tool}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run follows. Made once for a workflow, shared by all its runs.

    Attributes:
        tasks: The tasks by id, in the order of the file.
        graph: Their graph.
        generations: Its topological generations.
        output: The template of what the run returns, or None for the default.
    """

    tasks: Mapping[str, TaskPlan]
    graph: Graph
    generations: list[list[str]]
    output: Template | None

    @property
    def servers(self) -> list[str]:
        """The servers that the tasks name, in the order of the file."""
        return list(dict.fromkeys(task.server for task in self.tasks.values()))

    @property
    def sorted_generations(self) -> list[list[str]]:
        """The generations as documents have them: each in alphabetical order."""
        return [sorted(generation) for generation in self.generations]

    @property
    def sinks(self) -> list[str]:
        """The tasks that nothing depends on."""
        return [task for task, degree in self.graph.out_degree() if not degree]


def unknown_server(
    server: str, known: Iterable[str], place: str = "", task: TaskPlan | None = None
) -> Problem:
    """The problem of a server that is not among those that are known.

    Args:
        server: The name that is wrong.
        known: The names of all servers.
        place: Where they are listed, as it continues the message.
        task: The task that names it, if one does.
    """
    names = list(known)
    near = nearest(server, names)
    hint = "" if near else f"servers: {', '.join(names)}"
    at = pointer("tasks", task.index, "tool") if task else ""
    message = f"there is no server {server!r}{place}"
    return Problem("unknown_server", message, at, task.id if task else None, near, hint)


@dataclass(slots=True)
class Checked:
    """What checking a workflow left behind for its plan."""

    arguments: dict[str, tuple[Template, tuple[Path, ...]]] = field(default_factory=dict)
    dependencies: dict[str, dict[str, None]] = field(default_factory=dict)
    output: Template | None = None
    graph: Graph | None = None


def make_plan(tasks: Iterable[Task], checked: Checked) -> Plan:
    """The plan of a workflow in which `check` found nothing wrong."""
    assert checked.graph is not None
    generations = graphs.generations(checked.graph)
    number = {task: index for index, names in enumerate(generations) for task in names}
    plans: dict[str, TaskPlan] = {}
    for index, task in enumerate(tasks):
        server, _, tool = task.tool.partition(":")
        template, whole = checked.arguments.get(task.id, (EMPTY, ()))
        needs = tuple(checked.dependencies[task.id])
        plans[task.id] = TaskPlan(
            task.id, index, server, tool, template, whole, needs, task.timeout_s, number[task.id]
        )
    return Plan(plans, checked.graph, generations, checked.output)


def check(workflow: Mapping[str, Any]) -> tuple[Checked, list[Problem]]:
    """Check all that a workflow refers to. The data may be wrong in any way; nothing is raised."""
    checker = _Checker(workflow)
    checker.run()
    return checker.checked, checker.problems


class _Checker:
    def __init__(self, workflow: Mapping[str, Any]) -> None:
        tasks = workflow.get("tasks")
        self.workflow = workflow
        self.tasks = tasks if isinstance(tasks, list) else []
        inputs = workflow.get("inputs")
        self.inputs: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {}
        self.checked = Checked()
        self.problems: list[Problem] = []
        self.ids: dict[str, int] = {}
        self.suggestions = MAX_SUGGESTIONS

    def run(self) -> None:
        self._index_tasks()
        for index, task in enumerate(self.tasks):
            if isinstance(task, Mapping):
                self._task(index, task)
        if self.workflow.get("output") is not None:
            self._output(self.workflow["output"])
        for name in ("name", "description", "inputs"):
            self._must_be_json(self.workflow.get(name), (name,))
        self.problems += input_problems(self.inputs)
        self.checked.graph = graphs.build(self.checked.dependencies)
        for cycle in graphs.cycles(self.checked.graph):
            where = pointer("tasks", self.ids[cycle[0]])
            message = f"these tasks wait for each other: {' -> '.join(cycle)}"
            hint = "take one of the references or depends_on away"
            self.problems.append(Problem("cycle", message, where, cycle[0], (), hint))

    def _index_tasks(self) -> None:
        for index, task in enumerate(self.tasks):
            identifier = task_of(task)
            if identifier is None:
                continue
            if identifier in self.ids:
                message = (
                    f"the id {identifier!r} is taken by task number {self.ids[identifier] + 1}"
                )
                where = pointer("tasks", index, "id")
                self.problems.append(Problem("duplicate_id", message, where, identifier))
            else:
                self.ids[identifier] = index
                self.checked.dependencies[identifier] = {}

    def _task(self, index: int, task: Mapping[str, Any]) -> None:
        identifier = task_of(task)
        self._unsupported(index, identifier, task)
        arguments = task.get("arguments", {})
        if isinstance(arguments, Mapping):
            compiler = Compiler()
            template = compiler.compile(arguments)
            if identifier is not None and self.ids[identifier] == index:
                self.checked.arguments[identifier] = template, tuple(compiler.whole)
            self._references(compiler, ("tasks", index, "arguments"), identifier)
        needs = task.get("depends_on", [])
        for position, needed in enumerate(needs if isinstance(needs, list) else []):
            if isinstance(needed, str):
                place = Place("OUTPUT", needed)
                self._place(place, needed, ("tasks", index, "depends_on", position), identifier)

    def _unsupported(self, index: int, identifier: str | None, task: Mapping[str, Any]) -> None:
        for name, default in NOT_SUPPORTED_YET.items():
            if name in task and task[name] != default:
                message = f"{name!r} is not supported yet"
                where = pointer("tasks", index, name)
                self.problems.append(Problem("not_supported", message, where, identifier))

    def _output(self, output: Any) -> None:
        compiler = Compiler()
        self.checked.output = compiler.compile(output)
        self._references(compiler, ("output",), None)

    def _references(self, compiler: Compiler, at: Path, task: str | None) -> None:
        for fault in compiler.faults:
            where = pointer(*at, *fault.path)
            self.problems.append(Problem(fault.code, fault.message, where, task))
        for path, found in compiler.found:
            for place in found.places:
                self._place(place, found, (*at, *path), task)

    def _must_be_json(self, value: Any, at: Path) -> None:
        compiler = Compiler()
        compiler.compile(value)
        faults = [fault for fault in compiler.faults if fault.code == "not_json"]
        self.problems += [
            Problem(fault.code, fault.message, pointer(*at, *fault.path)) for fault in faults
        ]

    def _place(
        self, place: Place, found: Reference | Computed | str, at: Path, task: str | None
    ) -> None:
        text = found if isinstance(found, str) else found.text
        match place.root:
            case "OUTPUT" | "STATUS" | "ERROR" if place.name is not None:
                if place.name not in self.ids:
                    message = f"{text!r} names a task {place.name!r} that does not exist"
                    self._unknown("unknown_task", message, place.name, self.ids, at, task)
                elif place.name == task:
                    message = f"{text!r} is a reference of the task to itself: {task} -> {task}"
                    problem = Problem("self_reference", message, pointer(*at), task)
                    self.problems.append(problem)
                elif task is not None:
                    self.checked.dependencies[task][place.name] = None
            case "INPUT" if place.name is not None and place.name not in self.inputs:
                message = f"{text!r} names an input {place.name!r} that is not declared"
                self._unknown("unknown_input", message, place.name, self.inputs, at, task)
            case "ITEM" | "INDEX":
                message = f"{text!r} means something only in a task with for_each"
                self.problems.append(Problem("no_item_here", message, pointer(*at), task))
            case "ERROR" if place.name is None:
                message = f"{text!r} without a task means something only in a fallback"
                hint = "name a task: $ERROR[id]"
                self.problems.append(
                    Problem("no_error_here", message, pointer(*at), task, (), hint)
                )

    def _unknown(
        self,
        code: str,
        message: str,
        name: str,
        known: Mapping[str, Any],
        at: Path,
        task: str | None,
    ) -> None:
        self.suggestions -= 1
        near = nearest(name, known) if self.suggestions >= 0 else ()
        kind = "tasks" if code == "unknown_task" else "inputs"
        listed = ", ".join(islice(known, 10)) + (", ..." if len(known) > 10 else "")
        hint = "" if near else f"{kind}: {listed}" if known else f"the workflow has no {kind}"
        self.problems.append(Problem(code, message, pointer(*at), task, near, hint))


def input_problems(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the schemas of the inputs, and with defaults that do not fit them."""
    from orchestrator.inputs import check_schema

    for name, schema in declared.items():
        if isinstance(schema, Mapping | bool):
            yield from check_schema(schema, ("inputs", name))
