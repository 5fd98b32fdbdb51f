"""The client that the MCP conformance suite judges: a workflow on the server it is given.

The rule of this file: it knows `orchestrator`'s public names and nothing of the protocol. The
suite gives the server's URL as the last argument, and the scenario in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio

from orchestrator import Orchestrator, Server, Tool

SERVER = "test"
# The server of this scenario lists a tool and has none.
LISTS_ONLY = ("json-schema-ref-no-deref",)
SAMPLES: dict[str, Any] = {"number": 2, "integer": 2, "boolean": True, "array": [], "object": {}}

Workflow = dict[str, Any]


def main() -> int:
    """Run the scenario that the environment names; 0 if every call succeeded."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    return anyio.run(run, sys.argv[-1], scenario, context)


async def run(url: str, scenario: str, context: Mapping[str, Any]) -> int:
    """List the tools of the server, and call them as the scenario wants it."""
    server = Server(url=url, elicitation="defaults")
    async with Orchestrator({SERVER: server}) as orchestrator:
        tools = await orchestrator.tools(SERVER)
        if (failure := orchestrator.failure(SERVER)) is not None:
            raise failure
        workflow, inputs = plan(scenario, context, tools)
        if not workflow["tasks"]:
            return 0
        result = await orchestrator.run(workflow, inputs)
    print(json.dumps(result.to_dict(), indent=2))
    return 0 if result.status == "success" else 1


def plan(
    scenario: str, context: Mapping[str, Any], tools: Sequence[Tool]
) -> tuple[Workflow, dict[str, Any]]:
    """The workflow of a scenario and its inputs: as a rule, all tools at once."""
    calls = [(tool.name, sample(tool.input_schema)) for tool in tools]
    inputs: dict[str, Any] = {}
    if scenario in LISTS_ONLY:
        calls = []
    elif "toolCalls" in context:
        calls = [(call["name"], call["arguments"]) for call in context["toolCalls"]]
    elif scenario == "json-schema-2020-12-preservation":
        schemas = {tool.name: tool.input_schema for tool in tools}
        inputs = {"schema": schemas["json_schema_2020_12_tool"]}
        calls = [("json_schema_echo", {"schema": "$INPUT.schema"})]
    return workflow_of(scenario, calls, inputs), inputs


def workflow_of(
    scenario: str, calls: Iterable[tuple[str, dict[str, Any]]], inputs: Iterable[str]
) -> Workflow:
    """A workflow of calls that depend on nothing."""
    tasks = [
        {"id": f"call-{number}", "tool": f"{SERVER}:{name}", "arguments": arguments}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"name": scenario, "inputs": {name: {} for name in inputs}, "tasks": tasks}


def sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a tool's input schema, as far as it names types."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    return {name: SAMPLES.get(properties[name].get("type"), "text") for name in required}


if __name__ == "__main__":
    sys.exit(main())
