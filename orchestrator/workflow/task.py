"""A task as it stands in a workflow file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from orchestrator.expressions.references import TASK_ID
from orchestrator.workflow.policies import (
    STRICT,
    TOOL,
    Fallback,
    LockField,
    RetryField,
    RunIf,
    Seconds,
)


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
