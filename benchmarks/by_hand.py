"""The job of five tools as a program on the bare SDK: `python -m benchmarks.by_hand`."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

SERVERS = ("weather", "news", "text")
CITY = "Oslo"


async def main() -> None:
    """Open the servers at once, do the job, print what it gave."""
    clients: dict[str, Client] = {}
    opened = {name: anyio.Event() for name in SERVERS}
    done = anyio.Event()

    async def hold(name: str) -> None:
        program = StdioServerParameters(command=sys.executable, args=["-m", f"mock_servers.{name}"])
        async with Client(program) as clients[name]:
            await clients[name].list_tools()
            opened[name].set()
            await done.wait()

    async with anyio.create_task_group() as group:
        for name in SERVERS:
            group.start_soon(hold, name)
        for event in opened.values():
            await event.wait()
        print(json.dumps(await job(clients)))
        done.set()


async def job(clients: dict[str, Client]) -> dict[str, Any]:
    """The five calls; the two that need nothing go out together."""

    async def call(server: str, tool: str, **arguments: Any) -> Any:
        result = await clients[server].call_tool(tool, arguments)
        return result.structured_content or [block.model_dump() for block in result.content]

    weather, news = await both(
        lambda: call("weather", "forecast", city=CITY),
        lambda: call("news", "search", query=f"travel in {CITY}", limit=3),
    )
    titles = [item["title"] for item in news["items"]]
    [headline] = await call("text", "title", text=titles[0], max_length=40)
    first = f"{CITY}: {weather['conditions']}, {weather['temperature_c']} C"
    [note] = await call("text", "join", parts=[first, headline["text"], titles[1]])
    length = await call("text", "words", text=note["text"])
    return {"note": note["text"], "words": length["words"]}


async def both(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What some calls give that go out together, in their order."""
    given: dict[int, Any] = {}

    async def keep(number: int) -> None:
        given[number] = await calls[number]()

    async with anyio.create_task_group() as group:
        for number in range(len(calls)):
            group.start_soon(keep, number)
    return [given[number] for number in range(len(calls))]


if __name__ == "__main__":
    anyio.run(main)
