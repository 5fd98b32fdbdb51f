"""Arguments are checked before their call leaves, and outputs when they come: in runs and alone."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, ListToolsResult, TextContent
from mcp.types import Tool as McpTool

from orchestrator import Orchestrator
from orchestrator.calls.call import Call
from orchestrator.engine.events import Event, RetryDecided, ServerToolsChanged, TaskStarted
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.errors import CallError, InvalidArgumentsError
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.session import Session
from tests.fakes import ScriptedCaller, failing, workflow
from tests.real_servers import TIMEOUT_S, Deaf, Watch, faulty

pytestmark = pytest.mark.anyio

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = {
    "fake:strict": Tool("fake", "strict", NUMBER, idempotent=True),
    "fake:text": Tool("fake", "text", {"properties": {"n": {"type": "string"}}}),
    "fake:broken": Tool("fake", "broken", {"$ref": "#/$defs/nowhere"}),
}


def strict(name: str, n: Any, **fields: Any) -> dict[str, Any]:
    return {"id": name, "tool": "fake:strict", "arguments": {"n": n}, **fields}


async def run(
    *tasks: Any, script: Any = None, **fields: Any
) -> tuple[Any, ScriptedCaller, list[Event]]:
    caller, events = ScriptedCaller(script or {}), list[Event]()
    run = Run(
        workflow(*tasks, **fields), caller, servers=Servers(tools=TOOLS), observers=[events.append]
    )
    return await run.execute(), caller, events


async def test_a_wrong_argument_fails_its_task_before_the_call() -> None:
    result, caller, events = await run(
        "a", strict("b", "$OUTPUT[a].n"), script={"a": [(0, {"n": 1.5})]}
    )
    error = result["b"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("invalid_arguments", False)
    assert error.message == (
        "the arguments do not fit fake:strict: "
        "expected integer, got number 1.5 from $OUTPUT[a].n at .n"
    )
    assert (result["b"].attempts, result["b"].started_ms) == (0, None)
    assert [task for task, _ in caller.calls] == ["a"]
    assert [event.task for event in events if isinstance(event, TaskStarted)] == ["a"]


async def test_a_wrong_argument_is_never_retried_and_a_fallback_stands_in() -> None:
    tried = strict("a", "x", retry=5, fallback={"value": "$ERROR.details.errors[0].path"})
    result, caller, events = await run(tried)
    assert (result["a"].output, result["a"].recovered, result["a"].attempts) == (".n", True, 0)
    assert result["a"].error.kind == "invalid_arguments"
    assert not caller.calls
    assert not [event for event in events if isinstance(event, RetryDecided)]


async def test_what_depends_on_it_is_skipped_or_sees_the_failure() -> None:
    after = {"id": "after", "tool": "fake:after", "depends_on": ["a"]}
    seen = {
        "id": "seen",
        "tool": "fake:seen",
        "arguments": {"kind": "$ERROR[a].kind"},
        "run_if": "any_failed",
    }
    result, _, _ = await run(strict("a", "x"), after, seen)
    assert result["after"].status == "skipped"
    assert result["seen"].output == {"kind": "invalid_arguments"}


async def test_an_item_that_is_wrong_costs_that_item_only() -> None:
    result, caller, _ = await run(strict("a", "$ITEM", for_each=[1, "x", "3", None]))
    assert result["a"].output == [{"n": 1}, None, {"n": 3}, None]
    assert [item.attempts for item in result["a"].items] == [1, 0, 1, 0]
    error = result["a"].error
    assert error.message == (
        "2 of 4 items failed; item 1: the arguments do not fit fake:strict: "
        'expected integer, got string "x" from $ITEM at .n'
    )
    assert [arguments for _, arguments in caller.calls] == [{"n": 1}, {"n": 3}]


async def test_the_tool_of_a_fallback_is_checked_too() -> None:
    failed = {
        "id": "a",
        "tool": "fake:a",
        "fallback": {"tool": "fake:strict", "arguments": {"n": "$ERROR.message"}},
    }
    result, caller, _ = await run(failed, script={"a": [(0, failing("no luck"))]})
    error = result["a"].error
    assert error.kind == "tool_error"
    assert error.details["fallback_error"]["message"] == (
        "the arguments do not fit fake:strict: "
        'expected integer, got string "no luck" from $ERROR.message at .n'
    )
    assert [task for task, _ in caller.calls] == ["a"]


async def test_text_is_converted_before_it_is_checked() -> None:
    text = {"id": "c", "tool": "fake:text", "arguments": {"n": "$OUTPUT[a].i"}}
    literal = strict("d", "5")
    result, _, _ = await run(
        "a", strict("b", "$OUTPUT[a].n"), text, literal, script={"a": [(0, {"n": "5", "i": 5})]}
    )
    assert result["b"].output == {"n": 5}
    assert result["c"].output == {"n": "5"}
    assert result["d"].error.message == (
        'the arguments do not fit fake:strict: expected integer, got string "5" at .n'
    )


async def test_a_schema_that_cannot_be_used_refuses_nothing() -> None:
    broken = {"id": "a", "tool": "fake:broken", "arguments": {"n": "x"}}
    unknown = {"id": "b", "tool": "fake:unknown", "arguments": {"n": "x"}}
    result, _, _ = await run(broken, unknown)
    assert result.status == "success"


async def test_under_fail_fast_a_wrong_argument_ends_the_run() -> None:
    result, _, _ = await run(strict("a", "x"), "b: a", on_error="fail_fast")
    assert (result.status, result["b"].status) == ("failed", "skipped")


# With servers.


def answering(schema: Any, *answers: CallToolResult, **tool: Any) -> LowLevelServer[Any]:
    """A server whose tool `it` declares this output, and gives these answers in turn."""
    left = list(answers)

    async def list_tools(*_: Any) -> ListToolsResult:
        described = McpTool(
            name="it", input_schema={"type": "object"}, output_schema=schema, **tool
        )
        return ListToolsResult(tools=[described])

    async def call_tool(*_: Any) -> CallToolResult:
        return left.pop(0)

    return LowLevelServer("answering", on_list_tools=list_tools, on_call_tool=call_tool)


def result_of(*texts: str, structured: Any = None, is_error: bool = False) -> CallToolResult:
    content: list[Any] = [TextContent(type="text", text=text) for text in texts]
    return CallToolResult(content=content, structured_content=structured, is_error=is_error)


async def outcome(server: Any, **fields: Any) -> Any:
    tasks = [{"id": "t0", "tool": "s:it", **fields}]
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"s": server}) as orchestrator:
            return (await orchestrator.run({"tasks": tasks}))["t0"]


async def test_an_output_that_does_not_fit_is_an_error_that_keeps_it() -> None:
    task = await outcome(answering(NUMBER, result_of(structured={"n": "many"})), retry=3)
    assert (task.status, task.output, task.attempts) == ("error", None, 1)
    assert (task.error.kind, task.error.retryable) == ("output_invalid", False)
    assert task.error.message == (
        "the output of s:it does not fit its outputSchema: "
        'expected integer, got string "many" at .n'
    )
    assert task.error.details == {
        "tool": "s:it",
        "output": {"n": "many"},
        "errors": [
            {
                "path": ".n",
                "message": 'expected integer, got string "many" at .n',
                "keyword": "type",
                "expected": "integer",
            }
        ],
    }


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        (result_of(structured={"n": 1}), {"n": 1}),
        (result_of('{"n": 1}'), {"n": 1}),
        (result_of("other", structured={"n": 1}), {"n": 1}),
    ],
)
async def test_what_fits_is_the_output_structured_or_not(answer: CallToolResult, came: Any) -> None:
    task = await outcome(answering(NUMBER, answer))
    assert (task.status, task.output) == ("success", came)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (result_of("one"), 'expected object, got string "one"'),
        (result_of('{"n": "1"}'), 'expected integer, got string "1" at .n'),
        (result_of(structured={}), 'missing property "n"'),
        (result_of(), "expected object, got null"),
    ],
)
async def test_what_does_not_fit_is_told(answer: CallToolResult, wrong: str) -> None:
    task = await outcome(answering(NUMBER, answer))
    assert task.error.kind == "output_invalid"
    assert task.error.message.endswith(f"does not fit its outputSchema: {wrong}")


async def test_what_says_that_it_failed_is_not_checked() -> None:
    answer = result_of("no", structured={"n": "x"}, is_error=True)
    task = await outcome(answering(NUMBER, answer))
    assert task.error.kind == "tool_error"


async def test_an_output_schema_that_cannot_be_used_refuses_nothing() -> None:
    task = await outcome(answering({"type": "objekt"}, result_of(structured={"n": "x"})))
    assert task.output == {"n": "x"}


async def test_an_item_whose_output_does_not_fit_leaves_its_place_empty() -> None:
    answers = (result_of(structured={"n": 1}), result_of(structured={"n": "x"}))
    task = await outcome(answering(NUMBER, *answers), for_each=[1, 2], max_parallel=1)
    assert task.output == [{"n": 1}, None]
    assert task.items[1].error.details["output"] == {"n": "x"}


async def test_a_fallback_stands_in_for_an_output_that_does_not_fit() -> None:
    server = answering(NUMBER, result_of(structured={"n": "x"}))
    task = await outcome(server, fallback={"value": "$ERROR.details.output.n"})
    assert (task.output, task.recovered) == ("x", True)


async def test_a_call_alone_is_checked_before_and_after() -> None:
    server = MCPServer("memory")
    made = []

    @server.tool()
    async def double(n: int) -> dict[str, int]:
        made.append(n)
        return {"twice": 2 * n}

    wrong = answering(NUMBER, result_of(structured={"n": "x"}))
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"memory": server, "wrong": wrong}) as orchestrator:
            assert await orchestrator.call("memory:double", {"n": 2}) == {"twice": 4}
            with pytest.raises(
                InvalidArgumentsError, match="memory:double: expected integer, got string"
            ):
                await orchestrator.call("memory:double", {"n": "2"})
            with pytest.raises(
                InvalidArgumentsError, match=r'memory:double\(n: integer\): missing property "n"'
            ):
                await orchestrator.call("memory:double")
            with pytest.raises(CallError, match="does not fit its outputSchema") as caught:
                await orchestrator.call("wrong:it")
    assert caught.value.kind == "output_invalid"
    assert made == [2]


async def test_of_a_tool_that_changes_the_new_schema_counts() -> None:
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": faulty()}) as orchestrator:
            before = {tool.name: tool for tool in await orchestrator.tools("it")}
            with orchestrator._pool.subscribe(watch, ["it"]):
                for kind, right, wrong in (("integer", 7, "x"), ("string", "x", 7)):
                    watch.events.clear()
                    change = {"names": ["new"], "value": kind}
                    await orchestrator.call("it:change_tools", change)
                    await watch.until(lambda event: isinstance(event, ServerToolsChanged))
                    assert await orchestrator.call("it:new", {"value": right}) == {"value": right}
                    with pytest.raises(InvalidArgumentsError, match=f"expected {kind}, got"):
                        await orchestrator.call("it:new", {"value": wrong})
            after = {tool.name: tool for tool in await orchestrator.tools("it")}
    assert after["echo"] is before["echo"]  # with what was found out about it


async def test_secrets_of_the_server_are_not_in_the_message() -> None:
    schema = {"enum": ["a"]}
    target = answering(schema, result_of("key s3cr3t-value"))
    connection = Session(Server(name="s", target=target, secrets=("s3cr3t-value",)), Deaf())
    task = await _of(connection)
    assert '"key ***"' in str(task)
    assert "s3cr3t-value" not in str(task.error.details["errors"])
    assert task.error.details["output"] == "key s3cr3t-value"


async def _of(connection: Session) -> CallError:
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(connection.own)
            await connection.started_within(TIMEOUT_S)
            with pytest.raises(CallError) as caught:
                await connection.call(Call("t", "s", "it", {}))
            connection.close()
    return caught.value
