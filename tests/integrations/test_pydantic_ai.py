"""The adapter for Pydantic AI, with the real one and a scripted model."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pydantic-ai-slim is not installed")

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

from orchestrator.integrations.pydantic_ai import OrchestratorToolset
from tests.conftest import ON_ASYNCIO
from tests.integrations.scene import (
    PLAN,
    RUN,
    WRONG,
    check_partial,
    engine_of,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


def agent_of(toolset: Any, *calls: Any) -> Any:
    turns = iter([*(ToolCallPart(RUN, call) for call in calls), TextPart("done")])
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
