"""The Python API, as its user has it: servers in memory, on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import (
    CallError,
    ConfigError,
    Event,
    Orchestrator,
    RunResult,
    Server,
    Task,
    Workflow,
    WorkflowError,
)
from orchestrator.documents.encode import to_json
from orchestrator.engine.events import RunSettled

pytestmark = pytest.mark.anyio


def make_server() -> MCPServer:
    server = MCPServer("mock", log_level="WARNING")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def double(n: int) -> dict[str, int]:
        return {"n": 2 * n}

    @server.tool()
    async def refuse(why: str) -> str:
        raise ToolError(why)

    @server.tool()
    async def wait_for_ever() -> None:
        await anyio.sleep_forever()

    return server


DOUBLED: dict[str, Any] = {
    "name": "doubled",
    "inputs": {"n": {"type": "integer", "default": 1}},
    "tasks": [
        {"id": "a", "tool": "mock:double", "arguments": {"n": "$INPUT.n"}},
        {"id": "b", "tool": "mock:double", "arguments": {"n": "$OUTPUT[a].n"}},
    ],
}


async def test_a_workflow_is_a_path_a_dict_or_a_workflow(tmp_path: Path) -> None:
    path = tmp_path / "doubled.json"
    path.write_text(json.dumps(DOUBLED))
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        for source in (path, str(path), DOUBLED, Workflow.load(DOUBLED)):
            result = await orchestrator.run(source, inputs={"n": 5})
            assert result.status == "success"
            assert result["b"].output == {"n": 20}
            assert result.output == {"b": {"n": 20}}
            assert result.workflow == "doubled"
        made = Workflow(tasks=[Task(id="a", tool="mock:double", arguments={"n": 4})])
        assert (await orchestrator.run(made))["a"].output == {"n": 8}


async def test_the_document_holds_what_the_result_does() -> None:
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        result = await orchestrator.run(DOUBLED)
    document = json.loads(result.to_json())
    assert document == result.to_dict()
    assert document["generations"] == [["a"], ["b"]]
    assert document["tasks"]["a"] == {
        "status": "success",
        "output": {"n": 2},
        "error": None,
        "generation": 0,
        "attempts": 1,
        "started_ms": document["tasks"]["a"]["started_ms"],
        "duration_ms": document["tasks"]["a"]["duration_ms"],
        "waited_ms": 0.0,
    }
    assert document["started_at"].endswith("Z")


async def test_a_wrong_workflow_raises_and_is_not_wrapped() -> None:
    wrong = {"tasks": [{"id": "a", "tool": "mock:dubble"}, {"id": "b", "tool": "mock:triple"}]}
    with pytest.raises(WorkflowError, match='Did you mean "double"') as raised:
        async with Orchestrator({"mock": make_server()}) as orchestrator:
            await orchestrator.run(wrong)
    assert [problem.task for problem in raised.value.problems] == ["a", "b"]
    assert [problem.code for problem in raised.value.problems] == ["unknown_tool"] * 2


async def test_wrong_inputs_and_unknown_servers_are_told_together() -> None:
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        with pytest.raises(WorkflowError) as raised:
            await orchestrator.run(
                {**DOUBLED, "tasks": [{"id": "a", "tool": "mok:double"}]}, inputs={"m": 1}
            )
    assert {problem.code for problem in raised.value.problems} == {
        "unknown_input",
        "unknown_server",
    }


async def test_stream_gives_the_events_and_ends_with_the_result() -> None:
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        events: list[Event] = [event async for event in orchestrator.stream(DOUBLED)]
        last = events[-1]
        assert isinstance(last, RunSettled)
        assert isinstance(last.result, RunResult)
        assert last.result.status == "success"
        with pytest.raises(WorkflowError):
            await anext(orchestrator.stream({"tasks": []}))


async def test_leaving_a_stream_early_runs_what_finally_has() -> None:
    seen: list[Event] = []
    waits = {"id": "a", "tool": "mock:wait_for_ever"}
    tidy = {"id": "z", "tool": "mock:double", "arguments": {"n": 2}, "depends_on": ["a"]}
    with anyio.fail_after(30):
        async with Orchestrator({"mock": make_server()}, observers=[seen.append]) as orchestrator:
            stream = orchestrator.stream({"tasks": [waits], "finally": [tidy]})
            async for event in stream:
                if event.name == "task_started":
                    break
            await stream.aclose()
            (settled,) = [event for event in seen if isinstance(event, RunSettled)]
    statuses = {task: result.status for task, result in settled.result.tasks.items()}
    assert statuses == {"a": "cancelled", "z": "success"}


async def test_leaving_a_stream_early_cancels_the_run() -> None:
    with anyio.fail_after(60):
        async with Orchestrator({"mock": make_server()}) as orchestrator:
            stream = orchestrator.stream({"tasks": [{"id": "a", "tool": "mock:wait_for_ever"}]})
            async for event in stream:
                if event.name == "task_started":
                    break
            await stream.aclose()


async def test_a_run_can_be_cancelled_from_another_task() -> None:
    waits = {"tasks": [{"id": "a", "tool": "mock:wait_for_ever"}]}
    with anyio.fail_after(60):
        async with Orchestrator({"mock": make_server()}) as orchestrator:
            began = anyio.Event()

            def watch(event: Event) -> None:
                if event.name == "task_started":
                    began.set()

            run = await orchestrator.prepare(waits, observers=[watch])

            async def cancel() -> None:
                await began.wait()
                run.cancel("enough")

            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                result = await run.execute()
    assert result.status == "cancelled"
    assert result["a"].reason == "enough"


async def test_one_tool_can_be_called_by_itself() -> None:
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        assert await orchestrator.call("mock:double", {"n": 3}) == {"n": 6}
        with pytest.raises(CallError, match="not today") as raised:
            await orchestrator.call("mock:refuse", {"why": "not today"})
        assert raised.value.kind == "tool_error"
        with pytest.raises(CallError, match=r"within 0\.05 s"):
            await orchestrator.call("mock:wait_for_ever", timeout_s=0.05)
        with pytest.raises(WorkflowError, match='unknown tool "mock:dubble"'):
            await orchestrator.call("mock:dubble")
        with pytest.raises(ConfigError, match='unknown server "mok"'):
            await orchestrator.call("mok:double")


async def test_tools_are_listed_with_what_they_declare() -> None:
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        tools = {tool.name: tool for tool in await orchestrator.tools()}
        assert tools["double"].read_only is True
        assert tools["refuse"].read_only is None
        assert tools["double"].target == "mock:double"
        assert tools["double"].input_schema["required"] == ["n"]
        assert orchestrator.failure("mock") is None
        assert repr(orchestrator) == "Orchestrator(ServerPool(1 of 1 servers ready))"


async def test_allow_and_deny_hold_for_workflows_too() -> None:
    server = Server(target=make_server(), deny=["refuse"], allow=["*e"])
    async with Orchestrator({"mock": server}) as orchestrator:
        assert [tool.name for tool in await orchestrator.tools("mock")] == ["double"]
        with pytest.raises(WorkflowError, match='does not allow tool "mock:refuse"'):
            await orchestrator.run({"tasks": [{"id": "a", "tool": "mock:refuse"}]})


async def test_an_orchestrator_has_to_be_entered() -> None:
    with pytest.raises(RuntimeError, match="async with Orchestrator"):
        await Orchestrator({"mock": make_server()}).run(DOUBLED)


@pytest.mark.parametrize("target", [None, 5, {"command": "x"}, ["x"], b"x"])
def test_what_is_no_server_is_refused_at_once(target: Any) -> None:
    with pytest.raises(ConfigError, match="/x: expected a URL, StdioServerParameters or server"):
        Orchestrator({"x": target})


async def test_observers_of_the_orchestrator_watch_every_run() -> None:
    names: list[str] = []
    watched = Orchestrator({"mock": make_server()}, observers=[lambda e: names.append(e.name)])
    async with watched as orchestrator:
        await orchestrator.run(DOUBLED)
        await orchestrator.run(DOUBLED)
    assert names.count("run_settled") == 2
    assert names.count("server_ready") == 1


async def test_what_is_used_instead_of_the_workflows_own_is_checked_before_anything_starts() -> (
    None
):
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        with pytest.raises(WorkflowError) as raised:
            await orchestrator.run(
                DOUBLED,
                schedule="dataflo",  # type: ignore[arg-type]
                max_concurrency=-1,
                estimates={"nobody": 1.0},
            )
        assert repr(orchestrator) == "Orchestrator(ServerPool(0 of 1 servers ready))"
    told = str(raised.value)
    assert 'unknown schedule "dataflo". Did you mean "dataflow"?' in told
    assert '/estimates/nobody: unknown task "nobody"' in told
    assert "expected max_concurrency of at least 0, got -1" in told


async def test_a_workflow_can_be_checked_without_running_it() -> None:
    twice = {"tasks": [{"id": n, "tool": "mock:refuse", "arguments": {"why": n}} for n in "ab"]}
    gone = Server(command="/no/such/program")
    servers = {"mock": make_server(), "alone": Server(target=make_server(), max_concurrency=1)}
    async with Orchestrator({**servers, "gone": gone}) as orchestrator:
        (warning,) = await orchestrator.check(twice)
        assert warning.code == "unannotated_tools"
        alone = {"tasks": [{**task, "tool": "alone:refuse"} for task in twice["tasks"]]}
        assert await orchestrator.check(alone) == []
        (warning,) = await orchestrator.check({"tasks": [{"id": "a", "tool": "gone:x"}]})
        assert "no such program or directory" in warning.message
        with pytest.raises(WorkflowError, match='unknown tool "mock:duble"'):
            await orchestrator.check({"tasks": [{"id": "a", "tool": "mock:duble"}]})
        with pytest.raises(WorkflowError, match='unknown server "mok"'):
            await orchestrator.check({"tasks": [{"id": "a", "tool": "mok:double"}]})


async def test_limits_of_single_tools_and_rates_hold_for_a_run() -> None:
    running = most = 0
    server = MCPServer("mock", log_level="WARNING")

    @server.tool()
    async def one() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1

    limits = Server.model_validate({"rate": "1000/s", "tools": {"o*": {"max_concurrency": 2}}})
    target = limits.model_copy(update={"target": server})
    async with Orchestrator({"mock": target}) as orchestrator:
        result = await orchestrator.run(
            {"tasks": [{"id": f"t{n}", "tool": "mock:one"} for n in range(8)]}
        )
    assert result.status == "success"
    assert most == 2


async def test_what_a_server_says_meanwhile_is_told_to_the_observers() -> None:
    server = MCPServer("mock", log_level="WARNING")

    @server.tool()
    async def work(context: Context) -> str:
        await context.report_progress(1, 2, "half")
        await context.report_progress(float("nan"))
        return "done"

    events: list[dict[str, Any]] = []
    async with Orchestrator({"mock": Server(target=server, protocol="legacy")}) as orchestrator:
        result = await orchestrator.run(
            {"tasks": [{"id": "a", "tool": "mock:work"}]},
            observers=[lambda event: events.append(json.loads(to_json(event.to_dict())))],
        )
    assert result["a"].output == "done"
    told = [event for event in events if event["event"] == "task_progress"]
    assert (told[0]["progress"], told[0]["total"], told[0]["message"]) == (1, 2, "half")
    assert events[-1]["event"] == "run_settled"


async def test_the_result_says_what_starting_servers_took_and_counts_items_one_by_one() -> None:
    doubled = {"id": "a", "tool": "mock:double", "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    async with Orchestrator({"mock": make_server()}) as orchestrator:
        first = await orchestrator.run({"tasks": [doubled]})
        second = await orchestrator.run({"tasks": [doubled]})
    assert list(first.startup_ms) == ["mock"]
    assert second.startup_ms == {}  # it was there already
    assert first.wall_ms is None
    items = first["a"].items
    assert items is not None
    assert first.sequential_ms == sum(item.duration_ms for item in items)
    again = RunResult.from_dict(first.to_dict())
    assert again.to_dict() == first.to_dict()
