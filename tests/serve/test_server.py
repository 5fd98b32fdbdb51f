"""The toolset as an MCP server, in memory, for clients of both revisions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from orchestrator import Orchestrator
from orchestrator.engine.question import Question
from orchestrator.serve.forms import form_of
from orchestrator.serve.server import ToolsetServer
from orchestrator.serve.toolset import Toolset
from tests.serve.test_toolset import TWO, make_server, task

pytestmark = pytest.mark.anyio
MODES = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
ASK = {"id": "who", "ask": {"message": "Which number?", "schema": {"type": "integer"}}}
ASKING = {"tasks": [ASK, task("a", "double", n="$OUTPUT[who]")]}
Elicited = types.ElicitResult


@asynccontextmanager
async def connected(
    tmp_path: Path, mode: str, **client: Any
) -> AsyncIterator[tuple[Client, ToolsetServer]]:
    async with Orchestrator({"mock": make_server()}, journal=tmp_path / "runs.db") as engine:
        (tmp_path / "flows").mkdir(exist_ok=True)
        server = ToolsetServer(Toolset(engine, workflows=tmp_path / "flows"), "1.0")
        async with Client(server.mcp, mode=mode, **client) as connection:
            yield connection, server


def _text(content: Any) -> str:
    text: str = content.text
    return text


@MODES
async def test_clients_of_both_revisions_list_call_and_fail(tmp_path: Path, mode: str) -> None:
    async with connected(tmp_path, mode) as (client, _):
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools][:2] == ["parallel_execute", "validate_plan"]
        assert all(tool.description and tool.input_schema["type"] == "object" for tool in tools)
        told: list[Any] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, total, message))

        done = await client.call_tool(
            "parallel_execute", {"tasks": TWO}, progress_callback=on_progress
        )
        assert not done.is_error
        assert done.structured_content["output"] == {"b": {"n": 8}}
        assert json.loads(_text(done.content[0])) == done.structured_content
        wrong = await client.call_tool("parallel_execute", {"tasks": [task("a", "dubble")]})
        assert wrong.is_error
        assert wrong.structured_content["findings"][0]["alternatives"] == ["double"]
        # Of a failure, what does not fit the schema of the tool is only text.
        wrong = await client.call_tool("find_tools", {"query": 3})
        assert wrong.is_error
        assert wrong.structured_content is None
        assert json.loads(_text(wrong.content[0]))["status"] == "invalid"
        run = done.structured_content["run_id"]
        templates = await client.session.list_resource_templates()
        assert templates.resource_templates[0].uri_template == "run://{run_id}"
        assert (await client.list_resources()).resources == []
        read = await client.read_resource(f"run://{run}")
        assert json.loads(_text(read.contents[0]))["run_id"] == run
        for uri in ("run://none", "file:///etc/passwd"):
            with pytest.raises(MCPError, match="Resource not found"):
                await client.read_resource(uri)


@MODES
async def test_a_client_that_can_is_asked_and_the_run_goes_on(tmp_path: Path, mode: str) -> None:
    asked: list[Any] = []

    async def fill_in(_: Any, params: Any) -> Elicited:
        asked.append(params)
        return Elicited(action="accept", content={"answer": 3})

    async with connected(tmp_path, mode, elicitation_callback=fill_in) as (client, _):
        done = await client.call_tool("parallel_execute", ASKING)
        assert done.structured_content["output"] == {"a": {"n": 6}}
        assert asked[0].message == "Which number?"
        assert asked[0].requested_schema["properties"] == {"answer": {"type": "integer"}}


@MODES
@pytest.mark.parametrize(("action", "status"), [("decline", "failed"), ("cancel", "paused")])
async def test_a_form_that_is_not_filled_in(
    tmp_path: Path, mode: str, action: Any, status: str
) -> None:
    async def leave(_: Any, __: Any) -> Elicited:
        return Elicited(action=action)

    async with connected(tmp_path, mode, elicitation_callback=leave) as (client, _):
        done = await client.call_tool("parallel_execute", ASKING)
        assert done.structured_content["status"] == status


@MODES
async def test_a_form_that_does_not_fit_leaves_its_question_open(tmp_path: Path, mode: str) -> None:
    async def misspell(_: Any, __: Any) -> Elicited:
        return Elicited(action="accept", content={"answer": "seven"})

    async with connected(tmp_path, mode, elicitation_callback=misspell) as (client, _):
        done = await client.call_tool("parallel_execute", ASKING)
        paused = done.structured_content
        assert (paused["status"], done.is_error) == ("paused", False)
        assert paused["questions"][0]["task"] == "who"
        assert paused["note"].startswith(
            'the answer to "who": expected integer, got string "seven"'
        )
        given = {"run_id": paused["run_id"], "task": "who", "value": 7}
        done = await client.call_tool("answer_question", given)
        assert done.structured_content["output"] == {"a": {"n": 14}}


@MODES
async def test_a_client_that_cannot_be_asked_gets_the_questions(tmp_path: Path, mode: str) -> None:
    async with connected(tmp_path, mode) as (client, _):
        paused = await client.call_tool("parallel_execute", ASKING)
        assert (paused.structured_content["status"], paused.is_error) == ("paused", False)
        given = {"run_id": paused.structured_content["run_id"], "task": "who", "value": 4}
        done = await client.call_tool("answer_question", given)
        assert done.structured_content["output"] == {"a": {"n": 8}}


async def test_a_client_that_fails_to_ask_gets_the_questions(tmp_path: Path) -> None:
    async def fail(_: Any, __: Any) -> Any:
        return types.ErrorData(code=-32603, message="no")

    async with connected(tmp_path, "legacy", elicitation_callback=fail) as (client, _):
        paused = await client.call_tool("parallel_execute", ASKING)
        assert paused.structured_content["status"] == "paused"


@MODES
async def test_what_no_form_can_hold_is_a_paused_run(tmp_path: Path, mode: str) -> None:
    async def fill_in(_: Any, __: Any) -> Elicited:
        raise AssertionError("no form can hold it")

    asks = {"id": "who", "ask": {"message": "Which?", "schema": {"type": "array"}}}
    async with connected(tmp_path, mode, elicitation_callback=fill_in) as (client, _):
        paused = await client.call_tool("parallel_execute", {"tasks": [asks]})
        assert paused.structured_content["status"] == "paused"


async def test_a_new_file_is_told_to_clients(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("orchestrator.serve.server.LOOK_EVERY_S", 0.01)
    heard = anyio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async with (
        connected(tmp_path, "legacy", message_handler=on_message) as (client, server),
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.announce)
        await client.list_tools()
        (tmp_path / "flows" / "x.json").write_text(json.dumps({"tasks": TWO}))
        with anyio.fail_after(60):
            await heard.wait()
        assert (await client.list_tools()).tools[0].name == "x"
        group.cancel_scope.cancel()


async def test_a_new_file_is_told_to_those_that_listen(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("orchestrator.serve.server.LOOK_EVERY_S", 0.01)
    async with (
        connected(tmp_path, "2026-07-28") as (client, server),
        anyio.create_task_group() as group,
    ):
        await client.list_tools()
        async with client.listen(tools_list_changed=True) as events:
            group.start_soon(server.announce)
            (tmp_path / "flows" / "x.json").write_text(json.dumps({"tasks": TWO}))
            with anyio.fail_after(60):
                async for _ in events:
                    break
        assert (await client.list_tools()).tools[0].name == "x"
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"enum": ["a", "b"]}, {"answer": {"type": "string", "enum": ["a", "b"]}}),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": {"type": "integer"}}),
        ({"type": "object", "properties": {"n": {"type": "array"}}}, None),
        ({"type": "array"}, None),
        (None, {}),
    ],
)
async def test_questions_are_forms_where_a_form_can_hold_the_answer(schema: Any, form: Any) -> None:
    made = form_of(Question("a", None, "ask", "?", schema))
    assert (None if made is None else made["properties"]) == form
