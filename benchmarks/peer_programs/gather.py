"""The calls by hand, on sessions of the bare SDK: by layers, or a task that awaits its needs.

The rule of this file: what a good user of `mcp` and asyncio would write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from benchmarks.peer_programs.conversation import Call, Job, Plan, Run, layers, main

Clients = Mapping[str, Client]
Results = dict[str, CallToolResult]


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The jobs, on a session for each server."""
    async with sessions(plan) as clients:
        yield {name: _run(plan.way, clients, job) for name, job in plan.jobs.items()}


@asynccontextmanager
async def sessions(plan: Plan) -> AsyncIterator[Clients]:
    """A session for each server, with its tools listed; all servers are started at once."""
    clients: dict[str, Client] = {}
    ready, done = {name: asyncio.Event() for name in plan.servers}, asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name, given in plan.servers.items():
            group.create_task(_hold(name, given, clients, ready[name], done))
        await asyncio.gather(*(event.wait() for event in ready.values()))
        yield clients
        done.set()


async def _hold(
    name: str,
    given: dict[str, Any],
    clients: dict[str, Client],
    ready: asyncio.Event,
    done: asyncio.Event,
) -> None:
    """A session belongs to the task that opened it."""
    async with Client(StdioServerParameters(**given)) as client:
        await client.list_tools()
        clients[name] = client
        ready.set()
        await done.wait()


def _run(way: str, clients: Clients, job: Job) -> Run:
    if way == "by layers":
        return partial(by_layers, clients, layers(job))
    return partial(task_futures, clients, job)


async def by_layers(clients: Clients, layered: Sequence[Sequence[Call]]) -> Results:
    """A `gather` for each layer."""
    results: Results = {}
    for layer in layered:
        given = await asyncio.gather(*(_call(clients, call) for call in layer))
        results |= zip((call.id for call in layer), given, strict=True)
    return results


async def task_futures(clients: Clients, job: Job) -> Results:
    """An asyncio task for each call, which awaits those that it needs."""
    tasks: dict[str, asyncio.Task[CallToolResult]] = {}

    async def run(call: Call) -> CallToolResult:
        for needed in call.needs:
            await tasks[needed]
        return await _call(clients, call)

    for call in job:
        tasks[call.id] = asyncio.create_task(run(call))
    return dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))


async def _call(clients: Clients, call: Call) -> CallToolResult:
    return await clients[call.server].call_tool(call.tool, call.arguments)


def value(result: CallToolResult) -> Any:
    """The structured content."""
    return result.structured_content


if __name__ == "__main__":
    main(opened, value)
