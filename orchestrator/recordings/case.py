"""A test of a workflow, `*.test.json`: what is run, with which answers, and what is expected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from orchestrator.documents.encode import folded_json
from orchestrator.documents.files import write_text
from orchestrator.documents.parse import read_document
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.documents.validation import problems_of
from orchestrator.engine.outcome import Status
from orchestrator.engine.result import EndReason, RunStatus
from orchestrator.errors import ErrorKind, Problem, WorkflowError
from orchestrator.recordings.form import Part, Replied
from orchestrator.recordings.recording import WIDTH, Recording
from orchestrator.workflow.inner import Around
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.source_map import located

SUFFIX = ".test.json"
MAX_NAMED = 10  # tasks in a hint
T = TypeVar("T")


class _ExpectedError(Part):
    """What is expected of an error; what is left out may be anything."""

    kind: ErrorKind | None = None
    message: str | None = None
    retryable: bool | None = None
    details: dict[str, Any] | None = None


class _ExpectedTask(Part):
    """What is expected of a task or an item."""

    status: Status | None = None
    output: Any = None
    error: _ExpectedError | None = None
    attempts: int | None = Field(default=None, ge=0)
    recovered: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_status(cls, given: Any) -> Any:
        return {"status": given} if isinstance(given, str) else given


class _Expect(Part):
    """What is expected of a run; what is left out may be anything."""

    status: RunStatus | None = None
    output: Any = None
    reason: EndReason | None = None
    calls: dict[str, int] = Field(
        default_factory=dict, description="How often each server:tool was called, with attempts."
    )
    tasks: dict[str, _ExpectedTask] = Field(
        default_factory=dict, description="By id; outer/inner and outer[3]/inner are inside."
    )


class CaseForm(Part):
    """The form of the file."""

    url: str = Field(default="", alias="$schema", description="The URL of this schema.")
    description: str = ""
    workflow: str | dict[str, Any] = Field(description="Its file, relative to this one; or it.")
    recording: str | dict[str, Any] = Field(description="Its file, relative to this one; or it.")
    inputs: dict[str, Any] | None = Field(default=None, description="Default: the recorded ones.")
    schedule: Schedule | None = None
    answers: dict[str, Any] = Field(
        default_factory=dict, description="To the questions of tasks or items; default: recorded."
    )
    refused: list[str] = Field(default_factory=list, description="The tasks that are refused.")
    expect: _Expect | None = None


_ERROR_FIELDS = tuple(_ExpectedError.model_fields)
_TASK_FIELDS = tuple(_ExpectedTask.model_fields)
FIELDS = {
    "": tuple(field.alias or name for name, field in CaseForm.model_fields.items()),
    "expect": tuple(_Expect.model_fields),
    "tasks": _TASK_FIELDS,
    "error": _ERROR_FIELDS,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A test that can be run.

    Attributes:
        path: Its file.
        document: The file as it is.
        workflow: The workflow.
        recording: The answers.
        inputs: The inputs; of those that the file leaves out, the recorded ones.
        schedule: What replaces that of the workflow; None: nothing.
        expect: What is expected, as the file has it; None if it does not say.
        replies: What people reply.
    """

    path: Path
    document: dict[str, Any]
    workflow: Workflow
    recording: Recording
    inputs: Mapping[str, Any]
    schedule: Schedule | None
    expect: Mapping[str, Any] | None
    replies: Sequence[Replied]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a test with its workflow and its recording.

        Raises:
            WrongCaseError: Some of them are wrong; with every mistake.
        """
        errors: list[WorkflowError] = []

        def part(load: Callable[[], T]) -> T | None:
            try:
                return load()
            except WorkflowError as error:
                errors.append(error)
                return None

        data = part(lambda: read_document(path))
        form = part(lambda: _form(data, path)) if not errors else None
        if not isinstance(data, dict):
            raise WrongCaseError(path, errors)
        workflow = part(lambda: _workflow(data.get("workflow"), path))
        recording = part(lambda: _recording(data.get("recording"), path))
        if workflow is not None:
            part(lambda: _check_tasks(data, workflow, path))
        if errors or form is None or workflow is None or recording is None:
            raise WrongCaseError(path, errors)
        inputs = recording.inputs_of(workflow) if form.inputs is None else form.inputs
        expect = data.get("expect")
        schedule, replies = form.schedule, list(_replies(form))
        return cls(path, data, workflow, recording, inputs, schedule, expect, replies)

    def save(self, expect: Mapping[str, Any]) -> None:
        """Write the file with other expectations; raises an OSError."""
        document = self.document | {"expect": expect}
        write_text(self.path, f"{folded_json(document, WIDTH)}\n")


class WrongCaseError(Exception):
    """A test, its workflow or its recording are wrong; `errors` has those of each file."""

    def __init__(self, path: Path, errors: list[WorkflowError]) -> None:
        self.errors = errors
        super().__init__(f"{path} cannot be run")


def _form(data: Any, path: Path) -> CaseForm:
    try:
        return CaseForm.model_validate(data)
    except ValidationError as error:
        found = [replace(each, replacement=()) for each in problems_of(error, data, FIELDS)]
        raise WorkflowError(str(path), located(found, path)) from None


def _beside(path: Path, name: str) -> Path:
    return Path(os.path.normpath(path.parent / name))


def _workflow(given: Any, path: Path) -> Workflow | None:
    match given:
        case str():
            return Workflow.load(_beside(path, given))
        case dict():
            try:
                around = Around(str(path), (path,))
                made: Workflow = Workflow.model_validate(given, context={"around": around})
                return made
            except WorkflowError as error:
                raise _inside(error, path, "workflow") from None
    return None  # the form says why


def _recording(given: Any, path: Path) -> Recording | None:
    match given:
        case str():
            return Recording.load(_beside(path, given))
        case dict():
            try:
                return Recording.of(given, str(path))
            except WorkflowError as error:
                raise _inside(error, path, "recording") from None
    return None


def _inside(error: WorkflowError, path: Path, field: str) -> WorkflowError:
    found = [replace(each, path=pointer(field) + each.path) for each in error.problems]
    return WorkflowError(str(path), located(found, path))


def _replies(form: CaseForm) -> Iterator[Replied]:
    """What the people of a test reply, whatever they are asked."""
    for kind in ("ask", "approve"):
        for task, answer in form.answers.items():
            yield Replied(task=task, kind=kind, answer=answer)
        yield from (Replied(task=task, kind=kind, refused=True) for task in form.refused)


def _check_tasks(data: Mapping[str, Any], workflow: Workflow, path: Path) -> None:
    """Refuse the names of tasks that are not there."""
    expect = data.get("expect")
    named = {
        ("expect", "tasks"): expect.get("tasks") if isinstance(expect, dict) else None,
        ("answers",): data.get("answers"),
        ("refused",): data.get("refused"),
    }
    found = []
    for where, tasks in named.items():
        for place, task in enumerate(tasks if isinstance(tasks, dict | list) else ()):
            step = task if isinstance(tasks, dict) else place
            if isinstance(task, str) and (problem := _unknown(task, workflow)) is not None:
                found.append(replace(problem, path=pointer(*where, step)))
    if found:
        raise WorkflowError(str(path), located(found, path))


def _unknown(task: str, workflow: Workflow) -> Problem | None:
    inside: Workflow | None = workflow
    for step in task.split("/"):
        known = {} if inside is None else _tasks_of(inside)
        name = step.partition("[")[0]
        if name not in known:
            near = nearest(name, known)
            hint = "" if near or not known else f"tasks: {listed(known, MAX_NAMED)}"
            return Problem("unknown_task", f"unknown task {quoted(task)}", "", None, near, hint)
        inside = known[name]
    return None


def _tasks_of(workflow: Workflow) -> dict[str, Workflow | None]:
    """The tasks of a workflow, each with the workflow that it runs."""
    return {name: task.inner for name, task in workflow.plan.tasks.items()}
