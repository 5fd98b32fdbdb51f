"""Workflows on an `Orchestrator` that is kept open: no limit, as a flow of data.

The rule of this file: what docs/python.md shows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peer_programs.conversation import Job, Plan, Run, WrongResultError, main
from orchestrator import Orchestrator, Server, TaskResult, Workflow


def document(name: str, job: Job) -> dict[str, Any]:
    """The workflow file of a job."""
    tasks = [
        {
            "id": call.id,
            "tool": f"{call.server}:{call.tool}",
            "arguments": call.arguments,
            "depends_on": list(call.needs),
        }
        for call in job
    ]
    return {"name": name, "tasks": tasks, "schedule": "dataflow", "max_concurrency": 0}


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The workflows, checked once; servers are started by the first run, which is not timed."""
    servers = {name: Server(name=name, **given) for name, given in plan.servers.items()}
    async with Orchestrator(servers) as orchestrator:
        yield {
            name: partial(_run, orchestrator, Workflow.load(document(name, job)))
            for name, job in plan.jobs.items()
        }


async def _run(orchestrator: Orchestrator, workflow: Workflow) -> Mapping[str, Any]:
    result = await orchestrator.run(workflow)
    if result.status != "success":
        raise WrongResultError(f"the run ended as {result.status}")
    return result.tasks


def value(result: TaskResult) -> Any:
    """The output of a task."""
    return result.output


if __name__ == "__main__":
    main(opened, value)
