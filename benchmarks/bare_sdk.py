"""The same work by hand on the bare SDK: calls that go out at once, and five servers made ready."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack

import anyio
from mcp import Client, StdioServerParameters

from benchmarks import scenarios
from benchmarks.by_hand import sessions
from benchmarks.delays import Runner
from benchmarks.measure import Bench, Measurement, RunFailedError, Side, own_time, take_turns, timed
from benchmarks.scenarios import Document
from orchestrator import Orchestrator
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool


async def measure(names: Collection[str], bench: Bench) -> None:
    if "gather" in names:
        await _gather(bench)
    if "ready" in names:
        await _ready(bench)


def parameters(*servers: str) -> dict[str, StdioServerParameters]:
    """The programs of mock servers for the bare SDK, as the orchestrator starts them."""
    return {
        server: StdioServerParameters(**program, encoding_error_handler="replace")
        for server, program in scenarios.programs(*servers).items()
    }


async def _gather(bench: Bench) -> None:
    instant = scenarios.echoes(100 if bench.quick else 1000)
    jobs = {
        "5 x 100 ms": (scenarios.FIVE.workflow("gather"), bench.pick(60, 6)),
        "instant": (instant, bench.pick(20, 6)),
    }
    async with (
        Orchestrator(scenarios.servers("delay")) as orchestrator,
        sessions(parameters("delay")) as clients,
    ):
        client = clients["delay"]
        note = f"stdio, protocol {client.protocol_version}, one session a side"
        for job, (document, rounds) in jobs.items():
            runner = Runner(orchestrator, document)
            sides = {
                "by hand": by_hand(client, document, bench.backend),
                "orchestrator": runner.side("orchestrator", {"max_concurrency": 0}),
            }
            times = await take_turns(sides, rounds)
            for name in times:
                values = times.per_task(name, len(document["tasks"]))
                ratios = {"by_hand": times.ratio(name, "by hand")}
                variant = f"{job}: {name}"
                bench.record(Measurement("gather", variant, times.flat(name), ratios, values, note))


def by_hand(client: Client, document: Document, backend: str) -> Side:
    """The calls of a workflow of independent tasks, as one writes them without it."""
    calls = [(task["tool"].partition(":")[2], task["arguments"]) for task in document["tasks"]]

    async def gather() -> None:
        await asyncio.gather(*(client.call_tool(*call) for call in calls))

    async def task_group() -> None:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(client.call_tool, *call)

    # Users of asyncio write `gather`, which trio does not have.
    return Side(gather if backend == "asyncio" else task_group)


async def _ready(bench: Bench) -> None:
    # Servers that start at once are ten times as quick to measure, and hide nothing of our own.
    modules = ("bare",) * 5 if bench.quick else scenarios.FIVE_SERVERS
    note = "servers without an SDK" if bench.quick else ""
    sides = {"by hand": _open_by_hand(modules), "pool": _open_pool(modules)}
    # Each side returns the time to listed tools: closing the servers does not count.
    times = await take_turns(sides, bench.pick(8, 5), warm_up=bench.quick, timer=own_time)
    for name in sides:
        ratios = {"by_hand": times.ratio(name, "by hand")}
        bench.record(Measurement("ready", name, times.flat(name), ratios, {"servers": 5.0}, note))


def _open_pool(modules: Sequence[str]) -> Side:
    programs = {
        f"{module}-{n}": scenarios.programs(module)[module] for n, module in enumerate(modules)
    }
    servers = {name: Server(name=name, **program) for name, program in programs.items()}

    async def run() -> float:
        async with ServerPool(servers) as pool:
            time_ms = await timed(lambda: pool.open(list(servers)))
            if not all(map(pool.usable, servers)):
                raise RunFailedError(f"not all servers are ready: {pool!r}")
            return time_ms

    return Side(run)


def _open_by_hand(modules: Sequence[str]) -> Side:
    programs = {f"{module}-{n}": parameters(module)[module] for n, module in enumerate(modules)}

    async def run() -> float:
        opened = sessions(programs)
        async with AsyncExitStack() as stack:
            return await timed(lambda: stack.enter_async_context(opened))

    return Side(run)
