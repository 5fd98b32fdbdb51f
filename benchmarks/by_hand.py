"""The job of five tools as a program on the bare SDK: `python -m benchmarks.by_hand`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

SERVERS = ("weather", "news", "text")
CITY = "Oslo"


async def main() -> None:
    programs = {
        name: StdioServerParameters(command=sys.executable, args=["-m", f"mock_servers.{name}"])
        for name in SERVERS
    }
    async with sessions(programs) as clients:
        print(json.dumps(await job(clients)))


@asynccontextmanager
async def sessions(
    programs: Mapping[str, StdioServerParameters],
) -> AsyncIterator[dict[str, Client]]:
    """A session for each server, with its tools listed; all servers start at once."""
    clients: dict[str, Client] = {}
    ready, done = {name: anyio.Event() for name in programs}, anyio.Event()

    async def hold(name: str) -> None:
        # A session has to be closed in the task that opened it.
        async with Client(programs[name]) as clients[name]:
            await clients[name].list_tools()
            ready[name].set()
            await done.wait()

    async with anyio.create_task_group() as group:
        for name in programs:
            group.start_soon(hold, name)
        for event in ready.values():
            await event.wait()
        yield clients
        done.set()


async def job(clients: Mapping[str, Client]) -> dict[str, Any]:
    """The five calls; the two that need nothing go out together."""

    async def call(server: str, tool: str, **arguments: Any) -> Any:
        result = await clients[server].call_tool(tool, arguments)
        return result.structured_content or [block.model_dump() for block in result.content]

    weather, news = await asyncio.gather(
        call("weather", "forecast", city=CITY),
        call("news", "search", query=f"travel in {CITY}", limit=3),
    )
    titles = [item["title"] for item in news["items"]]
    [headline] = await call("text", "title", text=titles[0], max_length=40)
    first = f"{CITY}: {weather['conditions']}, {weather['temperature_c']} C"
    [note] = await call("text", "join", parts=[first, headline["text"], titles[1]])
    length = await call("text", "words", text=note["text"])
    return {"note": note["text"], "words": length["words"]}


if __name__ == "__main__":
    anyio.run(main)
