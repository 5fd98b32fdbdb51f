"""Prefect tasks around calls of the bare SDK: submitted to threads, or awaited together.

`submit` is the way that Prefect documents for work that runs at once: the default task runner runs
each task on a thread, and calls reach the sessions on their event loop. The other way awaits async
tasks. Either way the flow uses the temporary server that a user without a server gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp import Client, StdioServerParameters
from prefect import flow, task

from benchmarks.by_hand import sessions
from benchmarks.peer_programs.conversation import Call, Job, Plan, Run, main, task_futures


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The flows, on a session for each server; the first run starts the temporary server."""
    way = _submitted if plan.way == "submit" else _gathered
    programs = {name: StdioServerParameters(**server) for name, server in plan.servers.items()}
    async with sessions(programs) as clients:
        yield {name: way(clients, job) for name, job in plan.jobs.items()}


def _submitted(clients: Mapping[str, Client], job: Job) -> Run:
    # Sessions belong to this event loop, while submitted tasks run on threads.
    loop = asyncio.get_running_loop()

    @task
    def call_tool(server: str, tool: str, arguments: dict[str, Any]) -> Any:
        called = clients[server].call_tool(tool, arguments)
        return asyncio.run_coroutine_threadsafe(called, loop).result()

    @flow
    def workflow() -> dict[str, Any]:
        futures: dict[str, Any] = {}
        for call in job:
            needs = [futures[needed] for needed in call.needs]
            futures[call.id] = call_tool.submit(
                call.server, call.tool, call.arguments, wait_for=needs
            )
        return {name: future.result() for name, future in futures.items()}

    return partial(asyncio.to_thread, workflow)


def _gathered(clients: Mapping[str, Client], job: Job) -> Run:

    @task
    async def call_tool(server: str, tool: str, arguments: dict[str, Any]) -> Any:
        return await clients[server].call_tool(tool, arguments)

    @flow
    async def workflow() -> dict[str, Any]:
        def run(call: Call) -> Any:
            return call_tool(call.server, call.tool, call.arguments)

        return await task_futures(job, run)

    run: Run = workflow
    return run


if __name__ == "__main__":
    main(opened, lambda result: result.structured_content)
