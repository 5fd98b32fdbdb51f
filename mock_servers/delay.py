"""Tools that take time: waiting, at random too, computing, and none at all (`echo`, `now`).

How many calls wait at the same time is counted: `peak` tells it.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from mock_servers.digests import digest
from mock_servers.serve import READ_ONLY, run

server = MCPServer(
    "delay", instructions="Waits, echoes and computes: for timing.", log_level="WARNING"
)


class Slept(BaseModel):
    """How long a call waited, and the label it was given."""

    slept_ms: int
    label: str


class Delayed(Slept):
    """The same, and a digest of the label and the inputs."""

    digest: str


class Steps(BaseModel):
    """How many steps a call has told of."""

    steps: int


class Echo(BaseModel):
    """The value that came in."""

    value: Any


class Now(BaseModel):
    """When a call arrived, nanoseconds on the monotonic clock, which all processes share."""

    ns: int


class Busy(BaseModel):
    """How long a call computed, and in which process."""

    busy_ms: int
    pid: int


class Peak(BaseModel):
    """How many calls waited at the same time, at most."""

    most: int


@dataclass
class Waiting:
    """How many calls wait now, and the most that did so at once."""

    now: int = 0
    most: int = 0


waiting = Waiting()


@server.tool(annotations=READ_ONLY)
async def delay(ms: int = 0, label: str = "", inputs: list[str] | None = None) -> Delayed:
    """Wait for a number of milliseconds, then return it, the label, and a digest of the inputs."""
    slept = await _sleep(ms, label)
    return Delayed(**slept.model_dump(), digest=digest(label, inputs or []))


@server.tool(annotations=READ_ONLY)
async def random_delay(
    min_ms: int = 0, max_ms: int = 100, seed: int | None = None, label: str = ""
) -> Slept:
    """Wait for a random time between two bounds in milliseconds; the same seed, the same time."""
    if min_ms > max_ms:
        raise ToolError(f"min_ms ({min_ms}) is greater than max_ms ({max_ms})")
    return await _sleep(random.Random(seed).randint(min_ms, max_ms), label)


@server.tool(annotations=READ_ONLY)
async def progress(context: Context, steps: int = 3, ms: int = 0) -> Steps:
    """Tell the progress of a number of steps, each of which takes some milliseconds."""
    for step in range(1, steps + 1):
        await anyio.sleep(ms / 1000)
        await context.report_progress(step, steps, f"step {step}")
    return Steps(steps=steps)


@server.tool(annotations=READ_ONLY)
async def echo(value: Any) -> Echo:
    """Return a JSON value (the SDK parses a text that is a JSON array, object or null)."""
    return Echo(value=value)


@server.tool(annotations=READ_ONLY)
async def now() -> Now:
    """Tell when the call arrived."""
    return Now(ns=time.monotonic_ns())


@server.tool(annotations=READ_ONLY)
async def busy(ms: int) -> Busy:
    """Compute for a number of milliseconds of processor time; other calls to this server wait."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return Busy(busy_ms=ms, pid=os.getpid())


@server.tool(annotations=ToolAnnotations(read_only_hint=False, open_world_hint=False))
async def peak() -> Peak:
    """Tell how many calls waited at the same time at most, and begin to count anew."""
    most, waiting.most = waiting.most, waiting.now
    return Peak(most=most)


async def _sleep(ms: int, label: str) -> Slept:
    if ms < 0:
        raise ToolError(f"cannot wait for {ms} ms: give 0 or more")
    waiting.now += 1
    waiting.most = max(waiting.most, waiting.now)
    try:
        await anyio.sleep(ms / 1000)
    finally:
        waiting.now -= 1
    return Slept(slept_ms=ms, label=label)


if __name__ == "__main__":
    run(server)
