"""Inputs on which engines and clients failed, by their public reports: what holds here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import Orchestrator, RunResult, Server, WorkflowError
from orchestrator.cli import main
from tests.puppet import program

pytestmark = pytest.mark.anyio


def server() -> MCPServer:
    made = MCPServer("x", log_level="WARNING")

    @made.tool()
    async def echo(value: Any = None, x: Any = None) -> dict[str, Any]:  # noqa: ARG001
        return {"value": value}

    @made.tool()
    async def fail() -> dict[str, Any]:
        raise ValueError("as asked")

    @made.tool()
    async def even(value: int) -> dict[str, int]:
        if value % 2:
            raise ValueError("odd")
        return {"value": value}

    @made.tool()
    async def total(values: list[float]) -> dict[str, float]:
        return {"value": sum(values)}

    @made.tool(structured_output=False)
    async def issues() -> str:
        return '[{"title": "one"}, {"title": "two"}]'

    return made


async def run(*tasks: dict[str, Any], **fields: Any) -> RunResult:
    async with Orchestrator({"x": server()}) as orchestrator:
        return await orchestrator.run({"name": "w", "tasks": list(tasks), **fields})


async def check(*tasks: dict[str, Any]) -> list[str]:
    """The codes of the findings; also of errors."""
    async with Orchestrator({"x": server()}) as orchestrator:
        try:
            found = await orchestrator.check({"name": "w", "tasks": list(tasks)})
        except WorkflowError as error:
            return [problem.code for problem in error.problems]
    return [problem.code for problem in found]


def echo(task: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": "x:echo", "arguments": {"value": value}, **more}


@pytest.mark.parametrize("name", ["value", "third"])
async def test_all_outputs_at_once_are_refused(name: str) -> None:
    every = echo("all", "${OUTPUT.*.value}")
    with pytest.raises(WorkflowError, match="expected a task id"):
        await run(echo("fast", "F"), echo(name, "V"), every)


async def test_the_roots_of_references_are_the_same_inside_of_a_filter() -> None:
    users = echo("users", [{"id": 1, "n": "A"}, {"id": 2, "n": "Oslo"}])
    each = {"for_each": [{"uid": 2}, {"uid": 1}]}
    result = await run(
        users,
        echo("one", 2),
        echo("item", "${OUTPUT[users].value[?id == ITEM.uid].n | [0]}", **each),
        echo("input", "${OUTPUT[users].value[?n == INPUT.city].id}"),
        echo("output", "${OUTPUT[users].value[?id == OUTPUT[one].value].n}"),
        inputs={"city": {"type": "string", "default": "Oslo"}},
    )
    assert result["item"].output == [{"value": "Oslo"}, {"value": "A"}]
    assert result["input"].output == {"value": [2]}
    assert result["output"].output == {"value": ["Oslo"]}


@pytest.mark.parametrize("when", ["STATUS[a] == 'error'", "ERROR[a]"])
async def test_a_task_that_waits_for_a_failure_it_never_sees_is_a_warning(when: str) -> None:
    failing = {"id": "a", "tool": "x:fail"}
    assert "never_runs" in await check(failing, echo("alarm", "a failed", when=when))
    assert "never_runs" not in await check(
        failing, echo("alarm", "a failed", when=when, run_if="all_done")
    )


async def test_a_run_of_which_all_was_skipped_has_one_verdict() -> None:
    result = await run(
        echo("gate", 1, when="$INPUT.changed"),
        echo("work", "$OUTPUT[gate].value"),
        inputs={"changed": {"type": "boolean", "default": False}},
    )
    assert {task.status for task in result.tasks.values()} == {"skipped"}
    assert (result.status, result.error) == ("partial", None)


def test_neither_is_its_exit_code_that_of_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = {"id": "gate", "value": 1, "when": False}
    tasks = [gate, {"id": "work", "value": "$OUTPUT[gate]"}]
    (path := tmp_path / "w.json").write_text(json.dumps({"tasks": tasks}))
    assert main(["run", str(path), "--json", "--no-journal"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "partial"


async def test_merge_keys_are_merged(tmp_path: Any) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(
        "tasks:\n"
        "- {id: a, tool: 'x:echo', arguments: &base {value: 1, x: 2}}\n"
        "- id: b\n  tool: x:echo\n  arguments:\n    <<: *base\n    x: 3\n"
        "- id: c\n  tool: x:echo\n  arguments: {value: {<<: *base, x: z}}\n"
    )
    async with Orchestrator({"x": server()}) as orchestrator:
        result = await orchestrator.run(path)
    assert result["b"].output == {"value": 1}
    assert result["c"].output == {"value": {"value": 1, "x": "z"}}


async def test_json_inside_of_a_text_can_be_reached() -> None:
    result = await run(
        {"id": "list", "tool": "x:issues"},
        echo("each", "$ITEM.title", for_each="$OUTPUT[list]"),
        echo("first", "$OUTPUT[list][0].title"),
    )
    assert result["each"].output == [{"value": "one"}, {"value": "two"}]
    assert result["first"].output == {"value": "one"}


async def test_a_list_that_fits_in_part_is_a_finding() -> None:
    mixed = {"id": "b", "tool": "x:total", "arguments": {"values": "${['five', 3]}"}}
    assert {"wrong_argument", "may_not_fit"} & set(await check(mixed))


async def test_a_path_into_what_has_failed_is_no_error() -> None:
    failing = {"id": "a", "tool": "x:fail"}
    tasks = [
        failing,
        echo("b", "${OUTPUT[a].city.x}", run_if="any_failed"),
        echo("c", "$ITEM", for_each="${OUTPUT[a].of || `[]`}", run_if="all_done"),
    ]
    result = await run(*tasks)
    assert (result["b"].status, result["b"].output) == ("success", {"value": None})
    assert result["c"].output == []


async def test_a_fallback_that_reads_a_failure_keeps_no_task_from_its_call() -> None:
    tasks = [
        {"id": "backup", "tool": "x:fail"},
        echo("primary", "P", fallback={"value": "${OUTPUT[backup].value || 'none'}"}),
    ]
    called = (await run(*tasks))["primary"].output == {"value": "P"}
    assert called or await check(*tasks), "neither called nor told"


async def test_the_items_that_succeeded_are_kept() -> None:
    each = {"id": "m", "tool": "x:even", "for_each": [2, 3, 4], "arguments": {"value": "$ITEM"}}
    result = (await run({**each, "fallback": {"value": "n/a"}}))["m"]
    assert [item.output for item in result.items or ()][::2] == [{"value": 2}, {"value": 4}]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"env": {"API_KEY=": "x"}}, 'a name in env contains "="'),
        ({"env": {"A\0B": "x"}}, "NUL"),
        ({"env": {"A": "x\0y"}}, "NUL"),
        ({"cwd": "/tmp\0/x"}, "NUL"),
        ({"args": ["a\0b"]}, "NUL"),
    ],
)
async def test_names_that_no_system_takes_cost_their_server_alone(
    settings: dict[str, Any], why: str
) -> None:
    wrong = Server(**{"command": "true", "protocol": "legacy", **settings})
    tasks = [echo("a", 1), {"id": "b", "tool": "wrong:t"}]
    async with Orchestrator({"x": server(), "wrong": wrong}) as orchestrator:
        result = await orchestrator.run({"tasks": tasks})
    assert result["a"].status == "success"
    error = result["b"].error
    assert error is not None
    assert (error.kind, why in error.message) == ("server_unavailable", True)


IMAGE = '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"image","data":"AA"}]}}'
REFUSED = '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32602,"message":"Unsupported version"}}'


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"tools/call": IMAGE}, ["content.0.mimeType is missing"]),
        ({"initialize": REFUSED}, ["initialize", "Unsupported version"]),
    ],
)
async def test_an_error_names_what_is_wrong(says: dict[str, str], words: list[str]) -> None:
    async with Orchestrator({"it": program(says, start_timeout_s=10)}) as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", "tool": "it:echo"}]})
    error = result["a"].error
    assert error is not None
    assert all(word in error.message for word in words)


async def test_a_byte_order_mark_is_no_part_of_a_message() -> None:
    mark = b"\xef\xbb\xbf".decode("latin-1")
    answer = '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[],"structuredContent":{"n":1}}}'
    async with Orchestrator({"it": program({"tools/call": mark + answer})}) as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", "tool": "it:echo"}]})
    assert result["a"].output == {"n": 1}
