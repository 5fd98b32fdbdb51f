"""What is wrong with a workflow, as far as its servers, or a lock file, tell; without a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import Problem, Severity, WorkflowError
from orchestrator.preflight import (
    WorkflowSource,
    allowed_tools,
    check_against,
    failures,
    findings,
    known_prompts,
    locked,
    prompt_problems,
    resource_problems,
    tool_problems,
    unknown_servers,
    usable,
)
from orchestrator.schema.tool import Tool
from orchestrator.servers.pool import ServerPool
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.check.earlier import Earlier


async def findings_of(workflow: WorkflowSource, pool: ServerPool) -> list[Problem]:
    """Errors, warnings and notes, in the order of the file. With a lock, no server is started.

    Raises a `WorkflowError` if the workflow is too broken to check further.
    """
    from orchestrator.check.proof import proved
    from orchestrator.workflow.recovery import recover
    from orchestrator.workflow.source_map import located

    try:
        checked = Workflow.load(workflow)
        path = checked.source
        found = await problems_of(checked, pool)
    except WorkflowError as error:
        left = recover(_as_data(workflow), error.problems)
        if left is None:
            raise
        path = None if isinstance(workflow, Mapping) else Path(str(workflow))
        checked = left.workflow
        found = [*error.problems, *left.telling(await problems_of(checked, pool))]
    found = proved(found, partial(_as_data, workflow), _known_tools(checked, pool))
    return found if path is None else located(found, path)


def _as_data(workflow: WorkflowSource) -> Any:
    """A workflow as it is written; None if its file cannot be read."""
    from orchestrator.workflow.recovery import read_again

    if isinstance(workflow, Workflow):
        return workflow.to_dict() if workflow.source is None else read_again(workflow.source)
    return read_again(workflow)


def _known_tools(workflow: Workflow, pool: ServerPool) -> dict[str, Tool]:
    if pool.lock is None:
        return allowed_tools(pool.servers, usable(workflow, pool))
    return allowed_tools(pool.servers, locked(workflow, pool.servers, pool.lock)[0])


def nothing_known() -> Earlier:
    """What is known of the tasks of a plan that has none yet."""
    from orchestrator.check.earlier import Earlier

    return Earlier()


async def problems_of(
    workflow: Workflow, pool: ServerPool, earlier: Earlier | None = None
) -> list[Problem]:
    """What is wrong with a workflow that can be read; its servers start, if there is no lock.

    `earlier` is as for `orchestrator.check.checker.prove`.
    """
    if pool.lock is None:
        await pool.open(name for name in workflow.plan.servers if name in pool.servers)
        await pool.learn_prompts(workflow.plan.prompt_servers & pool.servers.keys())
        requests = workflow.plan.requests.values()
        if readers := {each.server for each in requests if each.kind == "read"}:
            from orchestrator.servers.uri_templates import learn_resources

            await learn_resources(pool, readers & pool.servers.keys())
    return known_problems(workflow, pool, earlier)


def known_problems(
    workflow: Workflow, pool: ServerPool, earlier: Earlier | None = None
) -> list[Problem]:
    servers = pool.servers
    found = unknown_servers(workflow, servers)
    if pool.lock is not None:
        return [*found, *check_against(workflow, servers, pool.lock, earlier)]
    listed = usable(workflow, pool)
    found += [*failures(workflow, pool), *tool_problems(workflow, servers, listed)]
    found += [*prompt_problems(workflow, pool), *resource_problems(workflow, pool)]
    return found + findings(workflow, servers, listed, known_prompts(workflow, pool), earlier)


def of_ready(workflow: Workflow, pool: ServerPool, severity: Severity) -> list[Problem]:
    """Those of a severity, as far as the servers tell that are ready; not that one is not."""
    from orchestrator.workflow.source_map import located

    found = [
        problem
        for problem in known_problems(workflow, pool)
        if problem.severity == severity and problem.code != "server_unavailable"
    ]
    return found if workflow.source is None else located(found, workflow.source)


def source_of(workflow: WorkflowSource) -> str:
    """What a workflow comes from, as its errors name it."""
    if isinstance(workflow, Workflow):
        return str(workflow.source or workflow.name)
    if isinstance(workflow, Mapping):
        name = workflow.get("name")
        return name if isinstance(name, str) else "workflow"
    return str(workflow)
