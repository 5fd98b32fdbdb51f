"""The tools for models, in process: what they answer to plans, mistakes and questions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import jsonschema_rs
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import Orchestrator
from orchestrator.serve.answers import Answer
from orchestrator.serve.definitions import engine_tools
from orchestrator.serve.inline import size_of
from orchestrator.serve.results import OUTPUT_SCHEMA
from orchestrator.serve.toolset import Toolset
from orchestrator.servers.pool import ServerPool

pytestmark = pytest.mark.anyio


def make_server() -> MCPServer:
    server = MCPServer("mock", log_level="WARNING")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    async def double(n: int) -> dict[str, int]:
        """Doubles a number."""
        return {"n": 2 * n}

    @server.tool()
    async def refuse(why: str) -> str:
        """Fails with a reason."""
        raise ToolError(why)

    @server.tool()
    async def rows(count: int) -> list[dict[str, Any]]:
        """Lists many rows of a table."""
        return [{"id": n, "text": "x" * 90} for n in range(count)]

    @server.tool()
    async def wait_for_ever() -> None:
        """Never ends."""
        await anyio.sleep_forever()

    return server


@asynccontextmanager
async def opened(tmp_path: Path | None = None, **options: Any) -> AsyncIterator[Toolset]:
    journal = None if tmp_path is None else tmp_path / "runs.db"
    async with Orchestrator({"mock": make_server()}, journal=journal) as engine:
        yield Conforming(engine, **options)


OF_ENGINE = {tool.name: tool.output_schema for tool in engine_tools("")}
OF_RUNS = {name for name, schema in OF_ENGINE.items() if schema is OUTPUT_SCHEMA}


class Conforming(Toolset):
    """Has clients that hold each answer against the schema that its tool declares."""

    async def call(self, name: str, *given: Any, **options: Any) -> Answer:
        answer = await super().call(name, *given, **options)
        schemas = OF_ENGINE | {each.name: each.output_schema for each in await self.tools(wait_s=0)}
        if (schema := schemas.get(name)) is not None and (name in OF_RUNS or not answer.is_error):
            jsonschema_rs.validate(dict(schema), answer.document)
        return answer


def task(name: str, tool: str, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"mock:{tool}", "arguments": arguments}


TWO = [task("a", "double", n=2), task("b", "double", n="$OUTPUT[a].n")]


async def test_a_single_tool_can_be_called_before_its_server_is_known() -> None:
    async with Orchestrator({"mock": make_server()}) as engine:
        toolset = Toolset(engine, single_tools=True)  # and nobody has asked for its tools
        assert (await toolset.call("mock__double", {"n": 2})).document == {"n": 4}
        failed = (await toolset.call("mock__refuse", {"why": "no"})).document
        assert (failed["status"], failed.get("error")) == ("failed", None)
        assert failed["tasks"]["call"]["error"]["message"].endswith("no")
        found = (await toolset.call("mock__dubble", {})).document["findings"]
        assert found[0]["alternatives"] == ["mock__double"]


async def test_a_plan_gives_its_result() -> None:
    async with opened() as toolset:
        answer = await toolset.call("parallel_execute", {"tasks": TWO})
        assert not answer.is_error
        assert answer.document["status"] == "success"
        assert answer.document["output"] == {"b": {"n": 8}}
        assert answer.document["tasks"]["a"] == {"status": "success", "output": {"n": 4}}
        assert answer.result is not None
        assert answer.result["b"].output == {"n": 8}


async def test_outputs_of_a_plan_with_an_output_do_not_pass_the_model() -> None:
    async with opened() as toolset:
        plan = {"tasks": TWO, "output": "$OUTPUT[b].n"}
        answer = await toolset.call("parallel_execute", {"plan": json.dumps(plan)})
        assert answer.document["output"] == 8
        assert answer.document["tasks"] == {"a": {"status": "success"}, "b": {"status": "success"}}


async def test_a_request_for_oktyv_is_a_plan() -> None:
    tasks = [{"id": "a", "tool": "mock:double", "params": {"n": 1}, "timeout": 9000}]
    config = {"maxConcurrent": 2, "continueOnError": True}
    async with opened() as toolset:
        answer = await toolset.call("parallel_execute", {"tasks": tasks, "config": config})
        assert answer.document["output"] == {"a": {"n": 2}}


async def test_a_failure_in_part_is_no_error_and_a_whole_one_is() -> None:
    wrong = task("c", "refuse", why="no such city")
    async with opened() as toolset:
        answer = await toolset.call("parallel_execute", {"tasks": [*TWO, wrong]})
        assert (answer.document["status"], answer.is_error) == ("partial", False)
        assert answer.document["tasks"]["b"]["output"] == {"n": 8}
        error = answer.document["tasks"]["c"]["error"]
        assert (error["kind"], "no such city" in error["message"]) == ("tool_error", True)
        answer = await toolset.call("parallel_execute", {"tasks": [wrong]})
        assert (answer.document["status"], answer.is_error) == ("failed", True)


@pytest.mark.parametrize("tool", ["parallel_execute", "validate_plan"])
async def test_a_wrong_plan_gives_findings_that_say_what_is_valid(tool: str) -> None:
    async with opened() as toolset:
        answer = await toolset.call(tool, {"tasks": [task("a", "dubble", n=1)]})
        assert answer.document["status"] == "invalid"
        (found,) = answer.document["findings"]
        assert (found["code"], found["task"]) == ("unknown_tool", "a")
        assert found["alternatives"] == ["double"]
        assert found["path"] == "/tasks/0/tool"
        assert answer.is_error is (tool == "parallel_execute")


async def test_a_plan_that_is_proved_wrong_calls_nothing() -> None:
    wrong = task("c", "double", n="two")
    async with opened() as toolset:
        answer = await toolset.call("parallel_execute", {"tasks": [TWO[0], wrong]})
        assert (answer.is_error, answer.document["status"]) == (True, "invalid")
        assert [each["code"] for each in answer.document["findings"]] == ["wrong_argument"]
        checked = await toolset.call("validate_plan", {"tasks": [TWO[0], wrong]})
        assert (
            checked.document["findings"][0]["message"] == answer.document["findings"][0]["message"]
        )


async def test_validation_proves_types_and_calls_nothing() -> None:
    async with opened() as toolset:
        wrong = task("c", "double", n="two")
        answer = await toolset.call("validate_plan", {"tasks": [TWO[0], wrong]})
        assert [each["code"] for each in answer.document["findings"]] == ["wrong_argument"]
        answer = await toolset.call("validate_plan", {"tasks": TWO})
        assert answer.document == {"status": "valid", "findings": []}


@pytest.mark.parametrize(
    "plan", [{}, {"plan": 3}, {"plan": "{"}, {"tasks": "["}, {"tasks": []}, {"tasks": [3]}]
)
async def test_a_plan_of_any_kind_is_answered(plan: dict[str, Any]) -> None:
    async with opened() as toolset:
        answer = await toolset.call("parallel_execute", plan)
        assert answer.is_error
        assert answer.document["findings"]


async def test_giving_up_a_call_cancels_its_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset:
        async with anyio.create_task_group() as group:
            plan = {"tasks": [task("a", "wait_for_ever")]}
            group.start_soon(toolset.call, "parallel_execute", plan)
            while not (active := list(toolset.runs.active)):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert not toolset.runs.active
        status = await toolset.call("run_status", {"run_id": active[0]})
        assert status.document["status"] == "cancelled"


async def test_tools_are_found_by_words_in_three_levels_of_detail() -> None:
    async with opened() as toolset:
        named = await toolset.call("find_tools", {"query": "many rows", "detail": "name"})
        assert named.document == {"tools": [{"tool": "mock:rows"}], "total": 1}
        summary = await toolset.call("find_tools", {"query": "numbers"})
        (found,) = summary.document["tools"]
        assert found["signature"].startswith("mock:double(n: integer)")
        assert found["marks"] == ["read-only"]
        full = await toolset.call("find_tools", {"query": "double", "detail": "full"})
        assert full.document["tools"][0]["inputSchema"]["properties"]["n"]
        page = await toolset.call("find_tools", {"limit": 1, "server": "mock"})
        assert (page.document["total"], page.document["next_offset"]) == (4, 1)
        begun = await toolset.call("find_tools", {"query": "doubl", "detail": "name"})
        assert begun.document["tools"] == [{"tool": "mock:double"}]
        none = await toolset.call("find_tools", {"query": "zebra"})
        assert "4 tools of 1 server: mock (4 tools)" in none.document["note"]
        wrong = await toolset.call("find_tools", {"server": "mook"})
        assert wrong.document["findings"][0]["alternatives"] == ["mock"]
        described = {tool.name: tool.description for tool in await toolset.tools()}
        assert "mock (4 tools)" in described["find_tools"]


async def test_tools_of_servers_are_tools_of_their_own_where_that_is_wanted() -> None:
    async with opened(single_tools=True, max_tools=9) as toolset:
        names = [tool.name for tool in await toolset.tools()]
        assert names[7:] == ["mock__double", "mock__refuse"]
        assert (await toolset.call("mock__double", {"n": 2})).document == {"n": 4}
        named = await toolset.call("find_tools", {"query": "rows", "detail": "name"})
        assert named.document["tools"] == [{"tool": "mock:rows", "call": "mock__rows"}]
        assert (await toolset.call("mock__rows", {"count": 0})).document == {"result": []}
        answer = await toolset.call("mock__refuse", {"why": "$OUTPUT[a] ${x}"})
        assert answer.is_error
        assert "$OUTPUT[a] ${x}" in answer.document["tasks"]["call"]["error"]["message"]
        near = (await toolset.call("mock__doubl")).document["findings"][0]["alternatives"]
        assert near[0] == "mock__double"
        wrong = await toolset.call("find_tools", {"limit": 0})
        assert wrong.document["findings"][0]["path"] == "/limit"
        answer = await toolset.call("mock__double", {"m": 2})
        assert {each["code"] for each in answer.document["findings"]} >= {"missing_argument"}


async def test_a_large_result_is_cut_and_its_parts_are_there(tmp_path: Path) -> None:
    async with opened(tmp_path, max_inline_kb=4) as toolset:
        plan = {"tasks": [task("a", "rows", count=500)]}
        answer = await toolset.call("parallel_execute", plan)
        document = answer.document
        assert document["summarised"]
        assert size_of(document) <= 4096
        assert document["tasks"]["a"]["output"]["type"] == "array of 500 items"
        asked = {"run_id": document["run_id"], "task": "a"}
    async with opened(tmp_path, max_inline_kb=4) as toolset:  # another process
        page = (await toolset.call("get_result", {**asked, "offset": 490, "limit": 5})).document
        assert [row["id"] for row in page["value"]] == [490, 491, 492, 493, 494]
        assert (page["total"], page["next_offset"]) == (500, 495)
        place = await toolset.call("get_result", {**asked, "path": "[499].id"})
        assert place.document["value"] == 499
        projected = await toolset.call("get_result", {**asked, "projection": "[?id > `497`].id"})
        assert projected.document["value"] == [498, 499]
        whole = await toolset.call("get_result", {"run_id": asked["run_id"]})
        assert whole.document["status"] == "success"
        for wrong in ({"path": "[999]"}, {"path": "..x"}, {"projection": "[?"}, {"task": "b"}):
            answer = await toolset.call("get_result", asked | wrong)
            assert answer.is_error
            assert answer.document["findings"]


async def test_a_paused_run_goes_on_with_its_answer(tmp_path: Path) -> None:
    ask = {"id": "who", "ask": {"message": "Which number?", "schema": {"type": "integer"}}}
    plan = {"tasks": [ask, task("a", "double", n="$OUTPUT[who]")]}
    async with opened(tmp_path) as toolset:
        answer = await toolset.call("parallel_execute", plan)
        assert (answer.document["status"], answer.is_error) == ("paused", False)
        assert answer.document["questions"][0]["message"] == "Which number?"
        asked = {"run_id": answer.document["run_id"], "task": "who"}
        assert (await toolset.call("answer_question", asked)).is_error
        wrong = await toolset.call("answer_question", {**asked, "value": "three"})
        assert "expected integer" in wrong.document["error"]["message"]
        right = await toolset.call("answer_question", {**asked, "value": 3})
        assert right.document["output"] == {"a": {"n": 6}}
        again = await toolset.call("answer_question", {**asked, "value": 3})
        assert again.is_error


async def test_a_run_under_way_is_seen_and_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as toolset, anyio.create_task_group() as group:
        results = []

        async def run() -> None:
            plan = {"tasks": [task("a", "wait_for_ever")]}
            results.append(await toolset.call("parallel_execute", plan))

        group.start_soon(run)
        while not (active := toolset.runs.active):
            await anyio.lowlevel.checkpoint()
        (run_id,) = active
        status = await toolset.call("run_status", {"run_id": run_id})
        assert status.document["status"] == "running"
        listed = await toolset.call("run_status")
        assert [each["run_id"] for each in listed.document["runs"]] == [run_id]
        assert (await toolset.call("get_result", {"run_id": run_id})).is_error
        await toolset.call("cancel_run", {"run_id": run_id})
    assert (results[0].document["status"], results[0].is_error) == ("cancelled", True)


async def test_nothing_of_an_exception_gets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as toolset:
        monkeypatch.setattr(toolset.known, "index", lambda _: 1 / 0)
        answer = await toolset.call("find_tools")
        assert answer.is_error
        assert "division" not in json.dumps(answer.document)
        assert (await toolset.call("run_status", [])).is_error  # type: ignore[arg-type]
        assert (await toolset.call("run_status", {"run_id": "0"})).is_error
        near = (await toolset.call("find_tool")).document["findings"][0]["alternatives"]
        assert "find_tools" in near


async def test_tools_stay_known_while_their_server_starts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as toolset:
        await toolset.tools()
        monkeypatch.setattr(ServerPool, "usable", lambda *_: False)
        found = await toolset.call("find_tools", {"server": "mock"})
        assert found.document["total"] == 4


@pytest.mark.parametrize("name", [None, 5])
async def test_a_name_that_is_no_text_is_answered(name: Any) -> None:
    async with opened() as toolset:
        answer = await toolset.call(name, {})
        assert answer.is_error
        assert "expected the name of a tool" in answer.document["findings"][0]["message"]
