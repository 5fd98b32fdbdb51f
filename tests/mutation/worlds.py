"""The original workflows, their tools, and what answers the calls in this process.

The six examples run on the mock servers; recorded plans, where they are installed, run on tools
whose schemas are derived from the recorded calls. Each world exists twice: with schemas that are
open for undeclared names, as pydantic writes them, and closed, as TypeScript and Go servers do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult
from mcp.types import Tool as McpTool

from mock_servers import delay, keyvalue, news, numbers, text, weather
from mock_servers.faulty import Faulty
from mock_servers.wire import RpcError
from orchestrator import Lockfile, Orchestrator, Server, Workflow, WorkflowError
from orchestrator.documents.parse import read_document
from orchestrator.errors import CallError, Problem
from orchestrator.schema.tool import Tool
from orchestrator.servers.sdk_results import as_sent, output_of
from tests.mutation.documents import Document, Site, sites_in, texts
from tests.mutation.schemas import closed, derive

ROOT = Path(__file__).parents[2]
PLANS = ROOT.parent / "shared" / "cases" / "plans"

Answer = Callable[[str, str, dict[str, Any]], Awaitable[Any]]
"""Answers a call of a task, given the task, `server:tool` and the arguments."""
Results = Mapping[str, tuple[str, Any]]
"""By task, the tool that was recorded and its result."""

# The tools of `faulty` that answer in this process; the others would end or stop it.
_HARMLESS = frozenset({"echo", "delay", "fail", "flaky", "append", "appended", "listings", "now"})


class _Lock(Lockfile):
    """A lock that gives the same tools each time, so that their schemas are read once."""

    @cached_property
    def _tools(self) -> dict[str, dict[str, Tool]]:
        return {server: super(_Lock, self).of(server) for server in self.definitions}

    def of(self, server: str) -> dict[str, Tool]:
        return self._tools.get(server, {})


@dataclass(frozen=True)
class World:
    """Tools, and what answers them.

    Attributes:
        name: For the counts.
        tools: The tools by `server:tool`.
        answers: Makes what answers the calls of one run, given the results of its workflow.
        is_closed: Whether the schemas forbid undeclared names.
    """

    name: str
    tools: Mapping[str, Tool]
    answers: Callable[[Results], Answer]
    is_closed: bool = False

    def closed(self) -> World:
        """The same tools with closed schemas."""
        tools = {
            name: replace(
                tool,
                input_schema=closed(tool.input_schema),
                output_schema=closed(tool.output_schema),
            )
            for name, tool in self.tools.items()
        }
        return World(f"{self.name}, closed", tools, self.answers, is_closed=True)

    @cached_property
    def _checker(self) -> Orchestrator:
        servers = {tool.server: Server(command="never started") for tool in self.tools.values()}
        return Orchestrator(servers, _Lock.made_of(self.tools.values()))

    async def check(self, document: Document) -> list[Problem]:
        """What `orchestrator validate` finds, with these tools in its lock file."""
        try:
            return await self._checker.findings(document)
        except WorkflowError as error:
            return list(error.problems)


@dataclass(frozen=True)
class Original:
    """A valid workflow, its tools and its recorded results."""

    name: str
    document: Document
    world: World
    results: Results = field(default_factory=dict)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the tasks."""
        return [task["id"] for task in self.document["tasks"]]

    @cached_property
    def sites(self) -> list[Site]:
        """The references to tasks and inputs, in the order of the file."""
        return [site for path, text in texts(self.document) for site in sites_in(text, path)]

    @cached_property
    def graph(self) -> Any:
        """The networkx graph of its tasks."""
        return Workflow.load(self.document).plan.graph

    def source(self, task: str) -> Any:
        """The output schema of a task."""
        return source_of(self.document["tasks"][self.ids.index(task)], self.world.tools)


def source_of(task: Mapping[str, Any], tools: Mapping[str, Tool]) -> Any:
    """The schema of the output of a task; empty if nothing is known about it."""
    tool = tools.get(task["tool"])
    if tool is None or tool.output_schema is None or "fallback" in task:
        return {}
    schema = tool.output_schema
    if task.get("for_each") is None:
        return schema
    return {"$defs": schema.get("$defs", {}), "type": "array", "items": schema}


async def originals(plans: Path = PLANS) -> list[Original]:
    """All original workflows, each with open and with closed schemas.

    Args:
        plans: The folder of recorded plans, files of JSON lines; it may be missing.
    """
    read = {path.stem: read_document(path) for path in sorted((ROOT / "examples").glob("*.*"))}
    # A mutant has no folder, in which a file that it names would be.
    alone = {name: each for name, each in read.items() if all("tool" in t for t in each["tasks"])}
    examples = [{"name": name, **each} for name, each in alone.items()]
    cases = [
        json.loads(line)
        for path in sorted(plans.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    found: list[Original] = []
    mock, record = await mocked(), recorded(cases)
    for world in (mock, mock.closed()):
        found += [Original(each["name"], each, world) for each in examples]
    for world in (record, record.closed()):
        found += [_original(case, world) for case in cases]
    return found


# Recorded plans.


def _original(case: Mapping[str, Any], world: World) -> Original:
    document = {name: case[name] for name in ("name", "tasks", "output") if name in case}
    results = case["expected"]["results"]
    own = {task["id"]: (task["tool"], results[task["id"]]) for task in case["tasks"]}
    return Original(case["name"], document, world, own)


def recorded(cases: Iterable[Mapping[str, Any]]) -> World:
    """The tools of recorded plans: schemas of the values recorded, and the recorded results.

    A call is answered with the result of the same arguments, else with that of its task, else with
    what the tool answered in its plan, else with what it answered first.
    """
    calls: dict[str, list[tuple[Any, Any]]] = {}
    for case in cases:
        expected = case["expected"]
        for task in case["tasks"]:
            call = expected["resolved_arguments"][task["id"]], expected["results"][task["id"]]
            calls.setdefault(task["tool"], []).append(call)
    exact = {(target, _key(a)): result for target, made in calls.items() for a, result in made}

    def answers(own: Results) -> Answer:
        by_tool = dict(own.values())

        async def answer(task: str, target: str, arguments: dict[str, Any]) -> Any:
            tool, result = own.get(task, ("", None))
            if tool != target:
                result = by_tool.get(target, calls[target][0][1])
            return exact.get((target, _key(arguments)), result)

        return answer

    tools = {target: _derived(target, made) for target, made in calls.items()}
    return World("recorded plans", tools, answers)


def _key(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


def _derived(target: str, calls: list[tuple[Any, Any]]) -> Tool:
    server, _, name = target.partition(":")
    results = derive([result for _, result in calls])
    return Tool(
        server,
        name,
        derive([arguments for arguments, _ in calls]),
        output_schema=results if results.get("type") == "object" else None,
        read_only=True,
        idempotent=True,
    )


# The mock servers.


def _servers() -> dict[str, MCPServer]:
    modules = {"weather": weather, "news": news, "numbers": numbers, "text": text, "delay": delay}
    return {
        **{name: module.server for name, module in modules.items()},
        "keyvalue": keyvalue.make_server(),
    }


async def mocked() -> World:
    """The tools of the mock servers, which answer in this process."""
    listed = [(name, t) for name, server in _servers().items() for t in await server.list_tools()]
    listed += [("faulty", McpTool.model_validate(tool.describe())) for tool in Faulty().tools]
    tools = [_tool(server, tool) for server, tool in listed]
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
    servers = _servers()
    functions = {tool.name: tool for tool in Faulty().tools if tool.name in _HARMLESS}

    async def answer(_task: str, target: str, arguments: dict[str, Any]) -> Any:
        server, _, tool = target.partition(":")
        if server == "faulty" and tool not in functions:
            raise CallError("server_unavailable", f"{target} would end or stop the server")
        try:
            if server == "faulty":
                result = CallToolResult.model_validate(await functions[tool].call(arguments))
            else:
                called = await servers[server].call_tool(tool, arguments)
                result = cast("CallToolResult", called)
        except RpcError as error:
            raise CallError("protocol_error", str(error)) from error
        except ToolError as error:
            raise CallError("tool_error", str(error)) from error
        return output_of(as_sent(result), target)

    return answer
