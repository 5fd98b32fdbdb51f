"""A dry run: the real engine, and outputs that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from orchestrator.check.wishes import wishes
from orchestrator.client import Orchestrator
from orchestrator.dry_run import Workshop
from orchestrator.engine.events import Event, RunSettled
from orchestrator.engine.result import RunResult
from orchestrator.errors import WorkflowError
from orchestrator.observers.statistics import Statistics
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
async def test_where_no_output_is_declared_it_is_what_the_workflow_refers_to() -> None:
    plan = workflow(
        task("a", "silent"),
        task("b", "takes", arguments={"n": "$OUTPUT[a].count", "text": "It is $OUTPUT[a].name."}),
        task("c", "takes", arguments={"n": "${length(OUTPUT[a].list)}"}, locks=["x:$OUTPUT[a].id"]),
        task("d", "takes", when="OUTPUT[a].score > 5 && OUTPUT[a].kind == 'good'"),
        task("e", "takes", for_each="${OUTPUT[a].rows[?size < 3]}", arguments={"n": "$ITEM.size"}),
        output="$OUTPUT[a].deep[2].place",
    )
    takes = tool("takes", taking(n={"type": "integer"}, text={"type": "string"}))
    result = await rehearsed(plan, tool("silent"), takes)
    assert result.status == "success", [each.error for each in result.tasks.values()]
    assert result["a"].output == {
        "count": 1,
        "name": "text",
        "list": "text",
        "id": "text",
        "score": 6,
        "kind": "good",
        "rows": [{"size": 1}],
        "deep": ["text", "text", {"place": "text"}],
    }
    assert result.made_up is not None
    origin = result.made_up["a"]
    assert (origin.source, origin.note) == ("assumed", "s:silent declares no outputSchema")
    assert result["e"].output == ["text"]


@pytest.mark.anyio
async def test_a_name_that_the_schema_does_not_have_is_an_error_and_an_open_one_is_assumed() -> (
    None
):
    plan = workflow(
        task("news", "search"),
        task("open", "open"),
        task("wrong", "takes", arguments={"text": "$OUTPUT[news].entries"}),
        task("below", "takes", arguments={"text": "$OUTPUT[news].items[0].name"}),
        task("right", "takes", arguments={"text": "$OUTPUT[open].entries[0].name"}),
    )
    takes = tool("takes", taking(text={"type": "string"}))
    result = await rehearsed(plan, tool("search", gives=ITEMS), tool("open", gives=ANY), takes)
    assert result.status == "partial"
    error = result["wrong"].error
    assert error is not None
    assert error.kind == "reference_error"
    assert result["below"].status == "error"
    assert result["right"].status == "success"
    assert result.made_up is not None
    note = "the outputSchema of s:open leaves open: .entries[0].name"
    assert result.made_up["open"].note == note


@pytest.mark.anyio
async def test_made_up_values_are_those_that_their_consumers_take_if_the_schema_lets_them() -> None:
    gives = taking(unit={"type": "string"}, n={"type": "integer"}, kind={"enum": ["a", "b"]})
    takes = taking(unit={"enum": ["C", "F"]}, n={"minimum": 10}, kind={"const": "z"})
    names = ("unit", "n", "kind")
    plan = workflow(
        task("a", "gives"),
        task("b", "takes", arguments={name: f"$OUTPUT[a].{name}" for name in names[:2]}),
        task("c", "takes", arguments={"kind": "$OUTPUT[a].kind"}),
    )
    result = await rehearsed(plan, tool("gives", gives=gives), tool("takes", takes))
    assert result["a"].output == {"unit": "C", "n": 10, "kind": "a"}
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
        task("skipped", "silent", when="OUTPUT[a] == `null`"),
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
    assert result["broken"].output == "text"
    assert result["value"].output == "invalid_arguments"


@pytest.mark.anyio
async def test_a_schema_without_a_sample_is_said_and_what_is_referred_to_stands_in() -> None:
    plan = workflow(task("a", "odd"), task("b", "odd", arguments={"x": "$OUTPUT[a].x"}))
    result = await rehearsed(plan, tool("odd", gives={"type": "object", "not": {}}))
    assert result.status == "success"
    assert result.made_up is not None
    assert "no sample fits the outputSchema of s:odd" in result.made_up["a"].note
    assert result["a"].output == {"x": "text"}


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
        {"id": "b", "tool": "here:find", "arguments": {"text": "$OUTPUT[a].names[1]"}},
        {"id": "c", "tool": "gone:find"},
    )
    events: list[Event] = []
    servers: Mapping[str, Any] = {"here": server, "gone": "http://127.0.0.1:1/mcp"}
    async with Orchestrator(servers, observers=[events.append]) as orchestrator:
        result = await orchestrator.dry_run(plan)
    assert result.status == "partial"
    assert result["a"].output == {"names": ["text", "text"], "best": "text"}
    error = result["c"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert isinstance(events[-1], RunSettled)
    assert events[-1].result.dry_run
    assert Statistics().update(plan, result) == 0


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("OUTPUT[a].b.c", [(("b", "c"), {})]),
        ("OUTPUT[a].b[-2:]", [(("b", 0), {})]),
        ("OUTPUT[a].b[-2:].c", [(("b", 0, "c"), {})]),
        ("OUTPUT[a].b[].c", [(("b", 0, "c"), {})]),
        ("OUTPUT[a].b | [0]", [(("b", 0), {})]),
        ("OUTPUT[a].b.*.c", [(("b",), {})]),
        ("join(', ', OUTPUT[a].b)", [(("b",), {"type": "array", "items": {"type": "string"}})]),
        ("join(', ', OUTPUT[a].b[*].c)", [(("b", 0, "c"), {"type": "string"})]),
        ("not_null(OUTPUT[a].b, 'x', OUTPUT[a].c)", [(("b",), {}), (("c",), {})]),
        ("sort_by(OUTPUT[a].b, &c)[0]", [(("b",), {"type": "array"}), (("b", 0, "c"), {})]),
        ("max([OUTPUT[a].b])", [(("b",), {"type": "number"})]),
        ("!OUTPUT[a].b", [(("b",), {})]),
        ("3 < OUTPUT[a].b", [(("b",), {"type": "number", "exclusiveMinimum": 3})]),
        ("OUTPUT[a].b <= 3", [(("b",), {"type": "number", "maximum": 3})]),
        ("OUTPUT[a].b == 'x'", [(("b",), {"const": "x"})]),
        ("OUTPUT[a].b != 'x'", [(("b",), {})]),
        ("OUTPUT[a].b >= INPUT.c", [(("b",), {"type": "number"})]),
        ("OUTPUT[a].b[].{t: c}", [(("b", 0, "c"), {})]),
        ("INPUT.b.c[0] && STATUS[a] == 'success'", []),
        ("INPUT.b[*].c", []),
        ("keys(OUTPUT[a].b)[*].c", [(("b",), {"type": "object"})]),
    ],
)
def test_what_an_expression_reads_is_wished(expression: str, found: list[tuple[Any, Any]]) -> None:
    tasks = (task("a", "t"), task("b", "t", when=expression, depends_on=["a"]))
    plan = workflow(*tasks, inputs={"b": {}, "c": {}})
    assert [(wish.path, wish.wanted.schema) for wish in wishes(plan, {})["a"]] == found


def test_what_is_wished_of_a_list_of_outputs_is_wished_of_each() -> None:
    plan = workflow(
        task("each", "t", for_each=[1, 2]),
        task("b", "t", arguments={"x": "$OUTPUT[each][1].name", "$OUTPUT[b2].n": 1}),
        task("b2", "t"),
        task("c", "t", for_each="$OUTPUT[each]", arguments={"x": ["$ITEM.size", "$INDEX"]}),
        task("d", "t", for_each="${INPUT.xs[*]}", arguments={"x": "$ITEM.a"}),
        task("f", "t", fallback={"value": "$OUTPUT[b2].other"}),
        task("g", "t", arguments={"n": "${b2.result.list.length}", "e": "$ERROR[b2]"}),
        inputs={"xs": {}},
        output="$OUTPUT[each]",
    )
    found = wishes(plan, {})
    assert {wish.path for wish in found["each"]} == {("name",), ("size",)}
    assert [wish.path for wish in found["b2"]] == [("n",), ("other",), ("list", "length")]


def test_what_is_far_on_in_a_list_or_holds_something_else_is_left() -> None:
    plan = workflow(
        task("a", "t"),
        task("b", "t", arguments={"x": "$OUTPUT[a].list[999999]", "y": "$OUTPUT[a].list[-2]"}),
        task("c", "n", arguments={"n": "$OUTPUT[a].list"}),
        task("d", "n", arguments={"n": "${a.result.list.length}"}),
    )
    tools = {"s:n": tool("n", taking(n={"type": "integer"}))}
    output, _ = Workshop().output(tool("t"), wishes(plan, tools)["a"])
    assert output["list"] == ["text", "text"]


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
