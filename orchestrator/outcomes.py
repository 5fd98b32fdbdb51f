"""How a task ends, and the decision that begins it.

    pending ── decide() ──▶ Start(arguments) ── the call ──▶ Success | Failure | Cancelled
                      └──▶ Skipped | Failure (a reference that leads nowhere)

The rule of this file: outcomes are frozen values, and `decide` is a pure function of the outcomes
before it. It neither waits nor calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from orchestrator.conversion import Conversion, convert
from orchestrator.errors import CallError, TaskError
from orchestrator.planning import TaskPlan
from orchestrator.references import Literal as LiteralTemplate
from orchestrator.references import Scope

Status = Literal["success", "error", "skipped", "cancelled"]


@dataclass(frozen=True, slots=True)
class Success:
    """The call gave an output."""

    output: Any
    status: Status = "success"


@dataclass(frozen=True, slots=True)
class Failure:
    """The call, or what had to come before it, failed."""

    error: TaskError
    status: Status = "error"


@dataclass(frozen=True, slots=True)
class Skipped:
    """The task was not started, and why."""

    reason: str
    status: Status = "skipped"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run was ended before the task had settled, and why."""

    reason: str
    status: Status = "cancelled"


Outcome = Success | Failure | Skipped | Cancelled


@dataclass(frozen=True, slots=True)
class Start:
    """The decision to call, and with what."""

    arguments: dict[str, Any]
    conversions: tuple[Conversion, ...] = ()


def decide(
    task: TaskPlan, scope: Scope, schema: Mapping[str, Any] | None = None
) -> Start | Skipped | Failure:
    """Whether a task starts, and with which arguments.

    Args:
        task: The task. Everything it depends on has settled.
        scope: The outcomes so far and the inputs.
        schema: The `inputSchema` of its tool, if it is known.
    """
    statuses = scope.statuses
    for needed in task.dependencies:
        if statuses[needed] != "success":
            return Skipped(f"its dependency {needed!r} {_ended(statuses[needed])}")
    try:
        arguments = cast("dict[str, Any]", task.arguments.resolve(scope))
    except CallError as failure:
        return Failure(failure.error)
    if not task.whole or schema is None or isinstance(task.arguments, LiteralTemplate):
        return Start(arguments)
    return Start(arguments, convert(arguments, task.whole, schema))


def _ended(status: str) -> str:
    return "failed" if status == "error" else f"was {status}"
