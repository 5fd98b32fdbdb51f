"""The parameters of `Task(...)` for type checkers, which derive no short forms from its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict

from pydantic import BaseModel

from orchestrator.workflow.task import (
    Approval,
    Ask,
    Cache,
    EndRun,
    Fallback,
    Lock,
    OnItemError,
    Repeat,
    Retry,
    RunIf,
)


class TaskFields(TypedDict, total=False):
    """What `Task` accepts, short forms included; its fields have the types that these become."""

    id: Required[str]
    description: str
    tool: str
    value: Any
    workflow: str | Mapping[str, Any] | BaseModel
    read: str | None
    prompt: str | None
    ask: Ask | Mapping[str, Any] | None
    arguments: dict[str, Any]
    depends_on: list[str]
    timeout_s: float | None
    timeout_resets_on_progress: bool
    retry: int | Retry | Mapping[str, Any] | None
    when: str | bool
    run_if: RunIf
    for_each: list[Any] | str | Mapping[str, list[Any] | str] | None
    max_parallel: int | None
    spread: bool
    item_when: str | bool
    item_fallback: Fallback | dict[str, Any] | None
    on_item_error: OnItemError | None
    repeat: Repeat | dict[str, Any] | None
    delay_s: float | None
    deadline_s: float | None
    cache: Cache | dict[str, Any] | None
    fallback: Fallback | dict[str, Any] | None
    critical: bool
    end_run: EndRun | None
    locks: Sequence[str | Lock | Mapping[str, Any]]  # a list: that type fits no list[str]
    approve: bool | Approval | Mapping[str, Any]
