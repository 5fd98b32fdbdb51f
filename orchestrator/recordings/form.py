"""The form of a recording: what its JSON has to look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from orchestrator.calls.call import Call
from orchestrator.errors import RETRYABLE_KINDS, ErrorKind, TaskError
from orchestrator.schema.tool import canonical_json
from orchestrator.servers.config import Limit, RateText, Seconds, ToolSettings
from orchestrator.servers.definition_form import DEFINITION_FIELDS, Form, ToolForm

KINDS = ("tool", "read", "prompt")
# What is kept of the configuration of a server: what decides how calls go.
SETTINGS = ("timeout_s", "max_concurrency", "rate", "writes", "tools", "approve", "allow", "deny")

Target = Annotated[str, Field(pattern=r"^[^:]+:.+$")]
Key = tuple[str, str, bytes]
"""The kind of a call, its target, and the canonical JSON of its arguments."""


class Part(Form):
    """A part of the file, whose fields are named as they are here."""

    model_config = Form.model_config | {"alias_generator": None}


class ErrorForm(Part):
    """Why a call failed; a hand-written one may have its kind and message alone."""

    kind: ErrorKind
    message: str
    retryable: bool | None = None
    details: dict[str, Any] = Field(default_factory=dict)

    def as_error(self) -> TaskError:
        """The error of a task."""
        may_retry = self.kind in RETRYABLE_KINDS if self.retryable is None else self.retryable
        return TaskError(self.kind, self.message, may_retry, self.details)


class Answer(Part):
    """How one call ended: an output, an error, or no answer until something ended it."""

    output: Any = None
    wrapped: bool = False  # the server had wrapped the output
    error: ErrorForm | None = None
    no_answer: bool = False
    after_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    task: str | None = None  # whose call it was, if the same call of others got other answers

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.model_fields_set & {"output", "error"}
        if len(given) + self.no_answer != 1:
            raise ValueError('expected exactly one of "output", "error" and "no_answer"')
        return self


class RecordedCall(Part):
    """A call and its answers, in the order in which it was made."""

    tool: Target | None = None
    read: Target | None = None
    prompt: Target | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    answers: list[Answer] = Field(min_length=1)
    repeat: bool = False  # the last answer is that of all further calls

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len([kind for kind in KINDS if getattr(self, kind) is not None]) != 1:
            raise ValueError('expected exactly one of "tool", "read" and "prompt"')
        return self

    @property
    def kind(self) -> str:
        """What it asks of the server, as in `Call.kind`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def target(self) -> str:
        """`server:tool`, `server:uri` or `server:name`."""
        target: str = getattr(self, self.kind)
        return target

    @property
    def key(self) -> Key:
        """What it is found by."""
        return key_of(self.kind, self.target, self.arguments)


class _ServerSettings(Part):
    timeout_s: Seconds = 60.0
    max_concurrency: Limit | Literal["auto"] | None = None
    rate: RateText | None = None
    writes: Literal["serial", "parallel"] = "serial"
    tools: dict[str, ToolSettings] = Field(default_factory=dict)
    approve: list[str] | Literal["destructive"] = Field(default_factory=list)
    allow: list[str] | None = None
    deny: list[str] = Field(default_factory=list)


class RecordedServer(Part):
    """What was known of a server."""

    settings: _ServerSettings = _ServerSettings()
    failure: ErrorForm | None = None  # why it did not start
    tools: dict[str, ToolForm] = Field(default_factory=dict)
    prompts: list[dict[str, Any]] | None = None


class RecordedRun(Part):
    """The run that was recorded; of several, the last one."""

    id: str
    started_at: str
    workflow: str = ""
    inputs: dict[str, Any] = Field(default_factory=dict)


class Replied(Part):
    """What a person replied to the question of a task or an item, as in `outer[3]/inner[2]`."""

    task: str
    kind: Literal["ask", "approve"]
    answer: Any = None
    refused: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if ("answer" in self.model_fields_set) is self.refused:
            raise ValueError('expected exactly one of "answer" and "refused"')
        return self


class Document(Part):
    """The whole file."""

    url: str = Field(default="", alias="$schema", description="The URL of this schema.")
    version: Literal[1]
    run: RecordedRun | None = None
    servers: dict[str, RecordedServer]
    calls: list[RecordedCall]
    replies: list[Replied] = Field(default_factory=list)


FIELDS = {
    "": tuple(field.alias or name for name, field in Document.model_fields.items()),
    "run": tuple(RecordedRun.model_fields),
    "servers": tuple(RecordedServer.model_fields),
    "settings": SETTINGS,
    "calls": tuple(RecordedCall.model_fields),
    "replies": tuple(Replied.model_fields),
    "answers": tuple(Answer.model_fields),
    "error": tuple(ErrorForm.model_fields),
    "failure": tuple(ErrorForm.model_fields),
    **DEFINITION_FIELDS,
}


def key_of(kind: str, target: str, arguments: Mapping[str, Any]) -> Key:
    """What a call is found by; a resource has no arguments but its URI."""
    return kind, target, b"" if kind == "read" else canonical_json(_numbers(dict(arguments)))


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments of a call without its idempotency key, which is another one in each run."""
    return {name: value for name, value in call.arguments.items() if value != call.idempotency_key}


def key_of_call(call: Call) -> Key:
    """What a call is found by that is about to be made."""
    return key_of(call.kind, call.target, arguments_of(call))


def _numbers(value: Any) -> Any:
    """A value in which each number has one form: for JSON, 1.0 is 1."""
    match value:
        case dict():
            return {name: _numbers(item) for name, item in value.items()}
        case list() | tuple():
            return [_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value
