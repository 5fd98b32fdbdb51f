"""The workflow file as a model. A `Workflow` that exists is valid, and has its plan.

A few lines longer than other files: pydantic wants all fields of the model in one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, Self, TypedDict, Unpack

from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from orchestrator.documents.files import STDIN
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import read_document
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow import oktyv
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.compile import compile_workflow
from orchestrator.workflow.foreign import explained, placed_back, tasks_elsewhere, with_array
from orchestrator.workflow.inner import Around, load_inner, tool_of
from orchestrator.workflow.make_plan import make_plan
from orchestrator.workflow.normalize import (
    TASK_LISTS,
    TASK_SYNONYMS,
    WORKFLOW_SYNONYMS,
    as_written,
    canonical_workflow,
    owner_of,
    tasks_in,
)
from orchestrator.workflow.plan import Plan
from orchestrator.workflow.source_map import located
from orchestrator.workflow.task import (
    STRICT,
    Approval,
    Ask,
    Checked,
    Defaults,
    Fallback,
    Lock,
    Repeat,
    Retry,
    RunIf,
    Seconds,
    Task,
)

Schedule = Literal["generations", "dataflow"]
OnError = Literal["continue", "fail_fast"]


class WorkflowFields(TypedDict, total=False):
    """What `Workflow` accepts, short forms included."""

    name: str
    description: str
    inputs: Mapping[str, Mapping[str, Any] | bool]
    tasks: Required[Sequence[Task | Mapping[str, Any]]]
    output: Any
    schedule: Schedule
    max_concurrency: int
    on_error: OnError
    timeout_s: float | None
    budget: Budget | Mapping[str, Any] | None
    finally_: Sequence[Task | Mapping[str, Any]]
    finally_timeout_s: float
    defaults: Defaults | dict[str, Any]


class FinallyTask(Task, metaclass=Checked):
    """A task that runs when everything else has settled, whatever came of that."""

    run_if: RunIf = Field(default="all_done", description=Task.model_fields["run_if"].description)


class _WithKeyword(type(BaseModel)):  # type: ignore[misc]
    """Takes `finally_`, since `finally` is a keyword of Python."""

    if not TYPE_CHECKING:

        def __call__(cls, /, **fields):
            if "finally_" in fields:
                fields["finally"] = fields.pop("finally_")
            return super().__call__(**fields)


class Workflow(BaseModel, metaclass=_WithKeyword):
    """A plan of tool calls, valid by construction.

    Made from a file with `Workflow.load`, from a dict with `Workflow.model_validate`, or from
    keyword arguments. `to_dict` gives the canonical form.

    Raises:
        WorkflowError: With every mistake in it.
    """

    model_config = STRICT

    name: str = Field(
        default="workflow", description="For people and logs. Default: the file's name."
    )
    description: str = Field(default="", description="For people.")
    inputs: dict[str, dict[str, Any] | bool] = Field(
        default_factory=dict,
        description="The inputs by name: a JSON Schema each. No default means required.",
    )
    tasks: list[Task] = Field(min_length=1, description="The tasks, in any order.")
    output: Any = Field(
        default=None,
        description="A template of what the run returns. "
        "Default: the outputs of the tasks that nothing depends on, by id.",
    )
    schedule: Schedule = Field(
        default="generations",
        description="When each task starts. Default inside a workflow: as around it.",
    )
    max_concurrency: int = Field(
        default=10,
        ge=0,
        description="Calls in flight over the whole run; 0 = unlimited, 1 = sequential.",
    )
    on_error: OnError = Field(
        default="continue", description="Whether the first failure cancels what runs (fail_fast)."
    )
    timeout_s: Seconds | None = Field(default=None, description="Limit of the whole run, seconds.")
    budget: Budget | None = Field(
        default=None, description="What the run may spend: calls, minutes, result_mb."
    )
    finally_: list[FinallyTask] = Field(
        default_factory=list,
        alias="finally",
        description="Tasks that run when all others have settled, whatever came of them, even "
        "after an interrupt. Their run_if is all_done by default.",
    )
    finally_timeout_s: Seconds = Field(
        default=30.0, description="Limit of all tasks of finally together, seconds."
    )
    defaults: Defaults = Field(
        default=Defaults(), description="What holds for all tasks that do not say otherwise."
    )

    if TYPE_CHECKING:  # the signature that type checkers derive from the fields has no short forms

        def __init__(self, /, **fields: Unpack[WorkflowFields]) -> None: ...

    _plan: Plan = PrivateAttr()
    _source: Path | None = PrivateAttr(None)
    _signature: Tool = PrivateAttr()

    @model_validator(mode="wrap")
    @classmethod
    def _all_errors_at_once(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(data, cls):
            return data
        around = (info.context or {}).get("around", Around())
        source = around.source
        if not isinstance(data, Mapping):
            message = f"expected object with tasks, got {describe(data)}"
            raise WorkflowError(source, [Problem("wrong_type", message)])
        plain = _plain(data)
        canonical, problems = canonical_workflow(plain)
        inner, inside = load_inner(canonical, around, cls._load)
        problems += inside
        if (field := tasks_elsewhere(canonical)) is not None:
            try:
                cls.model_validate(with_array(canonical, field), context=info.context)
            except WorkflowError as error:
                problems = list(error.problems)
            of_all = placed_back(problems, canonical, field)
            raise WorkflowError(source, as_written(of_all, plain))
        try:
            workflow = handler(canonical)
        except ValidationError as error:
            problems += problems_of(error, canonical, FIELDS, partial(owner_of, canonical))
        # The raw data is compiled, not the model: a field of the wrong type would otherwise hide
        # what is wrong in the rest of its task, since pydantic gives no part of an invalid model.
        compiled, found = compile_workflow(canonical)
        if problems := problems + found:
            raise WorkflowError(source, as_written(explained(problems, canonical), plain))
        workflow._plan = make_plan(
            workflow.tasks, compiled, workflow.defaults, inner, workflow.finally_
        )
        workflow._signature = tool_of(workflow)
        return workflow

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | Workflow) -> Workflow:
        """A workflow from a JSON or YAML file or a dict; a `Workflow` is given back as it is.

        Raises:
            WorkflowError: The file cannot be read, or is wrong; with every mistake in it.
        """
        if isinstance(source, str | Path):
            path = Path(source)
            return cls._load(path, Around(str(source), (path,)))
        return cls._load(source, Around())

    @classmethod
    def _load(cls, source: Path | Mapping[str, Any] | Workflow, around: Around) -> Workflow:
        if isinstance(source, Workflow):
            return source
        context = {"around": around}
        if not isinstance(source, Path):
            return cls.model_validate(source, context=context)
        path = source
        data = read_document(path)
        if isinstance(data, dict) and path != STDIN:
            data = {"name": path.name.partition(".")[0] or path.name, **data}
        try:
            workflow = cls.model_validate(data, context=context)
        except WorkflowError as error:
            raise WorkflowError(error.source, located(error.problems, path)) from None
        workflow._source = path
        return workflow

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self.to_dict() == other.to_dict()

    @cached_property
    def plan(self) -> Plan:
        """The compiled tasks, the graph and its generations."""
        return self._plan

    @cached_property
    def signature(self) -> Tool:
        """The inputs that it accepts, as the definition of a tool."""
        return self._signature

    @property
    def source(self) -> Path | None:
        """The file it was loaded from; None if it was made from data."""
        return self._source

    @property
    def own_schedule(self) -> Schedule | None:
        """The schedule that it says; None if it says none, and inside another follows that one."""
        return self.schedule if "schedule" in self.model_fields_set else None

    def to_dict(self, *, whole: bool = False) -> dict[str, Any]:
        """The workflow in its canonical form, without fields that have their default.

        If it has to be `whole`, each file that a task names is replaced by the workflow in it.
        """
        fields = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if whole:
            if self.own_schedule is not None:  # inside another, the default is that one's
                fields["schedule"] = self.own_schedule
            for _, task in tasks_in(fields):
                if (inner := self.plan.tasks[task["id"]].inner) is not None:
                    task["workflow"] = inner.to_dict(whole=True)
        return fields | {"name": self.name}


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with `Task` objects as dicts, so that everything is checked in one way."""
    plain = dict(data)
    for field in TASK_LISTS:
        if isinstance(tasks := plain.get(field), list | tuple):
            plain[field] = [
                task.model_dump(exclude_unset=True) if isinstance(task, Task) else task
                for task in tasks
            ]
    return plain


FIELDS = {
    "": tuple(field.alias or name for name, field in Workflow.model_fields.items()),
    "tasks": tuple(Task.model_fields),
    "finally": tuple(Task.model_fields),
    "retry": tuple(Retry.model_fields),
    "fallback": tuple(Fallback.model_fields),
    "item_fallback": tuple(Fallback.model_fields),
    "repeat": tuple(Repeat.model_fields),
    "ask": tuple(field.alias or name for name, field in Ask.model_fields.items()),
    "approve": tuple(Approval.model_fields),
    "defaults": tuple(Defaults.model_fields),
    "locks": tuple(Lock.model_fields),
}


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the workflow file; synonyms are marked as deprecated."""
    schema = Workflow.model_json_schema(mode="validation")
    task = schema["$defs"]["Task"]
    for synonyms, target in ((WORKFLOW_SYNONYMS, schema), (TASK_SYNONYMS, task)):
        for synonym, field in synonyms.items():
            described = {"deprecated": True, "description": f"Another name of {field}."}
            target["properties"][synonym] = target["properties"][field] | described
    schema["properties"][oktyv.CONFIG] = oktyv.SCHEMA
    task["properties"][oktyv.TASK_TIMEOUT] = oktyv.TIMEOUT_SCHEMA
    task["properties"]["workflow"] |= {"if": {"type": "object"}, "then": {"$ref": "#"}}
    schema["properties"]["$schema"] = {"type": "string", "description": "The URL of this schema."}
    schema["required"] = ["tasks"]
    # For an editor or a model, they are tasks: only a default differs.
    schema["properties"]["finally"]["items"] = {"$ref": "#/$defs/Task"}
    del schema["$defs"]["FinallyTask"]
    schema["description"] = "A plan of tool calls."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestrator workflow",
        **{key: value for key, value in schema.items() if key != "title"},
    }
