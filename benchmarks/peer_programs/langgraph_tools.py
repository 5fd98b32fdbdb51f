"""A LangGraph `StateGraph` whose nodes call tools of langchain-mcp-adapters.

As it comes, the tools of `MultiServerMCPClient.get_tools()` open a session and start a server for
each call; `kept` loads the tools on sessions that stay open.
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

Tools = dict[tuple[str, str], Any]
# Each call starts a process of some 70 MB.
AT_ONCE = 10


class State(TypedDict):
    """The results of the nodes, by call."""

    results: Annotated[dict[str, Any], or_]


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Mapping[str, Run]]:
    """The graphs, compiled once."""
    connections = {name: {**server, "transport": "stdio"} for name, server in plan.servers.items()}
    client = MultiServerMCPClient(connections, tool_name_prefix=True)
    tools: Tools = {}
    async with AsyncExitStack() as stack:
        if plan.way == "kept":
            for server in connections:
                session = await stack.enter_async_context(client.session(server))
                tools |= {(server, tool.name): tool for tool in await load_mcp_tools(session)}
        else:
            tools |= {tuple(tool.name.split("_", 1)): tool for tool in await client.get_tools()}
        options = {} if plan.way == "kept" else {"max_concurrency": AT_ONCE}
        graphs = {name: _graph(job, tools) for name, job in plan.jobs.items()}
        yield {name: partial(_run, graph, options) for name, graph in graphs.items()}


def _graph(job: Job, tools: Tools) -> Any:
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


if __name__ == "__main__":
    main(opened, lambda content: json.loads(content[0]["text"]))
