"""The adapter for Pydantic AI, with the real one and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pydantic-ai-slim is not installed")

import anyio
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from orchestrator.integrations.plan_streams import PlanStreams
from orchestrator.integrations.pydantic_ai import OrchestratorToolset, note_event
from orchestrator.journal.history import runs
from tests.conftest import ON_ASYNCIO
from tests.integrations.scene import (
    ANSWER,
    ASKS,
    PLAN,
    RUN,
    WRONG,
    check_answered,
    check_partial,
    engine_of,
    named,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


def agent_of(toolset: Any, *calls: Any) -> Any:
    turns = iter([*(ToolCallPart(*named(call)) for call in calls), TextPart("done")])
    model = FunctionModel(lambda _, __: ModelResponse(parts=[next(turns)]))
    return Agent(model, toolsets=[toolset], output_type=[str, DeferredToolRequests])


async def test_findings_are_retries_and_results_whole_for_programs() -> None:
    async with engine_of() as engine:
        result = await agent_of(OrchestratorToolset(engine), WRONG, PLAN).run("go")
    messages = result.all_messages()
    retry = messages[2].parts[0]
    assert retry.outcome == "retried"
    assert "double" in str(retry.content)
    returned = messages[-2].parts[0]
    check_partial(returned.content)
    assert returned.metadata["b"].output == {"n": 8}
    json.dumps(returned.content)


async def test_it_owns_the_engine_of_a_servers_toml(tmp_path: Any) -> None:
    (tmp_path / "servers.toml").write_text("[servers.a]\ncommand = 'never-started'\n")
    toolset = OrchestratorToolset(tmp_path / "servers.toml")
    agent = agent_of(toolset, {"tasks": [{"id": "v", "value": 3}]})
    async with agent:
        result = await agent.run("go")
    assert result.all_messages()[-2].parts[0].content["output"] == {"v": 3}


async def test_a_plan_that_writes_is_approved_first() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        agent = agent_of(OrchestratorToolset(engine, approve="writes"), PLAN)
        result = await agent.run("go")
        (call,) = result.output.approvals
        assert not called
        result = await agent.run(
            message_history=result.all_messages(),
            deferred_tool_results=DeferredToolResults(approvals={call.tool_call_id: True}),
        )
    check_partial(result.all_messages()[-2].parts[0].content)


async def decided(agent: Any, result: Any, says: bool) -> Any:
    """How a run of the agent goes on when a person has decided."""
    (call,) = result.output.approvals
    return await agent.run(
        message_history=result.all_messages(),
        deferred_tool_results=DeferredToolResults(approvals={call.tool_call_id: says}),
    )


async def test_a_person_refuses_a_plan() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        agent = agent_of(OrchestratorToolset(engine, approve="writes"), PLAN)
        result = await decided(agent, await agent.run("go"), says=False)
    assert (called, result.output) == ([], "done")
    assert "denied" in str(result.all_messages()[-2].parts[0].content)


@pytest.mark.parametrize("says", [True, False])
async def test_a_person_approves_what_a_model_answers(says: bool, tmp_path: Path) -> None:
    called: list[str] = []
    async with engine_of(called, tmp_path / "runs.db") as engine:
        agent = agent_of(OrchestratorToolset(engine), ASKS, ANSWER)
        result = await agent.run("go")
        assert [call.tool_name for call in result.output.approvals] == [ANSWER[0]]
        result = await decided(agent, result, says)
        assert runs(tmp_path / "runs.db")[0].status == ("success" if says else "paused")
    assert called == (["double"] if says else [])
    if says:
        check_answered(result.all_messages()[-2].parts[0].content)


async def test_a_plan_runs_while_the_model_writes_it() -> None:
    called: list[str] = []
    streams, turns = PlanStreams(), iter([True, False])

    async def model(*_: Any) -> Any:
        if not next(turns):
            yield "done"
            return
        text = json.dumps(PLAN)
        yield {0: DeltaToolCall(name=RUN, json_args=text[:9], tool_call_id="1")}
        yield {0: DeltaToolCall(json_args=text[9:])}
        while called != ["double", "double"]:  # before the call is complete
            await anyio.lowlevel.checkpoint()

    async def note(_: Any, events: Any) -> None:
        async for event in events:
            note_event(streams, event)

    async with engine_of(called) as engine:
        toolset = OrchestratorToolset(engine, streams=streams)
        agent = Agent(FunctionModel(stream_function=model), toolsets=[toolset])
        result = await agent.run("go", event_stream_handler=note)
    assert called == ["double", "double", "fail"]
    check_partial(result.all_messages()[-2].parts[0].content)
