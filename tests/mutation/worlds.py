"""The tools that the workflows call, and what they answer: recorded results, or the mock servers.

The rule of this file: a world has the tools with their schemas, and answers calls in this process;
no program is started. Nothing is judged here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ListToolsResult, ToolAnnotations
from mcp.types import Tool as McpTool

from mock_servers import delay, keyvalue, news, numbers, text, weather
from mock_servers.faulty import Faulty
from mock_servers.wire import RpcError
from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.errors import CallError
from orchestrator.schema.tool import Tool
from orchestrator.servers.sdk_results import output_of
from tests.mutation.derived import closed, derive

Answer = Caller
Results = Mapping[str, tuple[str, Any]]
"""By task, the tool that was called and what it answered."""
Case = Mapping[str, Any]

# The tools of `faulty` that answer in this process; the others would end or stop it.
_HARMLESS = frozenset({"echo", "delay", "fail", "flaky", "append", "appended", "listings", "now"})


@dataclass(frozen=True)
class World:
    """Tools, and what answers them.

    Attributes:
        name: For the tables.
        tools: The tools by `server:tool`.
        answers: Makes what answers the calls of one run, of the recorded results of its workflow
            by task; what it makes may remember the calls.
        is_closed: Whether its schemas forbid what they do not declare.
    """

    name: str
    tools: Mapping[str, Tool]
    answers: Callable[[Results], Answer]
    is_closed: bool = False

    def closed(self) -> World:
        """The same, with schemas that forbid what they do not declare."""
        tools = {
            name: replace(
                tool,
                input_schema=closed(tool.input_schema),
                output_schema=closed(tool.output_schema),
            )
            for name, tool in self.tools.items()
        }
        return World(f"{self.name}, closed", tools, self.answers, is_closed=True)

    def servers(self) -> dict[str, Server[Any]]:
        """MCP servers that list the tools, for a checker that asks."""
        by_server: dict[str, list[Tool]] = {}
        for tool in self.tools.values():
            by_server.setdefault(tool.server, []).append(tool)
        return {name: _lister(name, tools) for name, tools in by_server.items()}


def _lister(name: str, tools: Iterable[Tool]) -> Server[Any]:
    listed = ListToolsResult(tools=[_described(tool) for tool in tools])

    async def list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return listed

    return Server(name, version="1", on_list_tools=list_tools)


def _described(tool: Tool) -> McpTool:
    output = tool.output_schema
    return McpTool(
        name=tool.name,
        input_schema=dict(tool.input_schema),
        output_schema=None if output is None else dict(output),
        annotations=ToolAnnotations(read_only_hint=tool.read_only, idempotent_hint=tool.idempotent),
    )


# Recorded plans: their tools are those that were called, with what was seen of them.


def recorded(cases: Iterable[Case]) -> World:
    """The tools of recorded plans: open schemas of what was seen, and the recorded results."""
    calls: dict[str, list[tuple[Any, Any]]] = {}
    for case in cases:
        expected = case["expected"]
        for task in case["tasks"]:
            call = expected["resolved_arguments"][task["id"]], expected["results"][task["id"]]
            calls.setdefault(task["tool"], []).append(call)
    tools = {target: _derived(target, made) for target, made in calls.items()}
    exact = {(target, _key(a)): result for target, made in calls.items() for a, result in made}
    first = {target: made[0][1] for target, made in calls.items()}

    def answers(own: Results) -> Answer:
        by_tool = dict(own.values())

        async def answer(call: Call, _: Attempt) -> Any:
            target = f"{call.server}:{call.tool}"
            tool, result = own.get(call.task, ("", None))
            made_up = result if tool == target else by_tool.get(target, first[target])
            return exact.get((target, _key(call.arguments)), made_up)

        return answer

    return World("recorded plans", tools, answers)


def _key(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


def _derived(target: str, calls: list[tuple[Any, Any]]) -> Tool:
    server, _, name = target.partition(":")
    results = derive([result for _, result in calls])
    output = results if results.get("type") == "object" else None
    return Tool(
        server,
        name,
        derive([arguments for arguments, _ in calls]),
        output_schema=output,
        read_only=True,
        idempotent=True,
    )


# The examples: the tools are those of the mock servers, and so are the answers.


def _mcp_servers() -> dict[str, MCPServer]:
    return {
        "weather": weather.server,
        "news": news.server,
        "numbers": numbers.server,
        "text": text.server,
        "delay": delay.server,
        "keyvalue": keyvalue.make_server(),
    }


async def mock() -> World:
    """The tools of the mock servers, as they list them."""
    tools: list[Tool] = []
    for server, made in _mcp_servers().items():
        tools += [_tool(server, listed) for listed in await made.list_tools()]
    for each in Faulty().tools:
        tools.append(_tool("faulty", McpTool.model_validate(each.describe())))
    return World("examples", {tool.target: tool for tool in tools}, _mock_answers)


def _tool(server: str, listed: McpTool) -> Tool:
    notes = listed.annotations
    return Tool(
        server,
        listed.name,
        listed.input_schema,
        output_schema=listed.output_schema,
        read_only=notes.read_only_hint if notes else None,
        idempotent=notes.idempotent_hint if notes else None,
    )


def _mock_answers(_own: Results) -> Answer:
    servers, faulty = _mcp_servers(), Faulty()
    functions = {each.name: each for each in faulty.tools if each.name in _HARMLESS}

    async def answer(call: Call, _: Attempt) -> Any:
        target = f"{call.server}:{call.tool}"
        if call.server != "faulty":
            return output_of(await _called(servers[call.server], call), target)
        if call.tool not in functions:
            raise CallError("server_unavailable", f"{target} would end or stop the server")
        try:
            result = await functions[call.tool].call(call.arguments)
        except RpcError as error:
            raise CallError("protocol_error", str(error)) from error
        return output_of(CallToolResult.model_validate(result), target)

    return answer


async def _called(server: MCPServer, call: Call) -> CallToolResult:
    try:
        return cast("CallToolResult", await server.call_tool(call.tool, call.arguments))
    except ToolError as error:
        raise CallError("tool_error", str(error)) from error
