"""The workflows inside a workflow: loading them, and placing what is wrong in them.

A task has one as an object or as the path of a file, relative to the file that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.pointer import move_op, pointer
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Code, Problem, WorkflowError
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from orchestrator.workflow.normalize import task_of, tasks_in, with_paths
from orchestrator.workflow.source_map import located

if TYPE_CHECKING:
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.plan import TaskPlan

WORKFLOW = "workflow"  # stands for the server in the names of inner workflows
MAX_DEPTH = 8
MAX_TASKS = 100_000  # with those of all inner workflows: files that name others grow like powers
MAX_SIGNATURE = 200


@dataclass(frozen=True, slots=True)
class Around:
    """Where a workflow stands: the source that errors name, its file, and what is around it.

    A file that has loaded is part of no cycle: it is used again wherever it is named so deep.
    """

    source: str = "workflow"
    files: tuple[Path, ...] = ()  # from the outermost to its own
    depth: int = 0
    loaded: dict[tuple[Path, int], Workflow] = field(default_factory=dict)

    def below(self, source: str, *files: Path) -> Around:
        """The place of a workflow inside of this one."""
        return Around(source, (*self.files, *files), self.depth + 1, self.loaded)


Load = Callable[[Any, Around], "Workflow"]
"""Makes a workflow from an object or from the path of its file."""


def load_inner(
    workflow: Mapping[str, Any], around: Around, load: Load
) -> tuple[dict[str, Workflow], list[Problem]]:
    """The workflow of each task that has one, by the id of the task, and what is wrong in them.

    The workflow is as the file has it, in any state. Inside, one that is an object is replaced in
    its task by its canonical form.
    """
    inner: dict[str, Workflow] = {}
    problems: list[Problem] = []
    for (holder, index), task in list(tasks_in(workflow)):
        given = task.get("workflow") if isinstance(task, Mapping) else None
        if given is None or given == "" or isinstance(given, bool | int | float | list):
            continue  # the model reports what is neither
        at, name = pointer(holder, index, "workflow"), task_of(task)
        try:
            made = _loaded(given, name or "workflow", around, load)
        except _CannotLoadError as error:
            problems.append(replace(error.problem, path=at, task=name))
            continue
        except WorkflowError as error:
            file = given if isinstance(given, str) else None
            problems += placed(error.problems, name, at, file)
            continue
        problems += _misfits(task, made, pointer(holder, index, "arguments"))
        if not isinstance(given, str):
            # Also if that is the default, it is another one than none.
            said = {"schedule": made.own_schedule} if made.own_schedule else {}
            workflow[holder][index] = {**task, "workflow": made.to_dict() | said}
        if name is not None:
            inner.setdefault(name, made)
    if not problems and sum(made.plan.size for made in inner.values()) > MAX_TASKS:
        message = f"expected at most {MAX_TASKS:,} tasks with those of inner workflows"
        problems.append(Problem("wrong_value", message, pointer("tasks")))
    return inner, problems


def _misfits(task: Mapping[str, Any], inner: Workflow, at: str) -> Iterator[Problem]:
    """The arguments that are no inputs of the workflow, and the inputs that are missing."""
    given, tool, name = task.get("arguments", {}), inner.signature, task_of(task)
    if not isinstance(given, Mapping):
        return  # the model reports that
    hint = f"{tool.target}({signature(tool, MAX_SIGNATURE)})"
    for each in given:
        if each not in inner.inputs:
            free = [known for known in inner.inputs if known not in given]
            near = nearest(str(each), free)
            path, meant = at + pointer(each), certain(str(each), near)
            fix = (move_op(path, at + pointer(meant)),) if meant else ()
            message = f"{tool.target}: unexpected argument {quoted(str(each))}"
            code: Code = "unexpected_argument"
            yield Problem(code, message, path, name, near, hint, replacement=fix)
    for each in tool.input_schema["required"]:
        if each not in given:
            message = f"{tool.target}: missing argument {quoted(each)}"
            yield Problem("missing_argument", message, at, name, (), hint)


class _CannotLoadError(Exception):
    """A workflow cannot be loaded where it is named."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _loaded(given: Any, name: str, around: Around, load: Load) -> Workflow:
    if around.depth >= MAX_DEPTH:
        message = f"expected at most {MAX_DEPTH} workflows inside each other"
        raise _CannotLoadError(Problem("wrong_value", message))
    if not isinstance(given, str):
        data = {"name": name, **given} if isinstance(given, Mapping) else given
        return load(data, around.below(around.source))
    path = (around.files[-1].parent if around.files else Path()) / given
    try:
        key = path.resolve(), around.depth
        if key not in around.loaded:
            _check_file(path, around)
    except (OSError, ValueError) as error:  # no file can have that name, or its folder is closed
        why = getattr(error, "strerror", None) or "no file can have this name"
        message = f"{quoted(given, 200)} cannot be read: {why}"
        raise _CannotLoadError(Problem("unreadable_file", message)) from None
    if key not in around.loaded:
        around.loaded[key] = load(path, around.below(given, path))
    return around.loaded[key]


def _check_file(path: Path, around: Around) -> None:
    """Refuse a file that is not there, or that the workflow is already inside of."""
    known = [each.resolve() for each in around.files]
    if path.resolve() in known:
        chain = [*around.files[known.index(path.resolve()) :], path]
        message = f"workflow cycle: {' -> '.join(each.name for each in chain)}"
        hint = "a workflow cannot run inside itself"
        raise _CannotLoadError(Problem("cycle", message, hint=hint))
    if not path.exists():
        names = (each.name for each in path.parent.iterdir()) if path.parent.is_dir() else ()
        near = nearest(path.name, names)
        message = f"there is no file {quoted(str(path), 200)}"
        hint = "the path is relative to the file that names it" if around.files else ""
        if "$" in str(path):
            hint = "a path has no references: the file is read before the run"
        raise _CannotLoadError(Problem("unreadable_file", message, "", None, near, hint))


def placed(
    problems: Iterable[Problem], task: str | None, at: str, file: str | None
) -> Iterator[Problem]:
    """Problems of an inner workflow as problems of the one around it.

    Args:
        problems: As the inner workflow has them.
        task: The task that the workflow is in.
        at: The JSON Pointer to the workflow there.
        file: The file that it is in; None if it is an object.
    """
    for problem in problems:
        inner = filter(None, (task, problem.task))
        placed_one = replace(problem, task="/".join(inner) or None, line=None, column=None)
        if file is None:
            yield with_paths(placed_one, at.__add__)
        else:
            line = f", line {problem.line}" if problem.line else ""
            message = f"{quoted(file, 200)}{line}: {problem.message}"
            yield replace(placed_one, path=at, message=message, replacement=(), text="")


def findings_inside(
    outer: Workflow, task: TaskPlan, inner: Workflow, problems: Iterable[Problem]
) -> Iterator[Problem]:
    """Findings in the workflow of a task, placed in the workflow around it."""
    at, path = pointer(*task.path, "workflow"), inner.source
    if path is None:
        return placed(problems, task.id, at, None)
    folder = Path() if outer.source is None else outer.source.parent
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    return placed(located(problems, path), task.id, at, str(name))


def in_own_files(outer: Workflow, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Findings about calls, those in the files of inner workflows placed there, too."""
    for problem in problems:
        first, _, rest = (problem.task or "").partition("/")
        task = outer.plan.tasks.get(first)
        inner = None if task is None else task.inner
        if task is None or inner is None or not rest:
            yield problem
            continue
        path = problem.path.removeprefix(pointer(*task.path, "workflow"))
        if inner.source is not None:  # the path ended at its name
            of_task = [(to.tool, at) for each, to, at in inner.plan.calls if each.id == rest]
            path = next((at for tool, at in of_task if tool == problem.text), of_task[0][1])
        inside = in_own_files(inner, [replace(problem, task=rest, path=path)])
        yield from findings_inside(outer, task, inner, inside)


def tool_of(workflow: Workflow) -> Tool:
    """What a workflow accepts, as the definition of a tool: its inputs are the arguments."""
    inputs = workflow.inputs
    schema = {
        "type": "object",
        "properties": dict(inputs),
        "required": [
            name for name, each in inputs.items() if isinstance(each, bool) or "default" not in each
        ],
        "additionalProperties": False,
    }
    return Tool(WORKFLOW, workflow.name, schema)
