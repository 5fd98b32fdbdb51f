"""The tool `delay` of the server `delay`, on the standard library alone: for measuring.

A call costs it a small part of what it costs a server on the SDK, so that what is measured is the
client, not how many answers a second one process of Python can write.
"""

from __future__ import annotations

import asyncio

from mock_servers import wire
from mock_servers.digests import digest
from mock_servers.wire import INVALID_PARAMS, Connection, Json, RpcError, Tool


async def delay(ms: int = 0, label: str = "", inputs: list[str] | None = None) -> Json:
    """Wait for a number of milliseconds, then return it, the label, and a digest of the inputs."""
    if ms < 0:
        raise RpcError(INVALID_PARAMS, f"cannot wait for {ms} ms: give 0 or more")
    await asyncio.sleep(ms / 1000)
    return {
        "content": [],
        "structuredContent": {
            "slept_ms": ms,
            "label": label,
            "digest": digest(label, inputs or []),
        },
    }


def forget(_params: Json) -> None:
    """Do nothing about a call that was cancelled."""


async def serve() -> None:
    """Serve until stdin ends."""
    tools = [Tool(delay, types={"inputs": "array"})]
    await Connection(wire.methods("bare", tools), forget).serve()


if __name__ == "__main__":
    asyncio.run(serve())
