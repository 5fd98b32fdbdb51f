"""The adapter for the OpenAI Agents SDK, with the real one and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

agents = pytest.importorskip("agents", reason="openai-agents is not installed")

import anyio  # noqa: E402
from agents.testing import ScriptedModel, assistant_message, function_call  # noqa: E402

from orchestrator.integrations.openai_agents import note_event, orchestrator_tools  # noqa: E402
from orchestrator.integrations.plan_streams import PlanStreams  # noqa: E402
from orchestrator.journal.history import runs  # noqa: E402
from tests.conftest import ON_ASYNCIO  # noqa: E402
from tests.integrations.scene import (  # noqa: E402
    ANSWER,
    ASKS,
    PLAN,
    RUN,
    WRONG,
    check_answered,
    check_invalid,
    check_partial,
    engine_of,
    named,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


def agent_of(tools: Any, *calls: Any) -> tuple[Any, Any]:
    turns = [[function_call(*named(call), call_id=str(n))] for n, call in enumerate(calls)]
    model = ScriptedModel([*turns, [assistant_message("done")]])
    return agents.Agent(name="a", model=model, tools=tools), model


async def test_a_plan_and_a_wrong_one() -> None:
    agents.set_tracing_disabled(True)
    async with engine_of() as engine:
        agent, model = agent_of(await orchestrator_tools(engine), WRONG, PLAN)
        await agents.Runner.run(agent, "go")
    check_invalid(model.calls[1].input[-1]["output"])
    check_partial(model.calls[2].input[-1]["output"])


@pytest.mark.parametrize("text", ['{"tasks": [', "[1]", "null"])
async def test_arguments_that_are_no_object_are_findings(text: str) -> None:
    agents.set_tracing_disabled(True)
    async with engine_of() as engine:
        tools = await orchestrator_tools(engine)
        call = function_call(RUN, text, call_id="1")
        model = ScriptedModel([[call], [assistant_message("done")]])
        await agents.Runner.run(agents.Agent(name="a", model=model, tools=tools), "go")
    assert "invalid" in model.calls[1].input[-1]["output"]


async def test_schemas_stay_open() -> None:
    async with engine_of() as engine:
        tool = next(tool for tool in await orchestrator_tools(engine) if tool.name == RUN)
    task = tool.params_json_schema["properties"]["tasks"]["items"]
    assert "additionalProperties" not in json.dumps(task)


async def test_a_plan_that_writes_is_approved_first() -> None:
    agents.set_tracing_disabled(True)
    called: list[str] = []
    async with engine_of(called) as engine:
        agent, model = agent_of(await orchestrator_tools(engine, approve="writes"), PLAN)
        result = await agents.Runner.run(agent, "go")
        assert len(result.interruptions) == 1
        assert not called
        state = result.to_state()
        state.approve(result.interruptions[0])
        await agents.Runner.run(agent, state)
    check_partial(model.calls[1].input[-1]["output"])


async def test_a_person_refuses_a_plan() -> None:
    agents.set_tracing_disabled(True)
    called: list[str] = []
    async with engine_of(called) as engine:
        agent, model = agent_of(await orchestrator_tools(engine, approve="writes"), PLAN)
        result = await agents.Runner.run(agent, "go")
        state = result.to_state()
        state.reject(result.interruptions[0])
        ended = await agents.Runner.run(agent, state)
    assert (called, ended.final_output) == ([], "done")
    assert "not approved" in model.calls[1].input[-1]["output"]


@pytest.mark.parametrize("says", [True, False])
async def test_a_person_approves_what_a_model_answers(says: bool, tmp_path: Path) -> None:
    agents.set_tracing_disabled(True)
    called: list[str] = []
    async with engine_of(called, tmp_path / "runs.db") as engine:
        agent, model = agent_of(await orchestrator_tools(engine), ASKS, ANSWER)
        result = await agents.Runner.run(agent, "go")
        assert [each.name for each in result.interruptions] == [ANSWER[0]]
        state = result.to_state()
        (state.approve if says else state.reject)(result.interruptions[0])
        await agents.Runner.run(agent, state)
        assert runs(tmp_path / "runs.db")[0].status == ("success" if says else "paused")
    assert called == (["double"] if says else [])
    if says:
        check_answered(model.calls[2].input[-1]["output"])


class Slow(ScriptedModel):
    """Writes on when the tasks that it has written have run."""

    called: list[str]

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        async for event in super().stream_response(*args, **kwargs):
            while event.type == "response.output_item.done" and len(self.called) < 2:
                await anyio.lowlevel.checkpoint()
            yield event


async def test_a_plan_runs_while_the_model_writes_it() -> None:
    agents.set_tracing_disabled(True)
    called: list[str] = []
    streams = PlanStreams()
    model = Slow([[function_call(RUN, PLAN, call_id="1")], [assistant_message("done")]])
    model.called = called
    async with engine_of(called) as engine:
        tools = await orchestrator_tools(engine, streams=streams)
        agent = agents.Agent(name="a", model=model, tools=tools)
        async for event in agents.Runner.run_streamed(agent, "go").stream_events():
            note_event(streams, event)
    assert called == ["double", "double", "fail"]
    check_partial(model.calls[1].input[-1]["output"])
