"""The form of the definition of a tool in our files: what the JSON has to look like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from orchestrator.schema.tool import HINTS


class Form(BaseModel):
    """A part of a file: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class _Annotations(Form):
    title: str = ""
    read_only_hint: bool = False
    destructive_hint: bool = False
    idempotent_hint: bool = False
    open_world_hint: bool = False


class _Execution(Form):
    task_support: Literal["required", "unavailable"]


class ToolForm(Form):
    """A definition, as `schema.tool.definition_of` makes it."""

    title: str = ""
    description: str = ""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] = Field(default_factory=dict)
    annotations: _Annotations = _Annotations()
    execution: _Execution | None = None


# The names of its fields, by what holds it.
DEFINITION_FIELDS = {
    "tools": ("title", "description", "inputSchema", "outputSchema", "annotations", "execution"),
    "annotations": ("title", *HINTS),
    "execution": ("taskSupport",),
}
