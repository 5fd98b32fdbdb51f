"""What one call costs: with everything around it, and the server alone.

The rule of this file: tasks that wait for nothing, many at once; the times of whole runs are
measured elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import scenarios
from benchmarks.delays import check
from orchestrator import Workflow
from orchestrator.engine.run import Run
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool

BURST = 200


@asynccontextmanager
async def opened(module: str) -> AsyncIterator[ServerPool]:
    """A pool with the server `mock`, ready and warm."""
    args, folder = scenarios.arguments_of(module), str(scenarios.HERE)
    server = Server(name="mock", command=sys.executable, args=args, cwd=folder)
    async with ServerPool({"mock": server}) as pool:
        await pool.open(["mock"])
        check(await Run(Workflow.load(burst(BURST)), pool.call).execute())
        yield pool


def burst(count: int) -> dict[str, Any]:
    """Calls that need nothing and wait for nothing."""
    tasks = [{"id": f"t{n}", "tool": "mock:delay", "arguments": {"ms": 0}} for n in range(count)]
    return {"name": "burst", "tasks": tasks, "max_concurrency": 0}


async def call_cost_ms(module: str) -> float:
    """What a call costs with everything around it, of many at once, milliseconds."""
    workflow = Workflow.load(burst(BURST))
    async with opened(module) as pool:
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            check(await Run(workflow, pool.call).execute())
            best = min(best, time.perf_counter() - began)
    return best * 1000 / BURST


def server_cost_ms(module: str) -> float:
    """What a call costs the server alone: lines that were made before are written to it at once.

    They fit into its pipe, so that whoever writes never waits for a reader who waits for them.
    """
    ask = {"jsonrpc": "2.0", "method": "tools/call"}
    call = {"name": "delay", "arguments": {"ms": 0, "label": "a"}}
    calls = [{**ask, "id": 10 + number, "params": call} for number in range(BURST)]
    lines = "".join(json.dumps(each) + "\n" for each in calls).encode()
    with subprocess.Popen(
        [sys.executable, *scenarios.arguments_of(module)],
        cwd=scenarios.HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(_greeting())
        program.stdin.flush()
        program.stdout.readline()
        began = time.perf_counter()
        program.stdin.write(lines)
        program.stdin.flush()
        for _ in calls:
            program.stdout.readline()
        taken = time.perf_counter() - began
        program.stdin.close()
    return taken * 1000 / len(calls)


def _greeting() -> bytes:
    who = {"name": "benchmark", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    return "".join(json.dumps(each) + "\n" for each in (hello, ready)).encode()
