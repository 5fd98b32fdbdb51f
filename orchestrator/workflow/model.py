"""The workflow file as a model: what a workflow and a task can say, and nothing of how it runs.

The rule of this file: a `Workflow` that exists is valid. Making one reports every mistake at once,
as a `WorkflowError`; the plan that was made on the way is kept with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import read_document
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.expressions.references import TASK_ID
from orchestrator.workflow.compile import check
from orchestrator.workflow.normalize import (
    TASK_SYNONYMS,
    WORKFLOW_SYNONYMS,
    as_written,
    canonical_workflow,
    owner_of,
)
from orchestrator.workflow.plan import Plan, make_plan
from orchestrator.workflow.policies import (
    STRICT,
    TOOL,
    Fallback,
    Lock,
    LockField,
    Retry,
    RetryField,
    RunIf,
)
from orchestrator.workflow.source_map import located

Schedule = Literal["generations", "dataflow"]
OnError = Literal["continue", "fail_fast"]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Task(BaseModel):
    """One tool call of a workflow, or several under `for_each`."""

    model_config = STRICT

    id: str = Field(pattern=rf"^{TASK_ID}$", description="Unique in the workflow.")
    tool: str = Field(pattern=TOOL, description="server:tool")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="The tool's arguments; references anywhere inside."
    )
    depends_on: list[str] = Field(
        default_factory=list,
        description="Tasks to wait for, besides those that references imply.",
    )
    timeout_s: Seconds | None = Field(
        None, description="Limit of one attempt, seconds. Default: the server's, then 60."
    )
    timeout_resets_on_progress: bool = Field(
        False, description="Whether progress of the tool starts timeout_s anew, ten times at most."
    )
    retry: RetryField = Field(None, description="Attempts in all, or how to retry.")
    when: Annotated[str, Field(json_schema_extra={"minLength": 1})] | bool = Field(
        True, description="An expression; false means skipped."
    )
    run_if: RunIf = Field(
        "all_success", description="Which outcomes of its dependencies let the task run."
    )
    for_each: list[Any] | Annotated[str, Field(json_schema_extra={"pattern": "\\$"})] | None = (
        Field(None, description="A list, or a reference to one: one call per item.")
    )
    max_parallel: int | None = Field(
        None, ge=1, description="Items of for_each in flight at a time."
    )
    fallback: Fallback | None = Field(
        None, description="What stands in for the output if the task fails."
    )
    critical: bool = Field(False, description="Its failure cancels the run.")
    locks: list[LockField] = Field(
        default_factory=list, description="Names held while the task runs."
    )


class Workflow(BaseModel):
    """A plan of tool calls, valid by construction.

    Made from a file with `Workflow.load`, from a dict with `Workflow.model_validate` or from
    keyword arguments. `to_dict` gives the canonical form.

    Raises:
        WorkflowError: With every mistake that was found.
    """

    model_config = STRICT

    name: str = Field("workflow", description="For people and logs. Default: the file's name.")
    description: str = Field("", description="For people.")
    inputs: dict[str, dict[str, Any] | bool] = Field(
        default_factory=dict,
        description="The inputs by name: a JSON Schema each. No default means required.",
    )
    tasks: list[Task] = Field(min_length=1, description="The tasks, in any order.")
    output: Any = Field(
        None,
        description="A template of what the run returns. "
        "Default: the outputs of the tasks that nothing depends on, by id.",
    )
    schedule: Schedule = Field("generations", description="When each task starts.")
    max_concurrency: int = Field(
        10, ge=0, description="Calls in flight over the whole run; 0 = unlimited, 1 = sequential."
    )
    on_error: OnError = Field(
        "continue", description="Whether the first failure cancels what runs (fail_fast)."
    )
    timeout_s: Seconds | None = Field(None, description="Limit of the whole run, seconds.")

    _plan: Plan = PrivateAttr()
    _source: Path | None = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _all_errors_at_once(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(data, cls):
            return data
        source = (info.context or {}).get("source", "workflow")
        if not isinstance(data, Mapping):
            message = f"expected object with tasks, got {describe(data)}"
            raise WorkflowError(source, [Problem("wrong_type", message)])
        plain = _plain(data)
        canonical, problems = canonical_workflow(plain)
        try:
            workflow = handler(canonical)
        except ValidationError as error:
            problems += problems_of(error, canonical, FIELDS, partial(owner_of, canonical))
        checked, found = check(canonical)
        problems += found
        if problems:
            raise WorkflowError(source, as_written(problems, plain))
        workflow._plan = make_plan(workflow.tasks, checked)
        return workflow

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | Workflow) -> Workflow:
        """A workflow from a JSON or YAML file, a dict, or a workflow that is one already.

        Raises:
            WorkflowError: The file cannot be read, or is wrong; with every mistake in it.
        """
        if isinstance(source, Workflow):
            return source
        if isinstance(source, Mapping):
            return cls.model_validate(dict(source))
        path = Path(source)
        data = read_document(path)
        if isinstance(data, dict):
            data = {"name": path.name.partition(".")[0] or path.name, **data}
        try:
            workflow = cls.model_validate(data, context={"source": str(source)})
        except WorkflowError as error:
            raise WorkflowError(error.source, located(error.problems, path)) from None
        workflow._source = path
        return workflow

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self.to_dict() == other.to_dict()

    @property
    def plan(self) -> Plan:
        """The compiled tasks, the graph and its generations."""
        return self._plan

    @property
    def source(self) -> Path | None:
        """The file that it was loaded from; None if it was made of data."""
        return self._source

    def to_dict(self) -> dict[str, Any]:
        """The workflow in its one canonical form, without what is at its default."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"name": self.name}


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with tasks that are `Task` objects as dicts, so that all is checked one way."""
    plain = dict(data)
    if isinstance(tasks := plain.get("tasks"), list | tuple):
        plain["tasks"] = [
            task.model_dump(exclude_unset=True) if isinstance(task, Task) else task
            for task in tasks
        ]
    return plain


FIELDS = {
    "": tuple(Workflow.model_fields),
    "tasks": tuple(Task.model_fields),
    "retry": tuple(Retry.model_fields),
    "fallback": tuple(Fallback.model_fields),
    "locks": tuple(Lock.model_fields),
}


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the workflow file, with the synonyms as deprecated."""
    schema = Workflow.model_json_schema(mode="validation")
    task = schema["$defs"]["Task"]
    for synonyms, target in ((WORKFLOW_SYNONYMS, schema), (TASK_SYNONYMS, task)):
        for synonym, field in synonyms.items():
            described = {"deprecated": True, "description": f"Another name of {field}."}
            target["properties"][synonym] = target["properties"][field] | described
    schema["properties"]["$schema"] = {"type": "string", "description": "The URL of this schema."}
    schema["required"] = ["tasks"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestrator workflow",
        **{key: value for key, value in schema.items() if key != "title"},
    }
