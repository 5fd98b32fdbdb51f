"""The same work by hand on the bare SDK: calls that go out at once, and servers made ready at once.

The rule of this file: the hand-written side is what a good user of `mcp` would write. Each side has
one session with a server program of its own, of the same kind, in the same protocol mode, with its
tools listed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult

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

LIMIT = 10
"""The calls in flight where both sides are limited; the default of a workflow."""

ToolCall = Callable[[str, dict[str, Any]], Coroutine[Any, Any, object]]
Gather = Callable[[ToolCall, Sequence[tuple[str, dict[str, Any]]]], Awaitable[object]]


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
    """Calls that take their time, calls that come back at once, and those under one limit."""
    five = scenarios.FIVE.workflow("gather")
    instant = scenarios.echoes(200 if settings.quick else 1000)
    few, many = settings.pick(20, 5), settings.pick(60, 10)
    servers = scenarios.servers("delay")
    async with Orchestrator(servers) as orchestrator, bare_client("delay") as client:
        by_hand = ByHand(client, settings.backend)
        for variant, document, limit, rounds in (
            ("5 x 100 ms", five, 0, many),
            ("instant", instant, 0, few),
            *([] if settings.quick else [("instant, 10 at once", instant, LIMIT, few)]),
        ):
            sides = _sides(Runner(orchestrator, document), by_hand, document, limit)
            if settings.quick:
                del sides["by hand, unchecked"]
            times = await take_turns(sides, rounds)
            for name, mine in times.items():
                label, tasks = f"{variant}: {name}", len(document["tasks"])
                tell(_measurement(label, mine, times["by hand"], tasks, client.protocol_version))


def _sides(runner: Runner, by_hand: ByHand, document: Document, limit: int) -> dict[str, Side]:
    return {
        "by hand": by_hand.side(by_hand.client.call_tool, document, limit),
        "by hand, unchecked": by_hand.side(by_hand.request, document, limit),
        "orchestrator": runner.side("orchestrator", {"max_concurrency": limit}),
    }


def _measurement(
    variant: str, mine: Rounds, by_hand: Rounds, tasks: int, protocol: str
) -> Measurement:
    ratios = {} if mine is by_hand else {"by_hand": paired(mine, by_hand)}
    values = {"tasks": float(tasks)}
    if variant.startswith("instant"):
        values["per_task_us"] = median(flat(mine)) * 1000 / tasks
    note = f"stdio, protocol {protocol}, one session a side"
    return Measurement("gather", variant, flat(mine), ratios, values, note)


class ByHand:
    """The calls of a workflow of independent tasks, as one would write them without it.

    Args:
        client: The session they are made on.
        backend: The event loop; `asyncio.gather` is used where there is one.
    """

    def __init__(self, client: Client, backend: str) -> None:
        self.client = client
        self._gather: Gather = _gather_on_asyncio if backend == "asyncio" else _gather_on_any

    def side(self, call: ToolCall, document: Document, limit: int) -> Side:
        """The calls, all at once or so many at a time."""
        calls = [(task["tool"].partition(":")[2], task["arguments"]) for task in document["tasks"]]
        slots = anyio.Semaphore(limit)

        async def call_in_slot(tool: str, arguments: dict[str, Any]) -> None:
            async with slots:
                await call(tool, arguments)

        async def run() -> None:
            await self._gather(call_in_slot if limit else call, calls)

        return Side(run)

    async def request(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """A call below `call_tool`: the result is not checked against the tool's output schema."""
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        return await self.client.session.send_request(request, CallToolResult)


async def _gather_on_asyncio(call: ToolCall, calls: Sequence[tuple[str, dict[str, Any]]]) -> None:
    await asyncio.gather(*(call(tool, arguments) for tool, arguments in calls))


async def _gather_on_any(call: ToolCall, calls: Sequence[tuple[str, dict[str, Any]]]) -> None:
    async with anyio.create_task_group() as group:
        for tool, arguments in calls:
            group.start_soon(call, tool, arguments)


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
