"""The calls by hand on FastMCP clients, with an asyncio task for each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from benchmarks.peer_programs.conversation import Call, Plan, Run, main, task_futures


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    clients = {
        name: Client(StdioTransport(**server, keep_alive=False))
        for name, server in plan.servers.items()
    }

    async def call_tool(call: Call) -> Any:
        return await clients[call.server].call_tool(call.tool, call.arguments)

    async with AsyncExitStack() as stack:
        # All servers start at once, as those of the other peers.
        await asyncio.gather(*map(stack.enter_async_context, clients.values()))
        yield {name: partial(task_futures, job, call_tool) for name, job in plan.jobs.items()}


if __name__ == "__main__":
    main(opened, lambda result: result.structured_content)
