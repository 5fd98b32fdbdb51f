"""A dry run: the real engine, and outputs that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from orchestrator.client import Orchestrator
from orchestrator.engine.events import Event, RunSettled
from orchestrator.engine.result import RunResult
from orchestrator.errors import WorkflowError
from orchestrator.report.forecast import forecast
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from tests.fakes import workflow
from tests.random_cases import Profile, random_case
from tests.stage import as_file

NOWHERE = {"s": "http://127.0.0.1:1/mcp"}
ANY = {"type": "object"}


def taking(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def tool(name: str, takes: Any = None, gives: Any = None) -> Tool:
    return Tool("s", name, takes or ANY, output_schema=gives)


async def rehearsed(plan: Workflow, *tools: Tool, **more: Any) -> RunResult:
    async with Orchestrator(NOWHERE) as orchestrator:
        known = {each.target: each for each in tools}
        return await orchestrator.dry_run(plan, tools=known, **more)


def task(name: str, tool: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"s:{tool}", **more}


ITEMS = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {"type": "object", "properties": {"title": {"type": "string"}}},
        }
    },
}


@pytest.mark.anyio
async def test_outputs_fit_what_the_tools_declare_and_nothing_is_called() -> None:
    plan = workflow(
        task("news", "search"),
        task("each", "read", for_each="$OUTPUT[news].items", arguments={"text": "$ITEM.title"}),
        output={"titles": "${OUTPUT[news].items[*].title}", "read": "$OUTPUT[each]"},
    )
    reads = tool("read", taking(text={"type": "string"}), taking(n={"type": "integer"}))
    result = await rehearsed(plan, tool("search", gives=ITEMS), reads)
    assert result.status == "success"
    assert result.dry_run
    assert result["news"].output == {"items": [{"title": "text"}]}
    assert result.output == {"titles": ["text"], "read": [{"n": 1}]}
    document = result.to_dict()
    assert list(document)[-2:] == ["dry_run", "made_up"]
    assert document["dry_run"] is True
    assert document["made_up"]["news"] == {"from": "output_schema", "note": ""}


@pytest.mark.anyio
async def test_an_output_that_is_not_declared_is_null_and_every_path_leads_through_it() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    plan = workflow(
        task("a", "silent"),
        task("path", "takes", arguments={"n": "$OUTPUT[a].items[0].count", "ns": ["$OUTPUT[a]"]}),
        task("braces", "takes", arguments={"n": "${OUTPUT[a][2].count}"}),
        task("text", "takes", arguments={"text": "It is $OUTPUT[a].name."}),
        task("function", "takes", arguments={"n": "${length(OUTPUT[a].list)}"}),
        task("elements", "takes", arguments={"text": "${join(', ', [OUTPUT[a].name])}"}),
        task("lock", "takes", locks=["x:$OUTPUT[a].id"]),
        task("condition", "takes", when="OUTPUT[a].score > 5"),
        task("each", "takes", for_each="$OUTPUT[a].rows", arguments={"n": "$ITEM.size"}),
        task("every", "silent", for_each=[1, 2]),
        task("again", "takes", for_each="$OUTPUT[every]", arguments={"n": "$ITEM.size"}),
        output={"place": "$OUTPUT[a].deep[2].place"},
    )
    takes = tool("takes", taking(n={"type": "integer"}, ns=numbers, text={"type": "string"}))
    result = await rehearsed(plan, tool("silent"), takes)
    statuses = {name: each.status for name, each in result.tasks.items()}
    assert statuses == {**dict.fromkeys(statuses, "success"), "condition": "skipped"}
    assert result.status == "success"
    assert result["a"].output is None
    assert result["each"].output == [None]
    assert result["again"].output == [None, None]
    assert result.output == {"place": None}
    assert result.made_up is not None
    origin = result.made_up["a"]
    note = "s:silent declares no outputSchema, so it is null"
    assert (origin.source, origin.note) == ("assumed", note)


@pytest.mark.anyio
async def test_only_null_is_assumed_to_fit() -> None:
    plan = workflow(
        task("a", "silent"),
        task("wrong", "takes", arguments={"n": "x", "m": "$OUTPUT[a].m"}),
        task("missing", "takes", arguments={"n": "$OUTPUT[a].n"}),
        task("function", "takes", arguments={"n": "${length(INPUT.n)}", "m": 1}),
        inputs={"n": {"default": 5}},
    )
    takes = tool("takes", {**taking(n={"type": "integer"}, m={}), "required": ["n", "m"]})
    result = await rehearsed(plan, tool("silent"), takes)
    kinds = {name: each.error and each.error.kind for name, each in result.tasks.items()}
    assert kinds == {
        "a": None,
        "wrong": "invalid_arguments",
        "missing": "invalid_arguments",
        "function": "reference_error",
    }
    strict = workflow(task("a", "strict", arguments={"n": None, "m": 1}))
    strict_tool = tool("strict", takes.input_schema, gives={"type": "null"})
    result = await rehearsed(strict, strict_tool)
    assert result["a"].status == "error"  # where no output is assumed, null is a value


@pytest.mark.anyio
async def test_a_property_that_the_schema_does_not_declare_is_an_error() -> None:
    plan = workflow(
        task("news", "search"),
        task("wrong", "takes", arguments={"text": "$OUTPUT[news].entries"}),
        task("below", "takes", arguments={"text": "$OUTPUT[news].items[0].name"}),
        task("right", "takes", arguments={"text": "$OUTPUT[news].items[0].title"}),
    )
    takes = tool("takes", taking(text={"type": "string"}))
    result = await rehearsed(plan, tool("search", gives=ITEMS), takes)
    assert result.status == "partial"
    error = result["wrong"].error
    assert error is not None
    assert error.kind == "reference_error"
    assert result["below"].status == "error"
    assert result["right"].status == "success"


@pytest.mark.anyio
async def test_a_made_up_value_that_the_next_tool_does_not_accept_is_an_error() -> None:
    gives = taking(n={"type": "integer", "minimum": 10}, kind={"enum": ["a", "b"]})
    takes = taking(n={"minimum": 10}, kind={"const": "z"})
    plan = workflow(
        task("a", "gives"),
        task("b", "takes", arguments={"n": "$OUTPUT[a].n"}),
        task("c", "takes", arguments={"kind": "$OUTPUT[a].kind"}),
    )
    result = await rehearsed(plan, tool("gives", gives=gives), tool("takes", takes))
    assert result["a"].output == {"n": 10, "kind": "a"}
    assert result["b"].status == "success"
    error = result["c"].error
    assert error is not None
    assert error.kind == "invalid_arguments"
    assert error.message == (
        'the arguments do not fit s:takes: expected "z", got "a" from $OUTPUT[a].kind at .kind'
    )


@pytest.mark.anyio
async def test_conditions_fallbacks_and_conversions_are_those_of_a_run() -> None:
    plan = workflow(
        task("a", "silent"),
        task("skipped", "silent", when="OUTPUT[a] != `null`"),
        task("needs", "silent", depends_on=["skipped"]),
        task("broken", "takes", arguments={"n": "no"}, fallback={"tool": "s:silent"}),
        task("value", "takes", arguments={"n": []}, fallback={"value": "$ERROR.kind"}),
        task("text", "takes", arguments={"text": "$OUTPUT[number].n"}),
        task("number", "number"),
    )
    takes = tool("takes", taking(n={"type": "integer"}, text={"type": "string"}))
    number = tool("number", gives=taking(n={"type": "number", "minimum": 3}))
    result = await rehearsed(plan, tool("silent"), takes, number)
    assert {name: each.status for name, each in result.tasks.items()} == {
        "a": "success",
        "skipped": "skipped",
        "needs": "skipped",
        "broken": "success",
        "value": "success",
        "text": "success",
        "number": "success",
    }
    assert result["broken"].recovered
    assert result["broken"].output is None
    assert result["value"].output == "invalid_arguments"


@pytest.mark.anyio
async def test_where_no_sample_fits_the_output_is_assumed_to_be_null() -> None:
    plan = workflow(task("a", "odd"))
    result = await rehearsed(plan, tool("odd", gives={"type": "object", "not": {}}))
    assert result.status == "success"
    assert result.made_up is not None
    assert result.made_up["a"].source == "assumed"
    assert "no sample fits the outputSchema of s:odd" in result.made_up["a"].note
    assert result["a"].output is None


@pytest.mark.anyio
async def test_tools_that_are_not_known_and_wrong_inputs_are_errors_before_it() -> None:
    plan = workflow(task("a", "takes"), inputs={"n": {"type": "integer"}})
    with pytest.raises(WorkflowError, match='missing input "n"'):
        await rehearsed(plan, tool("takes"))
    with pytest.raises(WorkflowError, match=r'Did you mean "s:take"\?'):
        await rehearsed(workflow(task("a", "takes")), tool("take"))


class Found(BaseModel):
    """What the tool of the server below gives."""

    names: list[str]
    best: str | None = None


@pytest.fixture
def server() -> MCPServer:
    """A server whose tools may not be called."""
    made = MCPServer("mock", log_level="WARNING")

    @made.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def find(text: str) -> Found:
        raise AssertionError(f"called with {text}")

    return made


@pytest.mark.anyio
async def test_the_servers_are_asked_for_their_tools_and_one_that_is_gone_fails_its_tasks(
    server: MCPServer,
) -> None:
    plan = workflow(
        {"id": "a", "tool": "here:find", "arguments": {"text": "x"}},
        {"id": "b", "tool": "here:find", "arguments": {"text": "$OUTPUT[a].names[0]"}},
        {"id": "c", "tool": "gone:find"},
    )
    events: list[Event] = []
    servers: Mapping[str, Any] = {"here": server, "gone": "http://127.0.0.1:1/mcp"}
    async with Orchestrator(servers, observers=[events.append]) as orchestrator:
        result = await orchestrator.dry_run(plan)
    assert result.status == "partial"
    assert result["a"].output == {"names": ["text"], "best": "text"}
    error = result["c"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert isinstance(events[-1], RunSettled)
    assert events[-1].result.dry_run


@pytest.mark.untraced
@pytest.mark.anyio
async def test_random_workflows_make_as_many_calls_as_was_foreseen() -> None:
    for number in range(100):
        plan = Workflow.load(as_file(random_case(number, Profile())))
        targets = plan.plan.targets.values()
        known = {each.target: Tool(each.server, each.tool, ANY) for each in targets}
        async with Orchestrator(dict.fromkeys(plan.plan.servers, NOWHERE["s"])) as orchestrator:
            result = await orchestrator.dry_run(plan, tools=known)
        foreseen = forecast(plan, known)
        clean = not any(each.error for each in result.tasks.values())
        for name, each in result.tasks.items():
            calls = foreseen.tasks[name].calls
            assert calls.most is None or each.attempts <= calls.most, (number, name)
            assert not clean or each.attempts >= calls.least, (number, name)
            assert each.error is None or each.error.kind != "internal", (number, name)
