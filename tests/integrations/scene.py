"""What the tests of all adapters share: a server, plans of a model, and the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import Orchestrator

RUN = "parallel_execute"
PLAN: dict[str, Any] = {
    "tasks": [
        {"id": "a", "tool": "mock:double", "arguments": {"n": 2}},
        {"id": "b", "tool": "mock:double", "arguments": {"n": "$OUTPUT[a].n"}},
        {"id": "c", "tool": "mock:fail"},
    ]
}
WRONG: dict[str, Any] = {"tasks": [{"id": "a", "tool": "mock:dubble", "arguments": {"n": 2}}]}
READS: dict[str, Any] = {"tasks": PLAN["tasks"][:2]}
ASKS: dict[str, Any] = {
    "tasks": [
        {"id": "ok", "ask": {"message": "Really?"}},
        {"id": "d", "tool": "mock:double", "arguments": {"n": 2}, "depends_on": ["ok"]},
    ]
}
# What a model makes of the questions of `ASKS`: it answers them in the name of the person.
ANSWER = ("answer_question", {"run_id": "last", "task": "ok", "value": True})
SAVED: dict[str, Any] = {
    "name": "twice",
    "description": "Doubles a number",
    "inputs": {"n": {"type": "integer"}},
    "tasks": [{"id": "a", "tool": "mock:double", "arguments": {"n": "$INPUT.n"}}],
}


def named(call: Any) -> tuple[str, Any]:
    """A call of a scripted model: the tool, by default that for plans, and its arguments."""
    return call if isinstance(call, tuple) else (RUN, call)


def engine_of(calls: list[str] | None = None, journal: Path | None = None) -> Orchestrator:
    """An engine over one server, which notes its calls."""
    mock, noted = MCPServer("mock", log_level="ERROR"), calls if calls is not None else []

    @mock.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    async def double(n: int) -> dict[str, int]:
        """Doubles a number."""
        noted.append("double")
        return {"n": 2 * n}

    @mock.tool()
    async def fail() -> str:
        """Fails."""
        noted.append("fail")
        raise ToolError("no such city")

    return Orchestrator({"mock": mock}, journal=journal)


def saved_in(directory: Path) -> Path:
    """A directory with a saved workflow."""
    (directory / "twice.json").write_text(json.dumps(SAVED))
    return directory


def check_partial(text: str | dict[str, Any]) -> None:
    """What the model reads of `PLAN`: JSON, with what failed beside what did not."""
    document = json.loads(text) if isinstance(text, str) else text
    assert document["status"] == "partial", document
    assert document["tasks"]["c"]["error"]["message"].endswith("no such city")
    assert document["output"]["b"] == {"n": 8}


def check_answered(text: str | dict[str, Any]) -> None:
    """What the model reads of `ASKS` when a person has approved `ANSWER`."""
    document = json.loads(text) if isinstance(text, str) else text
    assert (document["status"], document["output"]) == ("success", {"d": {"n": 4}}), document


def check_invalid(text: str | dict[str, Any]) -> None:
    """What the model reads of `WRONG`: a finding with what is valid."""
    document = json.loads(text) if isinstance(text, str) else text
    assert document["status"] == "invalid"
    assert "double" in json.dumps(document["findings"])
