"""A LangGraph `StateGraph` whose nodes call tools of langchain-mcp-adapters.

As it comes, `MultiServerMCPClient.get_tools()` gives tools that open a session for each call, with
a server program of its own; `kept` loads the tools on sessions that stay open.

The rule of this file: graphs and tools as the documentation of both packages has them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from operator import or_
from typing import Annotated, Any, TypedDict

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.graph import END, START, StateGraph

from benchmarks.peer_programs.conversation import Call, Job, Plan, Run, main

Tools = Mapping[tuple[str, str], Any]

AT_ONCE = 10
"""Servers that are started at once at most, as it comes: each call is a process of some 70 MB."""


class State(TypedDict):
    """What the nodes have given, by call."""

    results: Annotated[dict[str, Any], or_]


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The graphs, compiled once."""
    connections = {name: {**given, "transport": "stdio"} for name, given in plan.servers.items()}
    client = MultiServerMCPClient(connections, tool_name_prefix=True)
    kept = plan.way == "kept"
    async with AsyncExitStack() as stack:
        tools = await (_on_sessions(client, stack) if kept else _as_it_comes(client))
        options = {} if kept else {"max_concurrency": AT_ONCE}
        graphs = {name: _graph(job, tools) for name, job in plan.jobs.items()}
        yield {name: partial(_run, graph, options) for name, graph in graphs.items()}


async def _on_sessions(client: Any, stack: AsyncExitStack) -> Tools:
    """The tools of all servers, on sessions that stay open."""
    tools: dict[tuple[str, str], Any] = {}
    for server in client.connections:
        session = await stack.enter_async_context(client.session(server))
        tools |= {(server, tool.name): tool for tool in await load_mcp_tools(session)}
    return tools


async def _as_it_comes(client: Any) -> Tools:
    """The tools of all servers: each of their calls opens a session."""
    return {tuple(tool.name.split("_", 1)): tool for tool in await client.get_tools()}


def _graph(job: Job, tools: Tools) -> Any:
    """A node for each call, and an edge for each need."""
    graph = StateGraph(State)
    for call in job:
        graph.add_node(call.id, _node(call, tools))
    needed = {name for call in job for name in call.needs}
    for call in job:
        graph.add_edge(list(call.needs) or START, call.id)
        if call.id not in needed:
            graph.add_edge(call.id, END)
    return graph.compile()


def _node(call: Call, tools: Tools) -> Callable[[State], Awaitable[State]]:
    tool = tools[call.server, call.tool]

    async def node(_state: State) -> State:
        return {"results": {call.id: await tool.ainvoke(call.arguments)}}

    return node


async def _run(graph: Any, options: dict[str, Any]) -> Mapping[str, Any]:
    state = await graph.ainvoke({"results": {}}, options)
    results: Mapping[str, Any] = state["results"]
    return results


def value(content: Any) -> Any:
    """The content of a tool is a text block, which is JSON."""
    [block] = content
    return json.loads(block["text"])


if __name__ == "__main__":
    main(opened, value)
