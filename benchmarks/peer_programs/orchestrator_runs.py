"""Workflows on an `Orchestrator` that stays open: dataflow, no limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peer_programs.conversation import Job, Plan, Run, WrongResultError, main
from orchestrator import Orchestrator, Server, Workflow


def document(name: str, job: Job) -> dict[str, Any]:
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
    """The workflows, checked once; the first run, which is not timed, starts the servers."""
    servers = {name: Server(name=name, **server) for name, server in plan.servers.items()}
    async with Orchestrator(servers) as orchestrator:

        async def run(workflow: Workflow) -> Mapping[str, Any]:
            result = await orchestrator.run(workflow)
            if result.status != "success":
                raise WrongResultError(f"the run ended as {result.status}")
            return result.tasks

        yield {
            name: partial(run, Workflow.load(document(name, job)))
            for name, job in plan.jobs.items()
        }


if __name__ == "__main__":
    main(opened, lambda result: result.output)
