"""Workflows learned from runs that a journal keeps."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import JournalError, Orchestrator, RunResult, WorkflowError
from orchestrator.authoring.kept_runs import transcript_of
from orchestrator.authoring.learn import learn
from orchestrator.cli import main
from orchestrator.journal.journal import Journal
from orchestrator.serve.toolset import Toolset


@pytest.fixture
def servers() -> dict[str, Any]:
    mcp, turns = MCPServer("shop"), iter(range(1, 100))
    reads = ToolAnnotations(read_only_hint=True)

    @mcp.tool(annotations=reads)
    async def search(query: str) -> dict[str, Any]:
        return {"items": [{"id": f"sku-{n}", "query": query} for n in (1, 2, 3)]}

    @mcp.tool(annotations=reads)
    async def stock(sku: str) -> dict[str, Any]:
        if sku == "sku-9":
            raise ToolError("no such thing")
        return {"left": f"{sku} is left"}

    @mcp.tool()
    async def order(sku: str, note: str = "") -> str:
        return f"order of {sku} {note}"

    @mcp.tool(annotations=reads)
    async def poll() -> dict[str, int]:
        return {"turn": next(turns)}

    @mcp.resource("shop://terms")
    async def terms() -> str:
        return "no returns"

    return {"shop": mcp}


def task(name: str, tool: str, /, **more: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"shop:{tool}", **more}


INNER = {"inputs": {"sku": True}, "tasks": [task("s", "stock", arguments={"sku": "$INPUT.sku"})]}
NOTE = "${OUTPUT[each][0].left} $OUTPUT[sure]"
PLAN = {
    "name": "w",
    "inputs": {"what": True},
    "tasks": [
        task("find", "search", arguments={"query": "$INPUT.what"}),
        {"id": "ids", "value": "${OUTPUT[find].items[*].id}"},
        task("each", "stock", for_each="$OUTPUT[ids]", arguments={"sku": "$ITEM"}),
        {"id": "in", "workflow": INNER, "arguments": {"sku": "$OUTPUT[ids][1]"}},
        task(
            "broken",
            "stock",
            arguments={"sku": "sku-9"},
            fallback={"tool": "shop:order", "arguments": {"sku": "instead"}},
        ),
        task("wait", "poll", repeat={"until": "LAST.turn >= `2`", "max_times": 5}),
        task("never", "poll", when="`false`"),
        {"id": "sure", "ask": {"message": "Sure?"}, "depends_on": ["each"]},
        task("buy", "order", arguments={"sku": "$OUTPUT[ids][0]", "note": NOTE}, approve=True),
    ],
}


def ran(servers: Any, journal: Any, plan: Any, *, reply: bool = True, **inputs: Any) -> RunResult:
    """How a run has ended that a journal keeps; `reply` answers its questions."""
    orchestrator = Orchestrator(servers, journal=journal, answer=lambda _: reply)
    return orchestrator.run_sync(plan, inputs)


def test_the_calls_of_a_run_are_those_that_it_made(servers: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    assert ran(servers, path, PLAN, what="red shoes").status == "success"
    found = transcript_of(path, ["last"])
    made = [(call.tool.partition(":")[2], dict(call.arguments)) for call in found.calls]
    expected = [
        ("search", {"query": "red shoes"}),
        *(("stock", {"sku": f"sku-{n}"}) for n in (1, 2, 2, 3)),
        ("order", {"sku": "instead"}),
        ("poll", {}),
        ("poll", {}),
        ("order", {"sku": "sku-1", "note": "sku-1 is left true"}),
    ]
    assert sorted(made, key=str) == sorted(expected, key=str)
    assert made.index(expected[0]) < made.index(("stock", {"sku": "sku-2"}))
    assert made[-1] == expected[-1]
    turns = [call.result for call in found.calls if call.tool == "shop:poll"]
    assert turns == [{"turn": 1}, {"turn": 2}]
    assert found.failed == ["shop:stock"]
    assert found.annotations["shop:search"] == {"readOnlyHint": True}
    assert found.annotations["shop:order"] == {"readOnlyHint": False}


async def serve(servers: dict[str, Any], path: Path) -> None:
    """What an agent does: each answer is read, and its values are written into the next call."""
    async with Orchestrator(servers, journal=path) as orchestrator:
        toolset = Toolset(orchestrator, single_tools=True)
        await toolset.tools()
        (search,) = [name for name in toolset.known.single() if name.endswith("search")]
        await toolset.call(search, {"query": "red shoes"})
        seen = [task(f"s{n}", "stock", arguments={"sku": f"sku-{n}"}) for n in (1, 2, 3)]
        await toolset.call("parallel_execute", {"tasks": seen})
        order = task("o", "order", arguments={"sku": "sku-3", "note": "sku-1 is left"})
        await toolset.call("parallel_execute", {"tasks": [order]})


def test_what_an_agent_did_through_the_tools_of_serve_becomes_one_workflow(
    servers: dict[str, Any], tmp_path: Path
) -> None:
    path, began = tmp_path / "runs.db", time.time()
    anyio.run(serve, servers, path)
    learned = learn(transcript_of(path, since=began))
    assert learned.unproved == []
    assert learned.workflow["tasks"] == [
        {"id": "search", "tool": "shop:search", "arguments": {"query": "$INPUT.query"}},
        {
            "id": "stock",
            "tool": "shop:stock",
            "for_each": "$OUTPUT[search].items",
            "arguments": {"sku": "$ITEM.id"},
        },
        {
            "id": "order",
            "tool": "shop:order",
            "arguments": {"sku": "$OUTPUT[search].items[2].id", "note": "$OUTPUT[stock][0].left"},
        },
    ]


def test_what_no_workflow_repeats_is_named(servers: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    read = {"id": "r", "read": "shop:shop://terms"}
    ran(servers, path, {"tasks": [read, task("a", "poll"), task("b", "poll")]})
    with sqlite3.connect(path) as db:
        db.execute("delete from record where path='b'")  # a crash before it was answered
    found = transcript_of(path, ["last"])
    assert [call.tool for call in found.calls] == ["shop:poll"]
    assert sorted(found.failed) == ["shop:poll", "shop:shop://terms"]


def test_refused_and_missing_runs_say_so(servers: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    plan = {"tasks": [task("a", "order", arguments={"sku": "x"}, approve=True)]}
    ran(servers, path, plan, reply=False)
    with pytest.raises(WorkflowError, match="no call that succeeded in 1 run"):
        transcript_of(path, ["last"])
    ran(servers, path, {"tasks": [{"id": "v", "value": 1}]})
    with pytest.raises(WorkflowError, match="no call that succeeded in 1 run"):
        transcript_of(path, ["last"])
    with pytest.raises(JournalError, match="unknown run"):
        transcript_of(path, ["f00"])
    ran(servers, Journal(path, outputs=False), {"tasks": [task("a", "poll")]})
    with pytest.raises(JournalError, match="no outputs of run"):
        transcript_of(path, ["last"])


def test_the_command_learns_from_runs(
    servers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, to = tmp_path / "runs.db", tmp_path / "plan.json"
    ran(servers, path, {"tasks": [task("a", "order", arguments={"sku": "Red one"})]})
    journal = ["--journal", str(path)]
    assert main(["learn", "--run", "last", "-o", str(to), *journal]) == 0
    assert json.loads(to.read_text())["inputs"]["sku"]["default"] == "Red one"
    assert main(["learn", "--since", "1h", *journal]) == 0
    assert "proved" in capsys.readouterr().err


@pytest.mark.parametrize("given", [(), ("x.jsonl", "--run", "last")])
def test_calls_come_from_a_file_or_from_runs(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", *given]) == 2
    assert "expected a FILE of calls, or runs with --run or --since" in capsys.readouterr().err
