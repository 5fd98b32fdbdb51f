"""A task in a workflow file, and the policies around its call.

Longer than other files: pydantic wants all fields of the model in one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Unpack

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from orchestrator.documents.validation import problems_of
from orchestrator.errors import RETRYABLE_KINDS, ErrorKind, WorkflowError
from orchestrator.expressions.references import TASK_ID
from orchestrator.workflow.hold import MAX_COUNT
from orchestrator.workflow.kinds import KINDS, check_kind

if TYPE_CHECKING:
    from orchestrator.workflow.task_fields import TaskFields

RunIf = Literal["all_success", "all_done", "any_success", "any_failed"]
OnItemError = Literal["continue", "stop"]
EndRun = Literal["success", "failed"]
TOOL = r"^[^:]*[^:\s][^:]*:.+$"  # names of servers may have blanks
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
# Any kind is accepted, with a warning; editors and models are offered those that are retried.
_Retried = Annotated[ErrorKind, WithJsonSchema({"type": "string", "enum": sorted(RETRYABLE_KINDS)})]
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class Checked(type(BaseModel)):  # type: ignore[misc]
    """Makes errors of `Task(...)` and its parts ours; within a workflow, that collects them."""

    if not TYPE_CHECKING:  # a type checker has to see the fields as parameters

        def __call__(cls, /, **fields):
            try:
                return super().__call__(**fields)
            except ValidationError as error:
                problems = problems_of(error, fields, {"": tuple(cls.model_fields)})
                raise WorkflowError(cls.__name__.lower(), problems) from None


class Retry(BaseModel, metaclass=Checked):
    """How often a task is tried, and how long it waits in between."""

    model_config = STRICT

    max_attempts: int = Field(default=3, ge=1, description="Attempts in all, the first included.")
    initial_s: _Finite = Field(
        default=0.5, ge=0, description="Wait before the second attempt, seconds."
    )
    factor: _Finite = Field(
        default=2.0, ge=1, description="What each wait is multiplied by for the next."
    )
    max_s: _Finite = Field(default=30.0, ge=0, description="The longest wait, seconds.")
    jitter: float = Field(
        default=0.1, ge=0, le=1, description="Part of a wait that is random, 0 to 1."
    )
    on: Annotated[list[_Retried], Field(min_length=1)] | None = Field(
        default=None, description="Only these kinds of error are retried."
    )

    @model_serializer(mode="wrap")
    def _with_the_attempts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        given: dict[str, Any] = handler(self)
        return {"max_attempts": self.max_attempts, **given}


class Fallback(BaseModel, metaclass=Checked):
    """What replaces the output of a task that failed: a value, or the output of another tool."""

    model_config = STRICT | ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["value"], "properties": {"arguments": False, "tool": False}},
                {"required": ["tool"], "properties": {"value": False}},
            ]
        }
    )

    value: Any = Field(default=None, description="A template of the output; $ERROR is readable.")
    tool: str | None = Field(default=None, description="server:tool", pattern=TOOL)
    arguments: dict[str, Any] = Field(default_factory=dict, description="Its arguments.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if ("value" in self.model_fields_set) == (self.tool is not None):
            raise ValueError('expected {"value": ...} or {"tool": "server:tool", "arguments": {}}')
        if "value" in self.model_fields_set and self.arguments:
            raise ValueError('"arguments" need a "tool"; "value" takes none')
        return self

    @model_serializer(mode="wrap")
    def _with_the_value(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        given: dict[str, Any] = handler(self)
        return {"value": self.value} if self.tool is None else given


_Condition = Annotated[str, Field(json_schema_extra={"minLength": 1})]


class Repeat(BaseModel, metaclass=Checked):
    """Calls again until a condition is true; `$LAST` is the answer just given, null before it."""

    model_config = STRICT

    until: _Condition = Field(description="An expression; true ends the calls.")
    every_s: _Finite = Field(default=1.0, ge=0, description="Wait between two calls, seconds.")
    max_times: int = Field(default=20, ge=1, description="Calls in all; then it is not_done.")
    collect: _Condition | None = Field(
        default=None,
        description="An expression of what each answer adds to the output, which is an array.",
    )


class Cache(BaseModel, metaclass=Checked):
    """How long the journal answers the same call, in later runs too."""

    model_config = STRICT

    ttl_s: Seconds = Field(description="How long an answer is used, seconds.")
    open_world: bool = Field(
        default=False, description="Whether that is fine for a tool that reaches an open world."
    )


class Ask(BaseModel, metaclass=Checked):
    """A question to a person; the answer is the output."""

    model_config = STRICT | ConfigDict(validate_by_name=True, serialize_by_alias=True)

    message: _Condition = Field(description="The question; references anywhere inside.")
    answer: dict[str, Any] = Field(
        default={"type": "boolean"},
        alias="schema",
        description="The JSON Schema of the answer. Default: yes or no.",
    )
    timeout_s: Seconds | None = Field(
        default=None, description="Limit, seconds; then the default is taken, or the task fails."
    )
    default: Any = Field(default=None, description="The answer if nobody gives one in time.")


class Approval(BaseModel, metaclass=Checked):
    """Asks a person before the call, who sees its arguments."""

    model_config = STRICT

    message: _Condition = Field(description="The question; references anywhere inside.")


class Lock(BaseModel, metaclass=Checked):
    """A name that is held while a task runs."""

    model_config = STRICT

    name: str = Field(min_length=1, description="The name; references are allowed.")
    mode: Literal["exclusive", "shared"] = Field(
        default="exclusive", description="Shared locks overlap."
    )
    count: int | None = Field(
        default=None, ge=1, le=MAX_COUNT, description="How many of a resource; else all of it."
    )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.mode == "shared" and self.count is not None:
            raise ValueError('expected a count or the mode "shared", not both')
        return self


def _retry(value: Any) -> Any:
    if isinstance(value, Mapping | Retry | None):
        return value
    if isinstance(value, list):
        raise ValueError('expected integer or {"max_attempts": 3, ...}')
    whole = isinstance(value, float) and value.is_integer()  # 3.0 is an integer of JSON
    return {"max_attempts": int(value) if whole else value}


def _lock(value: Any) -> Any:
    if isinstance(value, Mapping | Lock):
        return value
    if not isinstance(value, str):
        raise ValueError('expected string or {"name": "...", "mode": "shared"}')
    return {"name": value}


def _workflow(value: Any) -> Any:
    # A `Workflow` of Python; its class is defined above this module.
    return value.to_dict() if hasattr(value, "to_dict") else value


def _approval(value: Any) -> Any:
    if isinstance(value, bool | Mapping | Approval | None):
        return value
    raise ValueError('expected true, false or {"message": "..."}')


_LockName = Annotated[str, Field(min_length=1)]
RetryField = Annotated[
    Retry | None,
    BeforeValidator(_retry, json_schema_input_type=Annotated[int, Field(ge=1)] | Retry | None),
]
LockField = Annotated[Lock, BeforeValidator(_lock, json_schema_input_type=_LockName | Lock)]
ApproveField = Annotated[
    bool | Approval,
    BeforeValidator(_approval, json_schema_input_type=bool | Approval),
]
InnerField = Annotated[
    Annotated[str, Field(min_length=1)] | dict[str, Any] | None,
    BeforeValidator(_workflow),
    WithJsonSchema({"type": ["string", "object"], "minLength": 1}),
]
_ListReference = Annotated[str, Field(json_schema_extra={"pattern": "\\$"})]
_Lists = Annotated[dict[str, list[Any] | _ListReference], Field(min_length=1)]


class Task(BaseModel, metaclass=Checked):
    """A task of a workflow: a call, a value or another workflow, once or for each item."""

    model_config = STRICT | ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]}
    )

    if TYPE_CHECKING:  # the signature that type checkers derive from the fields has no short forms

        def __init__(self, /, **fields: Unpack[TaskFields]) -> None: ...

    id: str = Field(pattern=rf"^{TASK_ID}$", description="Unique in the workflow.")
    description: str = Field(default="", description="For people.")
    tool: str | None = Field(default=None, pattern=TOOL, description="server:tool")
    value: Any = Field(
        default=None, description="In place of tool: a template of the output; calls nothing."
    )
    workflow: InnerField = Field(
        default=None,
        description="In place of tool: another workflow, as an object or as the path of its file, "
        "relative to this one. arguments are its inputs.",
    )
    read: str | None = Field(
        default=None,
        pattern=TOOL,
        description="In place of tool: server:uri of a resource; references in the URI.",
    )
    prompt: str | None = Field(
        default=None, pattern=TOOL, description="In place of tool: server:name of a prompt."
    )
    ask: Ask | None = Field(default=None, description="In place of tool: a question to a person.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="The tool's arguments; references anywhere inside."
    )
    depends_on: list[str] = Field(
        default_factory=list,
        description="Tasks to wait for, besides those that references imply.",
    )
    timeout_s: Seconds | None = Field(
        default=None, description="Limit of one attempt, seconds. Default: the server's, then 60."
    )
    timeout_resets_on_progress: bool = Field(
        default=False,
        description="Whether progress of the tool starts timeout_s anew, ten times at most.",
    )
    retry: RetryField = Field(default=None, description="Attempts in all, or how to retry.")
    when: _Condition | bool = Field(default=True, description="An expression; false means skipped.")
    run_if: RunIf = Field(
        default="all_success", description="Which outcomes of its dependencies let the task run."
    )
    for_each: list[Any] | _ListReference | _Lists | None = Field(
        default=None,
        description="A list, or a reference to one: one call per item. An object of lists: one "
        "call per combination, the last name varies fastest.",
    )
    max_parallel: int | None = Field(
        default=None, ge=1, description="Items of for_each in flight at a time."
    )
    spread: bool = Field(
        default=False,
        description="Whether the workers of a database share the items of for_each.",
    )
    item_when: _Condition | bool = Field(
        default=True, description="As when, for each item; false means that the item is skipped."
    )
    item_fallback: Fallback | None = Field(
        default=None, description="As fallback, for each item that fails."
    )
    on_item_error: OnItemError | None = Field(
        default=None, description="Whether an item that fails keeps others from beginning (stop)."
    )
    repeat: Repeat | None = Field(default=None, description="Call again until something is so.")
    delay_s: Annotated[_Finite, Field(ge=0)] | None = Field(
        default=None, description="Wait before its first call, seconds; it holds no slot."
    )
    deadline_s: Seconds | None = Field(
        default=None,
        description="Limit over all attempts, repeats and waits, delay_s too; of each item.",
    )
    cache: Cache | None = Field(
        default=None, description="How long its answers are kept; of a tool that only reads."
    )
    fallback: Fallback | None = Field(
        default=None, description="What replaces the output if the task fails."
    )
    critical: bool = Field(default=False, description="Its failure cancels the run.")
    end_run: EndRun | None = Field(
        default=None, description="How the run ends when this task has succeeded."
    )
    locks: list[LockField] = Field(
        default_factory=list, description="Names held while the task runs."
    )
    approve: ApproveField = Field(
        default=False, description="Whether a person is asked before the call."
    )

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        check_kind(self.model_fields_set)
        return self

    @model_serializer(mode="wrap")
    def _with_the_value(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        given: dict[str, Any] = handler(self)
        return given | {"value": self.value} if "value" in self.model_fields_set else given


class Defaults(BaseModel, metaclass=Checked):
    """What holds for all tasks that do not say otherwise."""

    model_config = STRICT

    timeout_s: Seconds | None = Field(default=None, description="As the field of a task.")
    retry: RetryField = Field(default=None, description="As the field of a task.")
    on_item_error: OnItemError | None = Field(default=None, description="As the field of a task.")
