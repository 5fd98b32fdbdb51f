"""The first call by hand on the bare SDK: `python -m benchmarks.first_by_hand SERVER COUNT`."""

from __future__ import annotations

import json
import sys

import anyio
from mcp import Client, StdioServerParameters


async def main(server: str, count: int) -> None:
    """Open the servers at once, call the first as soon as it is open, then the others."""
    program = StdioServerParameters(command=sys.executable, args=["-m", f"mock_servers.{server}"])
    first, done = anyio.Event(), anyio.Event()
    called = [anyio.Event() for _ in range(count)]

    async def hold(number: int) -> None:
        async with Client(program) as client:
            if number:  # the workflow needs all but the first server later
                await first.wait()
            result = await client.call_tool("now")
            if not number:
                print(json.dumps({"output": result.structured_content}))
                first.set()
            called[number].set()
            await done.wait()

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(hold, number)
        for event in called:
            await event.wait()
        done.set()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
