"""The adapter for the Google ADK, with the real one and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.adk", reason="google-adk is not installed")

import anyio
from google.adk.agents import LlmAgent
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types

from orchestrator.integrations.google_adk import OrchestratorToolset
from orchestrator.journal.history import runs
from tests.conftest import ON_ASYNCIO
from tests.integrations.scene import (
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


class Scripted(BaseLlm):
    """Replies what it is told to."""

    turns: list[Any] = []  # noqa: RUF012

    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> Any:
        yield LlmResponse(content=types.Content(role="model", parts=[self.turns.pop(0)]))


def runner_of(toolset: Any, *calls: Any) -> Any:
    made = [types.FunctionCall(name=name, args=args) for name, args in map(named, calls)]
    turns = [types.Part(function_call=call) for call in made]
    model = Scripted(model="scripted", turns=[*turns, types.Part(text="done")])
    return InMemoryRunner(agent=LlmAgent(name="a", model=model, tools=[toolset]), app_name="x")


async def say(runner: Any, session: Any, part: Any) -> list[Any]:
    message = types.Content(role="user", parts=[part])
    run = runner.run_async(user_id="u", session_id=session.id, new_message=message)
    return [r for event in [e async for e in run] for r in event.get_function_responses()]


async def test_a_plan_and_a_wrong_one() -> None:
    async with engine_of() as engine:
        runner = runner_of(OrchestratorToolset(engine), WRONG, PLAN)
        session = await runner.session_service.create_session(app_name="x", user_id="u")
        wrong, right = await say(runner, session, types.Part(text="go"))
    check_invalid(wrong.response)
    check_partial(right.response)
    json.dumps(right.response)


async def test_it_is_opened_and_closed_in_different_tasks(tmp_path: Any) -> None:
    (tmp_path / "servers.toml").write_text("[servers.a]\ncommand = 'never-started'\n")
    toolset = OrchestratorToolset(tmp_path / "servers.toml")
    async with anyio.create_task_group() as group:
        group.start_soon(toolset.get_tools)
    assert RUN in [tool.name for tool in await toolset.get_tools()]
    async with anyio.create_task_group() as group:
        group.start_soon(toolset.close)


async def confirmed(runner: Any, called: list[str], *, says: bool) -> Any:
    """What the model reads of its last call when a person has decided about it."""
    session = await runner.session_service.create_session(app_name="x", user_id="u")
    message = types.Content(role="user", parts=[types.Part(text="go")])
    run = runner.run_async(user_id="u", session_id=session.id, new_message=message)
    asked = [c for event in [e async for e in run] for c in event.get_function_calls()][-1]
    assert asked.name == "adk_request_confirmation"
    assert not called
    reply = types.FunctionResponse(id=asked.id, name=asked.name, response={"confirmed": says})
    return (await say(runner, session, types.Part(function_response=reply)))[0].response


async def test_a_plan_that_writes_is_confirmed_first() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        runner = runner_of(OrchestratorToolset(engine, approve="writes"), PLAN)
        check_partial(await confirmed(runner, called, says=True))


async def test_a_person_refuses_a_plan() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        runner = runner_of(OrchestratorToolset(engine, approve="writes"), PLAN)
        assert (await confirmed(runner, called, says=False))["status"] == "refused"
    assert not called


@pytest.mark.parametrize("says", [True, False])
async def test_a_person_approves_what_a_model_answers(says: bool, tmp_path: Path) -> None:
    called: list[str] = []
    async with engine_of(called, tmp_path / "runs.db") as engine:
        runner = runner_of(OrchestratorToolset(engine), ASKS, ANSWER)
        answer = await confirmed(runner, called, says=says)
        assert runs(tmp_path / "runs.db")[0].status == ("success" if says else "paused")
    assert called == (["double"] if says else [])
    if says:
        check_answered(answer)
