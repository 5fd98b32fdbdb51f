"""The workflow that a plan begins with while its tasks are still being written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.expressions.templates import Literal
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import Policies, RepeatPlan

_PLACEHOLDER: dict[str, Any] = {"id": "placeholder", "value": None}
# A task that comes later may have any policy.
_ANY = Policies(repeat=RepeatPlan(Literal(True), 0.0, 1, None), deadline_s=1.0)


def without_tasks(header: Mapping[str, Any]) -> Workflow:
    """The workflow that a plan begins with: all but its tasks, and what reads them.

    Raises:
        WorkflowError: The header is wrong.
    """
    left = {name: value for name, value in header.items() if name not in ("output", "finally")}
    workflow = Workflow.model_validate({**left, "tasks": [_PLACEHOLDER]})
    plan = replace(
        workflow.plan,
        tasks={},
        graph=graphs.build({}),
        generations=[],
        has_inner=True,
        asks=True,
        policies=(_ANY,),
    )
    workflow._plan = workflow.__dict__["plan"] = plan
    return workflow
