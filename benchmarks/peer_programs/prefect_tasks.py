"""Prefect tasks around calls of the bare SDK: submitted to threads, or awaited together.

`submit` is the way that Prefect documents for work that is to run at once: the default task runner
runs each task on a thread, and calls reach the sessions on their event loop. `gather` awaits async
tasks on that loop. Either way the flow's server is the temporary one that a user without a server
gets.

The rule of this file: flows and tasks as the documentation of Prefect has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from prefect import flow, task

from benchmarks.peer_programs.conversation import Call, Job, Plan, Run, main
from benchmarks.peer_programs.gather import Clients, sessions, value


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The flows, on a session for each server; the first run starts the temporary server."""
    way = _submitted if plan.way == "submit" else _gathered
    async with sessions(plan) as clients:
        yield {name: way(clients, job) for name, job in plan.jobs.items()}


def _submitted(clients: Clients, job: Job) -> Run:
    """A sync flow on a thread of its own, whose tasks are submitted and wait for their needs."""
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


def _gathered(clients: Clients, job: Job) -> Run:
    """An async flow, whose async tasks run as asyncio tasks that await their needs."""

    @task
    async def call_tool(server: str, tool: str, arguments: dict[str, Any]) -> Any:
        return await clients[server].call_tool(tool, arguments)

    @flow
    async def workflow() -> dict[str, Any]:
        running: dict[str, asyncio.Task[Any]] = {}

        async def run(call: Call) -> Any:
            for needed in call.needs:
                await running[needed]
            return await call_tool(call.server, call.tool, call.arguments)

        for call in job:
            running[call.id] = asyncio.create_task(run(call))
        return dict(zip(running, await asyncio.gather(*running.values()), strict=True))

    run: Run = workflow
    return run


if __name__ == "__main__":
    main(opened, value)
