"""Outputs that a server wraps: which, what is in them, and what `.result` of them means."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from orchestrator import Orchestrator, Workflow
from orchestrator.check.checker import prove
from orchestrator.errors import CallError
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.references import Compiler
from orchestrator.expressions.scope import Scope
from orchestrator.schema.notation import tool_text
from orchestrator.schema.tool import Tool
from orchestrator.schema.wrapped import KEYWORD, is_wrapper, says_wrapped, schema_inside
from orchestrator.servers.sdk_results import is_wrapped
from orchestrator.servers.sdk_tools import tools_in

INTEGER = {"title": "Result", "type": "integer"}


def generated(inner: Any = None, title: str = "addOutput", **more: Any) -> dict[str, Any]:
    """The schema that the SDK generates for a function that returns no object."""
    of = {"result": INTEGER if inner is None else inner}
    return {"type": "object", "title": title, "properties": of, "required": ["result"], **more}


def declared(inner: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"result": inner}, KEYWORD: True}


def test_the_sdk_s_own_schema_is_that_of_a_wrapper() -> None:
    assert is_wrapper(generated(), "add")
    assert is_wrapper(generated(title="getItemsOutput"), "getItems")
    assert is_wrapper(generated(title="get_itemsOutput"), "get-items")
    assert is_wrapper(generated({"$ref": "#/$defs/A"}) | {"$defs": {"A": {}}}, "add")


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {},
        generated(title="Answer"),
        generated(title="AddOutput"),  # a model of the author's own
        generated(description="The sum."),
        generated(additionalProperties=False),
        generated() | {"required": []},
        generated() | {"properties": {"result": INTEGER, "more": INTEGER}},
        generated() | {"title": None},
    ],
)
def test_any_other_schema_is_not(schema: Any) -> None:
    assert not is_wrapper(schema, "add")


def test_a_server_says_that_it_wraps_in_the_schema_or_in_meta() -> None:
    assert is_wrapper(declared(INTEGER), "anything")
    assert not is_wrapper({KEYWORD: True, "type": "object"}, "no_such_property")
    assert says_wrapped({KEYWORD: True})
    assert says_wrapped({"fastmcp": {"wrap_result": True}})
    assert not says_wrapped({"fastmcp": None})
    assert not says_wrapped([KEYWORD])
    (tool,) = tools_in(
        {
            "tools": [
                {
                    "name": "t",
                    "inputSchema": {},
                    "outputSchema": {"type": "object", "properties": {"result": {}}},
                    "_meta": {KEYWORD: True},
                }
            ]
        },
        "s",
    )
    assert tool.wraps


def test_only_a_lone_result_is_unwrapped() -> None:
    tool = Tool("s", "add", {}, output_schema=generated())
    assert is_wrapped({"result": 1}, {}, tool)
    assert not is_wrapped({"result": 1, "more": 2}, {}, tool)
    assert not is_wrapped([], {}, tool)
    assert not is_wrapped({"result": 1}, {}, None)
    assert is_wrapped({"result": 1}, {"_meta": {KEYWORD: True}}, None)


def test_a_signature_shows_the_value_inside() -> None:
    definitions = {"A": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    of = {"items": {"$ref": "#/$defs/A"}, "type": "array"}
    schema = generated(of) | {"$defs": definitions}
    assert tool_text(Tool("s", "add", {}, output_schema=schema)) == "s:add() -> {n?: integer}[]"
    assert schema_inside(declared(False)) == {"not": {}}


def test_result_of_a_wrapped_value_is_the_value_itself() -> None:
    rows, own = [{"n": 1}], {"result": {"n": 2}}
    scope = Scope(
        {"a": rows, "own": own, "plain": {"n": 3}, "each": [rows, "x"]},
        wrapped={id(value): value for value in (rows, own, "x", 3)},
    )

    def resolve(text: str) -> Any:
        return Compiler().compile(text).resolve(scope)

    assert resolve("$OUTPUT[a].result") is resolve("$OUTPUT[a]") is rows
    assert resolve("$OUTPUT[a].result[0].n") == 1
    assert resolve("$OUTPUT[own].result.n") == 2  # its own property wins
    assert resolve("$OUTPUT[each][0].result[0].n") == 1
    assert resolve("${OUTPUT[a].result[0].n}") == 1
    assert resolve("n is ${OUTPUT[own].result.n}") == "n is 2"
    assert resolve("${OUTPUT[each][*].result}") == [rows, "x"]
    assert resolve("${to_string(OUTPUT[plain].result)}") == "null"
    for text in ("$OUTPUT[plain].result", "$OUTPUT[plain].n.result"):
        with pytest.raises(CallError, match='no property "result"'):
            resolve(text)
    assert compile_expression("length(OUTPUT[a].result)").resolve(scope) == 1


ECHO = Tool("s", "echo", {"type": "object", "properties": {"n": {"type": "integer"}}})
TEXT = Tool(
    "s", "text", {}, output_schema=generated({"title": "Result", "type": "string"}, "textOutput")
)
ROWS = Tool("s", "rows", {}, output_schema=declared({"type": "array", "items": INTEGER}))
WANTS = {
    name: Tool("s", f"wants_{name}", {"type": "object", "properties": {"v": {"type": name}}})
    for name in ("string", "integer", "array", "object", "null")
}


def findings(*tasks: dict[str, Any]) -> list[str]:
    workflow = Workflow.load(
        {
            "name": "w",
            "tasks": [
                {"id": "text", "tool": "s:text"},
                {"id": "rows", "tool": "s:rows"},
                *({"id": f"t{number}", **task} for number, task in enumerate(tasks)),
            ],
        }
    )
    tools = {tool.target: tool for tool in (ECHO, TEXT, ROWS, *WANTS.values())}
    problems = prove(workflow, tools)
    return [f"{problem.severity}: {problem.code}" for problem in problems]


def test_the_type_of_a_wrapped_value_is_that_of_the_value() -> None:
    for text in ("$OUTPUT[rows][0]", "$OUTPUT[rows].result[0]", "${OUTPUT[rows].result[0]}"):
        assert findings({"tool": "s:echo", "arguments": {"n": text}}) == []
        wrong = findings({"tool": "s:wants_array", "arguments": {"v": text}})
        assert wrong == ["error: wrong_argument"], text
    missing = findings({"tool": "s:echo", "arguments": {"n": "$OUTPUT[rows].reslt"}})
    assert missing == ["error: unknown_place"]
    each = {"tool": "s:echo", "for_each": "$OUTPUT[rows].result", "arguments": {"n": "$ITEM"}}
    assert findings(each) == []


@pytest.mark.parametrize("text", ["$OUTPUT[text]", "$OUTPUT[text].result"])
def test_a_wrapped_string_is_a_string_an_object_or_an_array(text: str) -> None:
    found = {
        name: findings({"tool": f"s:wants_{name}", "arguments": {"v": text}}) for name in WANTS
    }
    note = ["note: unknown_type"]
    error = ["error: wrong_argument"]
    expected = {"string": [], "integer": note, "array": note, "object": note, "null": error}
    assert found == expected
    each = {"tool": "s:echo", "for_each": text, "arguments": {"n": "$ITEM.id"}}
    assert set(findings(each)) == {"note: unknown_type"}
    assert findings({"value": f"{text}: {text}"}) == []
    compared = findings({"value": f"${{{text} == `5`}}"})
    assert compared == ["warning: never_true"]


class Row(BaseModel):
    n: int


def server() -> MCPServer:
    made = MCPServer("s", log_level="WARNING")

    @made.tool()
    def issues() -> str:
        return '[{"title": "a"}, {"title": "b"}]'

    @made.tool()
    def rows() -> list[Row]:
        return [Row(n=1), Row(n=2)]

    @made.tool()
    def own() -> dict[str, dict[str, int]]:
        return {"result": {"n": 3}}

    @made.tool()
    def nothing() -> str | None:
        return None

    @made.tool()
    def count(upto: int) -> int:
        return upto

    return made


@pytest.mark.anyio
async def test_tasks_read_wrapped_answers_with_and_without_result() -> None:
    tasks = [
        {"id": "issues", "tool": "s:issues"},
        {"id": "rows", "tool": "s:rows"},
        {"id": "own", "tool": "s:own"},
        {"id": "nothing", "tool": "s:nothing"},
        {
            "id": "each",
            "tool": "s:count",
            "for_each": "$OUTPUT[rows].result",
            "arguments": {"upto": "$ITEM.n"},
        },
        {
            "id": "again",
            "tool": "s:count",
            "for_each": "$OUTPUT[each]",
            "arguments": {"upto": "$ITEM.result"},
        },
        {
            "id": "polled",
            "tool": "s:count",
            "arguments": {"upto": "${add(not_null($LAST.result, 5), 1)}"},
            "repeat": {"until": "$LAST.result > 6", "every_s": 0},
        },
        {
            "id": "replaced",
            "tool": "s:count",
            "arguments": {"upto": "$OUTPUT[issues][9]"},
            "fallback": {"tool": "s:count", "arguments": {"upto": 8}},
        },
    ]
    output = {
        "titles": "${OUTPUT[issues].result[].title}",
        "second": "$OUTPUT[issues][1].title",
        "first": "${rows.result[0].n}",
        "own": "$OUTPUT[own].result.n",
        "nothing": "$OUTPUT[nothing].result",
        "again": "$OUTPUT[again][1].result",
        "of_items": "$ITEMS[each][1].output.result",
        "polled": "$OUTPUT[polled].result",
        "replaced": "$OUTPUT[replaced].result",
    }
    async with Orchestrator({"s": server()}) as orchestrator:
        dry = await orchestrator.dry_run({"name": "w", "tasks": tasks, "output": output})
        assert dry["each"].status == "success", dry["each"].error
        run = await orchestrator.run({"name": "w", "tasks": tasks, "output": output})
        called = await orchestrator.call("s:rows", {})
    assert run.status == "success", {task: each.error for task, each in run.tasks.items()}
    assert called == run["rows"].output == [{"n": 1}, {"n": 2}]
    assert run.output == {
        "titles": ["a", "b"],
        "second": "b",
        "first": 1,
        "own": 3,
        "nothing": None,
        "again": 2,
        "of_items": 2,
        "polled": 7,
        "replaced": 8,
    }
