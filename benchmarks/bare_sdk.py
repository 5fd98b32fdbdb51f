"""The same work by hand on the bare SDK: calls that go out at once, and five servers made ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import anyio
from mcp import Client, StdioServerParameters

from benchmarks import scenarios
from benchmarks.delays import Runner
from benchmarks.measure import (
    Measurement,
    Rounds,
    RunFailedError,
    Settings,
    Side,
    Tell,
    flat,
    paired,
    take_turns,
    timed,
)
from benchmarks.scenarios import Document
from orchestrator import Orchestrator
from orchestrator.servers.pool import ServerPool


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure the scenarios that are wanted."""
    if "gather" in wanted:
        await _gather(settings, tell)
    if "ready" in wanted:
        await _ready(settings, tell)


def parameters(server: str) -> StdioServerParameters:
    """A mock server's program, for the bare SDK; the same that the orchestrator starts."""
    return StdioServerParameters(
        command=sys.executable,
        args=scenarios.arguments_of(server),
        cwd=scenarios.HERE,
        encoding_error_handler="replace",
    )


@asynccontextmanager
async def bare_client(server: str) -> AsyncIterator[Client]:
    """A session opened by hand, with its tools listed."""
    async with Client(parameters(server), mode="auto") as client:
        await client.list_tools()
        yield client


async def _gather(settings: Settings, tell: Tell) -> None:
    """Calls that take their time, and calls that come back at once."""
    instant = scenarios.echoes(200 if settings.quick else 1000)
    jobs = {
        "5 x 100 ms": (scenarios.FIVE.workflow("gather"), settings.pick(60, 10)),
        "instant": (instant, settings.pick(20, 5)),
    }
    servers = scenarios.servers("delay")
    async with Orchestrator(servers) as orchestrator, bare_client("delay") as client:
        for job, (document, rounds) in jobs.items():
            runner = Runner(orchestrator, document)
            sides = {
                "by hand": by_hand(client, document, settings.backend),
                "orchestrator": runner.side("orchestrator", {"max_concurrency": 0}),
            }
            times = await take_turns(sides, rounds)
            for name, mine in times.items():
                tasks = len(document["tasks"])
                values = {"tasks": float(tasks), "per_task_us": median(flat(mine)) * 1000 / tasks}
                ratios = {} if name == "by hand" else {"by_hand": paired(mine, times["by hand"])}
                note = f"stdio, protocol {client.protocol_version}, one session a side"
                tell(Measurement("gather", f"{job}: {name}", flat(mine), ratios, values, note))


def by_hand(client: Client, document: Document, backend: str) -> Side:
    """The calls of a workflow of independent tasks, as one writes them without it."""
    calls = [(task["tool"].partition(":")[2], task["arguments"]) for task in document["tasks"]]

    async def gather() -> None:
        await asyncio.gather(*(client.call_tool(*call) for call in calls))

    async def task_group() -> None:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(client.call_tool, *call)

    return Side(gather if backend == "asyncio" else task_group)


async def _ready(settings: Settings, tell: Tell) -> None:
    """Five servers from nothing to listed tools; closing them does not count."""
    times: dict[str, Rounds] = {"by hand": [], "pool": []}
    openers = {"by hand": _open_by_hand, "pool": _open_pool}
    for number in range(settings.pick(8, 2)):
        for name in list(openers)[:: -1 if number % 2 else 1]:
            times[name].append([await openers[name]()])
    for name, mine in times.items():
        ratios = {"by_hand": paired(mine, times["by hand"])} if name == "pool" else {}
        tell(Measurement("ready", name, flat(mine), ratios, {"servers": 5.0}))


async def _open_pool() -> float:
    async with ServerPool(scenarios.servers(*scenarios.FIVE_SERVERS)) as pool:
        taken_ms = await timed(lambda: pool.open(scenarios.FIVE_SERVERS))
        if not all(pool.usable(name) for name in scenarios.FIVE_SERVERS):
            raise RunFailedError(f"not all servers are ready: {pool!r}")
        return taken_ms


async def _open_by_hand() -> float:
    """Each server from a task of its own, all at once."""
    ready, close = {name: anyio.Event() for name in scenarios.FIVE_SERVERS}, anyio.Event()

    async def hold(name: str) -> None:
        async with bare_client(name):
            ready[name].set()
            await close.wait()

    async def start() -> None:
        for name in ready:
            group.start_soon(hold, name)
        for event in ready.values():
            await event.wait()

    async with anyio.create_task_group() as group:
        taken_ms = await timed(start)
        close.set()
    return taken_ms
