"""The calls by hand on sessions of the bare SDK: by layers, or with a task for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp import StdioServerParameters

from benchmarks.by_hand import sessions
from benchmarks.peer_programs.conversation import Call, Plan, Run, by_layers, main, task_futures


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The jobs, on a session for each server."""
    way = by_layers if plan.way == "by layers" else task_futures
    programs = {name: StdioServerParameters(**server) for name, server in plan.servers.items()}
    async with sessions(programs) as clients:

        async def call_tool(call: Call) -> Any:
            return await clients[call.server].call_tool(call.tool, call.arguments)

        yield {name: partial(way, job, call_tool) for name, job in plan.jobs.items()}


if __name__ == "__main__":
    main(opened, lambda result: result.structured_content)
