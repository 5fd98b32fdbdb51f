"""Many clients at once on one `orchestrator serve --http`, and many plans one after the other."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from mcp import Client

from benchmarks.measure import Bench, Measurement, RunFailedError
from benchmarks.scenarios import HERE

CALLS, WAIT_MS = 50, 20
WARM = 200  # plans, after which nothing may grow any more
PLAN: dict[str, Any] = {
    "tasks": [
        {"id": f"t{n}", "tool": "bare:delay", "arguments": {"ms": WAIT_MS, "label": f"{n}"}}
        for n in range(CALLS)
    ]
}
_CONFIG = """
[servers.bare]
command = {}
args = ["-m", "mock_servers.bare"]
"""
_URL = re.compile(r"serving on (\S+)")


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure the plan of each client, and what many plans leave in the process that serves."""
    clients, plans = (5, 12) if bench.quick else (100, 1000)
    times, fair, most_mb = list[float](), list[float](), 0.0
    for number in range(rounds := bench.pick(3, 1)):
        async with _serving() as (url, pid):
            of_round = await _at_once(url, clients)
            times += of_round
            fair.append(max(of_round) / median(of_round))
            most_mb = max(most_mb, _status(pid, "VmHWM"))
            if number == rounds - 1:
                in_a_row, grown = await _in_a_row(url, pid, plans)
    values = {"clients": float(clients), "most_mb": most_mb}
    bench.record(Measurement("serve", "clients at once", times, {"of_median": fair}, values))
    bench.record(Measurement("serve", "plans in a row", in_a_row, values=grown))


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[str, int]]:
    """The address and the process of a server of the engine, with a journal of its own."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "servers.toml"
        config.write_text(_CONFIG.format(json.dumps(sys.executable)), encoding="utf-8")
        files = ("--servers", str(config), "--journal", str(Path(name) / "runs.db"))
        command = (sys.executable, "-m", "orchestrator", "serve", "--http", "127.0.0.1:0")
        process = await anyio.open_process((*command, "--no-pool", *files), cwd=HERE)
        try:
            yield await _url(process), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _url(process: Process) -> str:
    assert process.stderr is not None
    said = ""
    async for text in TextReceiveStream(process.stderr):
        said += text
        if (found := _URL.search(said)) is not None:
            return found[1]
    raise RunFailedError(f"orchestrator serve did not start: {said}")


async def _at_once(url: str, clients: int) -> list[float]:
    """How long the plan of each client takes, when all send theirs at one moment."""
    times: list[float] = []

    async def run(client: Client) -> None:
        times.append(await _plan(client))

    async with AsyncExitStack() as stack:
        ready = [await stack.enter_async_context(Client(url)) for _ in range(clients)]
        await _plan(ready[0])  # its server starts
        async with anyio.create_task_group() as group:
            for client in ready:
                group.start_soon(run, client)
    return times


async def _in_a_row(url: str, pid: int, plans: int) -> tuple[list[float], dict[str, float]]:
    """How long each plan takes, and what the later ones have left."""
    times = []
    async with Client(url) as client:
        for number in range(plans):
            if number == min(WARM, plans // 2):
                before_mb, before = _status(pid, "VmRSS"), _descriptors(pid)
            times.append(await _plan(client))
        grown_mb, more = _status(pid, "VmRSS") - before_mb, _descriptors(pid) - before
    most_mb = _status(pid, "VmHWM")
    return times, {"grown_mb": grown_mb, "descriptors": float(more), "most_mb": most_mb}


async def _plan(client: Client) -> float:
    began = time.perf_counter()
    answer = await client.call_tool("parallel_execute", PLAN)
    took_ms = (time.perf_counter() - began) * 1000
    document = answer.structured_content or {}
    outputs = document.get("output") or {}
    if document.get("status") != "success" or {each["label"] for each in outputs.values()} != {
        f"{n}" for n in range(CALLS)
    }:
        raise RunFailedError(f"a plan was answered with {json.dumps(document)[:500]}")
    return took_ms


def _status(pid: int, field: str) -> float:
    """A size in /proc, megabytes; 0 where there is none."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


def _descriptors(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0
