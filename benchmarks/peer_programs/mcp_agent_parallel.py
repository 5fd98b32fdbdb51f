"""The fan-out of mcp-agent's parallel workflow over functions that call tools; no model is asked.

Its `ParallelLLM` ends with a model; `FanOut`, the part of it that works in parallel, also takes
functions. These call tools through an `MCPAggregator` with persistent connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp_agent.app import MCPApp
from mcp_agent.config import LoggerSettings, MCPServerSettings, MCPSettings, Settings
from mcp_agent.mcp.mcp_aggregator import MCPAggregator
from mcp_agent.workflows.parallel.fan_out import FanOut

from benchmarks.peer_programs.conversation import Call, Plan, Run, layers, main


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The jobs, with a fan-out for each layer."""
    servers = {name: MCPServerSettings(**server) for name, server in plan.servers.items()}
    settings = Settings(
        execution_engine="asyncio",
        logger=LoggerSettings(type="none"),
        mcp=MCPSettings(servers=servers),
    )
    async with (
        MCPApp(name="peers", settings=settings).run() as app,
        MCPAggregator(list(servers), connection_persistence=True, context=app.context) as tools,
    ):

        def fan_out(layer: Sequence[Call]) -> Any:
            functions = [_function(call, tools) for call in layer]
            return FanOut(functions=functions, context=app.context)

        yield {
            name: partial(_run, [fan_out(layer) for layer in layers(job)])
            for name, job in plan.jobs.items()
        }


def _function(call: Call, tools: Any) -> Callable[[str], Awaitable[Any]]:
    async def function(_message: str) -> Any:
        return await tools.call_tool(f"{call.server}_{call.tool}", call.arguments)

    function.__name__ = call.id  # by which FanOut names the result
    return function


async def _run(fan_outs: Sequence[Any]) -> Mapping[str, Any]:
    results: dict[str, Any] = {}
    for fan_out in fan_outs:
        results |= await fan_out.generate("go")
    return results


def value(result: Any) -> Any:
    # FanOut returns the exception of a function that failed as its result.
    if isinstance(result, BaseException):
        raise result
    return result.structuredContent


if __name__ == "__main__":
    main(opened, value)
