"""The workflows in a directory, as tools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.check.checker import output_type
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import cut, listed, quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.serve.answers import ServedTool
from orchestrator.serve.shapes import output_schema
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import TASK_LISTS, task_of, tasks_in

SUFFIXES = (".json", ".yaml", ".yml")
_NOT_WORKFLOWS = (".test.json", ".schema.json")
MAX_NAME = 64
MAX_FILES = 2000
MAX_ERRORS = 3  # that are shown for one workflow
MAX_ABOUT = 700  # some clients refuse descriptions over 1,024 characters
_HASH = 8
_NO_TASKS = frozenset({"inputs", "output", "config", "defaults"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class SavedWorkflow:
    """A workflow of the directory, under the name of its tool."""

    name: str
    workflow: Workflow


def tool_name(text: str, taken: Iterable[str] = ()) -> str:
    """A name that every model's API accepts, and that is not taken."""
    name = _NOT_IN_NAMES.sub("_", text).strip("_") or "tool"
    if len(name) <= MAX_NAME and name not in taken:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{name[: MAX_NAME - _HASH - 1]}_{digest}"


def workflow_files(directory: Path) -> list[Path]:
    """The files in a directory that are workflows by their names, the first `MAX_FILES`."""
    return [
        path
        for path in sorted(directory.iterdir())[:MAX_FILES]
        if path.suffix in SUFFIXES and not path.name.endswith(_NOT_WORKFLOWS)
        # A pipe has no end; a link to nothing is an error where it is read.
        if path.is_file() or not path.exists()
    ]


class Saved:
    """The workflows of a directory, read again when it has changed.

    Args:
        directory: The directory; None: there are no workflows.
        reserved: Names that their tools cannot have.
        warn: Is called with a sentence about each file that cannot be used.
    """

    def __init__(
        self, directory: Path | None, reserved: Iterable[str], warn: Callable[[str], None]
    ) -> None:
        self._directory, self._reserved, self._warn = directory, frozenset(reserved), warn
        self._stamp: Stamp | None = None
        self.workflows: dict[str, SavedWorkflow] = {}
        self._checked: tuple[object, ...] = ()
        self._told: dict[str, str] = {}  # what was said of a workflow, by the name of its tool

    def stamp(self) -> Stamp:
        """What changes when a file does."""
        if self._directory is None:
            return ()
        found = []
        for path in workflow_files(self._directory):
            try:
                about = path.stat()
            except OSError:  # it was deleted just now
                continue
            found.append((path.name, about.st_mtime_ns, about.st_size))
        return tuple(found)

    def refresh(self) -> bool:
        """Read what has changed; whether anything had. What files name themselves is read, too."""
        try:
            stamp = self.stamp()
        except OSError as error:
            if self._stamp != ():
                self._warn(f"{self._directory} cannot be read: {error.strerror or error}")
            stamp = ()
        if stamp == self._stamp:
            return False
        # Replaced as a whole: other threads call the tools meanwhile.
        found: dict[str, SavedWorkflow] = {}
        for name, _, _ in stamp:
            self._load(name, found)
        self._stamp, self.workflows = stamp, found
        return True

    def _load(self, file: str, found: dict[str, SavedWorkflow]) -> None:
        assert self._directory is not None
        try:
            workflow = Workflow.load(self._directory / file)
        except WorkflowError as error:  # it does not take the others down
            self._warn(f"{file} is not offered: {error}")
            return
        wanted = tool_name(workflow.name)
        name = tool_name(workflow.name, (*self._reserved, *found))
        if name != wanted:
            why = "that is the name of another tool"
            self._warn(f"{file}: the tool is called {quoted(name)}, not {quoted(wanted)}: {why}")
        found[name] = SavedWorkflow(name, workflow)

    def check(self, errors: Callable[[Workflow], Sequence[Problem]], version: object) -> None:
        """Warn of each workflow that calls would refuse, once for what is wrong with it.

        Args:
            errors: What is wrong with a workflow by the tools that are known.
            version: Changes when these do.
        """
        state = version, *self.workflows.values()
        if state == self._checked:
            return
        self._checked, before, self._told = state, self._told, {}
        for name, saved in self.workflows.items():
            if found := errors(saved.workflow):
                said = self._told[name] = "; ".join(map(str, found[:MAX_ERRORS]))
                if before.get(name) != said:
                    file = saved.workflow.source
                    self._warn(f"{file and file.name}: calls of {quoted(name)} are refused: {said}")

    def inlined(self, plan: Mapping[str, Any], at: tuple[str | int, ...] = ()) -> dict[str, Any]:
        """A plan of a model with the saved workflows that it names; it can name no other file.

        Raises:
            WorkflowError: It names one that there is not.
        """
        problems: list[Problem] = []
        inlined = self._inlined(plan, at, problems)
        if problems:
            raise WorkflowError("plan", problems)
        return inlined

    def _inlined(
        self, plan: Mapping[str, Any], at: tuple[str | int, ...], problems: list[Problem]
    ) -> dict[str, Any]:
        made = dict(plan)
        problems += self._elsewhere(plan, at)
        for (holder, index), task in tasks_in(plan):
            inner = task.get("workflow") if isinstance(task, Mapping) else None
            place = (*at, holder, index, "workflow")
            if isinstance(inner, str):
                if (saved := self.workflows.get(inner)) is None:
                    problems.append(self._unknown(inner, pointer(*place), task_of(task)))
                    continue
                inner = saved.workflow.to_dict(whole=True)
            elif isinstance(inner, Mapping):
                inner = self._inlined(inner, place, problems)
            else:
                continue
            made[holder] = list(made[holder])
            made[holder][index] = {**task, "workflow": inner}
        return made

    def _elsewhere(self, plan: Mapping[str, Any], at: tuple[str | int, ...]) -> Iterator[Problem]:
        """The files that are named where tasks are misplaced: they are not read for the error."""
        for field, value in plan.items():
            if field in _NO_TASKS or (field in TASK_LISTS and isinstance(value, list)):
                continue
            tasks = value.values() if isinstance(value, Mapping) else value
            for task in tasks if isinstance(value, Mapping | list) else ():
                if isinstance(task, Mapping) and isinstance(task.get("workflow"), str):
                    yield self._unknown(task["workflow"], pointer(*at, field), task_of(task))

    def _unknown(self, name: str, at: str, task: str | None) -> Problem:
        known = listed(self.workflows, 20)
        hint = f"saved workflows: {known}" if known else "no workflows are saved here"
        hint += "; or write the workflow itself as an object"
        message = f"unknown workflow {quoted(name)}"
        near = nearest(name, self.workflows)
        return Problem("unreadable_file", message, at, task, near, hint)


def served(saved: SavedWorkflow, tools: Mapping[str, Tool]) -> ServedTool:
    """The tool of a saved workflow, with the tools that it may call, by `server:tool`."""
    workflow = saved.workflow
    about = workflow.description or f"Runs the saved workflow {quoted(workflow.name)}"
    return ServedTool(
        saved.name,
        workflow.name,
        f"{cut(about.rstrip('.'), MAX_ABOUT)}. {_steps(workflow)}",
        input_schema(workflow),
        output_schema(output_type(workflow, tools)),
        effects(workflow, tools),
    )


def described(workflow: Workflow) -> Tool:
    """A workflow as search finds it."""
    return replace(workflow.signature, description=workflow.description)


def _steps(workflow: Workflow) -> str:
    targets = dict.fromkeys(to.target for to in workflow.plan.targets.values())
    return f"Calls {listed(targets, 6)}." if targets else "Calls no tool."


def input_schema(workflow: Workflow) -> dict[str, Any]:
    """The JSON Schema of the inputs of a workflow, whose defaults are part of it."""
    schema = dict(workflow.signature.input_schema)
    return {"type": "object", **schema}


def effects(workflow: Workflow, tools: Mapping[str, Tool]) -> dict[str, bool]:
    """What a workflow may do, from the tools that it may call: harmless only if all of them are.

    An unknown tool, and one that does not say, counts as one that may do harm.
    """
    calls = [to for _, to, _ in workflow.plan.calls if to.kind == "tool"]
    known = [tools.get(to.target) for to in calls]
    reads = all(tool is not None and tool.read_only is True for tool in known)
    harmless = all(tool is not None and not tool.may_destroy for tool in known)
    idempotent = all(tool is not None and bool(tool.read_only or tool.idempotent) for tool in known)
    closed = all(tool is not None and tool.open_world is False for tool in known)
    return {
        "readOnlyHint": reads,
        "destructiveHint": not (reads or harmless),
        "idempotentHint": reads or idempotent,
        "openWorldHint": not closed,
    }
