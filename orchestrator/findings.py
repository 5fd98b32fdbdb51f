"""Finds what is wrong in a workflow, with the tools that its servers or their lock have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import Problem, WorkflowError
from orchestrator.preflight import check_against, check_open, unknown_servers
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.model import Workflow

WorkflowSource = str | Path | Mapping[str, Any] | Workflow


async def find_problems(workflow: WorkflowSource, pool: ServerPool) -> list[Problem]:
    """Errors, warnings and notes, in the order of the file. With a lock, no server is started.

    Raises:
        WorkflowError: The workflow is too broken to check further.
    """
    from orchestrator.workflow.recovery import read_again, recover
    from orchestrator.workflow.source_map import located

    try:
        loaded = Workflow.load(workflow)
    except WorkflowError as error:
        left = recover(read_again(workflow), error.problems)
        if left is None:
            raise
        found = [*error.problems, *left.telling(await _findings(left.workflow, pool))]
        return found if isinstance(workflow, Mapping) else located(found, Path(str(workflow)))
    found = await _findings(loaded, pool)
    return found if loaded.source is None else located(found, loaded.source)


async def _findings(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    found = unknown_servers(workflow, pool.servers)
    if pool.lock is not None:
        return [*found, *check_against(workflow, pool.servers, pool.lock)]
    await pool.open(name for name in workflow.plan.servers if name in pool.servers)
    return [*found, *check_open(workflow, pool)]


def source_of(workflow: WorkflowSource) -> str:
    """What a workflow comes from, as its errors name it."""
    match workflow:
        case Workflow():
            return workflow.name if workflow.source is None else str(workflow.source)
        case Mapping():
            name = workflow.get("name")
            return name if isinstance(name, str) else "workflow"
    return str(workflow)
