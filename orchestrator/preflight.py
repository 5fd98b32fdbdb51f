"""What is checked between a workflow that is valid and its first call: inputs, servers, tools.

The rule of this file: it raises a `WorkflowError` with everything that is wrong, and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import (
    Problem,
    ServerStartError,
    WorkflowError,
    certain,
    nearest,
    replace_op,
)
from orchestrator.inputs import complete_inputs
from orchestrator.planning import unknown_server
from orchestrator.pool import ServerPool
from orchestrator.priorities import problems_of_estimates
from orchestrator.schedules import SCHEDULES
from orchestrator.sources import located
from orchestrator.workflow import Workflow

MAX_LISTED = 10


def check_overrides(
    workflow: Workflow,
    schedule: str | None,
    max_concurrency: int | None,
    estimates: Mapping[str, float] | None = None,
) -> None:
    """Check what is to be used instead of the workflow's own."""
    problems = []
    if schedule is not None and schedule not in SCHEDULES:
        near = nearest(schedule, SCHEDULES) or tuple(SCHEDULES)
        message = f"there is no schedule {schedule!r}"
        problems.append(Problem("wrong_value", message, "/schedule", None, near))
    if max_concurrency is not None and max_concurrency < 0:
        message = f"max_concurrency has to be at least 0, not {max_concurrency}"
        problems.append(Problem("wrong_value", message, "/max_concurrency"))
    problems += problems_of_estimates(workflow.plan.tasks, estimates or {})
    if problems:
        raise WorkflowError(workflow.name, problems)


def check_offline(
    workflow: Workflow, pool: ServerPool, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The complete inputs, if they and the servers' names are right."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    try:
        values = complete_inputs(workflow.inputs, inputs, workflow.name)
    except WorkflowError as error:
        problems += error.problems
    problems += _unknown_servers(workflow, pool)
    if problems:
        raise refused(workflow, problems)
    return values


def check_servers(workflow: Workflow, pool: ServerPool) -> None:
    """Check the servers' names alone."""
    if problems := _unknown_servers(workflow, pool):
        raise refused(workflow, problems)


def _unknown_servers(workflow: Workflow, pool: ServerPool) -> list[Problem]:
    if all(server in pool.servers for server in workflow.plan.servers):
        return []
    return [
        unknown_server(target.server, pool.servers, task=task, at=at, tool=target.tool)
        for task, target, at in workflow.plan.calls
        if target.server not in pool.servers
    ]


def check_online(workflow: Workflow, pool: ServerPool, so_far: str = "nothing was called") -> None:
    """Check that the servers that are there have the tools, and those that must be are there.

    Args:
        workflow: The workflow.
        pool: The servers.
        so_far: What was called until now, for the message.

    Raises:
        ServerStartError: A server that is marked `required = true` is not there.
        WorkflowError: A server does not have a tool.
    """
    failures = {server: pool.failure(server) for server in workflow.plan.servers}
    missing = [
        Problem("server_unavailable", failure.message)
        for server, failure in failures.items()
        if failure is not None and pool.servers[server].required
    ]
    if missing:
        raise refused(workflow, missing, so_far, ServerStartError)
    known = {server: pool.tools(server) for server in workflow.plan.servers if pool.usable(server)}
    targets = workflow.plan.targets.values()
    if all(target.tool in known.get(target.server, (target.tool,)) for target in targets):
        return
    problems = [
        unknown_tool(pool, target.server, target.tool, at, task.id)
        for task, target, at in workflow.plan.calls
        if target.server in known and target.tool not in known[target.server]
    ]
    raise refused(workflow, problems, so_far)


def unknown_tool(
    pool: ServerPool, server: str, tool: str, at: str = "", task: str | None = None
) -> Problem:
    """The problem of a tool that its server does not have, or that may not be called.

    Args:
        pool: The servers.
        server: The server, and `tool` the name that is wrong.
        at: Where, as a JSON Pointer.
        task: The task that names it, if one does.
    """
    if pool.is_denied(server, tool):
        message = f"the configuration does not allow {server}:{tool}"
        hint = f"see allow and deny of server {server!r}"
        return Problem("denied_tool", message, at, task, (), hint, text=tool)
    tools = pool.tools(server)
    near = nearest(tool, tools)
    listed = ", ".join(list(tools)[:MAX_LISTED]) + (", ..." if len(tools) > MAX_LISTED else "")
    hint = "" if near else f"its tools: {listed}" if tools else "it has no tools"
    message = f"server {server!r} has no tool {tool!r}"
    meant = certain(tool, near)
    operations = (replace_op(at, f"{server}:{meant}"),) if meant and at else ()
    return Problem("unknown_tool", message, at, task, near, hint, text=tool, replacement=operations)


def refused(
    workflow: Workflow,
    problems: Sequence[Problem],
    so_far: str = "nothing was called",
    kind: type[WorkflowError] = WorkflowError,
) -> WorkflowError:
    """The error of a workflow in which these are wrong, with their places if it has a file."""
    if workflow.source is None:
        return kind(workflow.name, problems, so_far)
    return kind(str(workflow.source), located(problems, workflow.source), so_far)
