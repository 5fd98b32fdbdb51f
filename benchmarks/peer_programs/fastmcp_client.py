"""The calls by hand, on clients of FastMCP: an asyncio task for each, which awaits its needs.

The rule of this file: `Client` and `StdioTransport` as the documentation of FastMCP has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from benchmarks.peer_programs.conversation import Call, Job, Plan, Run, main


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The jobs, on a client for each server; all servers are started at once."""
    clients = {
        name: Client(StdioTransport(**given, keep_alive=False))
        for name, given in plan.servers.items()
    }
    async with AsyncExitStack() as stack:
        await asyncio.gather(*map(stack.enter_async_context, clients.values()))
        yield {name: partial(task_futures, clients, job) for name, job in plan.jobs.items()}


async def task_futures(clients: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
    """An asyncio task for each call, which awaits those that it needs."""
    tasks: dict[str, asyncio.Task[Any]] = {}

    async def run(call: Call) -> Any:
        for needed in call.needs:
            await tasks[needed]
        return await clients[call.server].call_tool(call.tool, call.arguments)

    for call in job:
        tasks[call.id] = asyncio.create_task(run(call))
    return dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))


def value(result: Any) -> Any:
    """The structured content."""
    return result.structured_content


if __name__ == "__main__":
    main(opened, value)
