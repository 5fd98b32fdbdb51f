"""The calls by hand on sessions of the bare SDK: by layers, or with a task for each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp import Client, StdioServerParameters

from benchmarks.peer_programs.conversation import Call, Plan, Run, by_layers, main, task_futures


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The jobs, on a session for each server."""
    way = by_layers if plan.way == "by layers" else task_futures
    async with sessions(plan) as clients:

        async def call_tool(call: Call) -> Any:
            return await clients[call.server].call_tool(call.tool, call.arguments)

        yield {name: partial(way, job, call_tool) for name, job in plan.jobs.items()}


@asynccontextmanager
async def sessions(plan: Plan) -> AsyncIterator[Mapping[str, Client]]:
    """A session for each server, with its tools listed; all servers start at once."""
    clients: dict[str, Client] = {}
    ready, done = {name: asyncio.Event() for name in plan.servers}, asyncio.Event()

    async def hold(name: str, given: dict[str, Any]) -> None:
        # A session belongs to the task that opened it.
        async with Client(StdioServerParameters(**given)) as clients[name]:
            await clients[name].list_tools()
            ready[name].set()
            await done.wait()

    async with asyncio.TaskGroup() as group:
        for name, given in plan.servers.items():
            group.create_task(hold(name, given))
        await asyncio.gather(*(event.wait() for event in ready.values()))
        yield clients
        done.set()


if __name__ == "__main__":
    main(opened, lambda result: result.structured_content)
