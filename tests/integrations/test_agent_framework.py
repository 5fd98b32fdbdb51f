"""The adapter for the Microsoft Agent Framework, with the real one and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

framework = pytest.importorskip("agent_framework", reason="agent-framework-core is not installed")

from orchestrator.integrations.agent_framework import orchestrator_tools  # noqa: E402
from orchestrator.journal.history import runs  # noqa: E402
from tests.conftest import ON_ASYNCIO  # noqa: E402
from tests.integrations.scene import (  # noqa: E402
    ANSWER,
    ASKS,
    PLAN,
    WRONG,
    check_answered,
    check_invalid,
    check_partial,
    engine_of,
    named,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


class Scripted(framework.FunctionInvocationLayer, framework.BaseChatClient):  # type: ignore[name-defined]
    """Replies what it is told to."""

    turns: list[Any]

    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
        async def response() -> Any:
            message = framework.Message(role="assistant", contents=[self.turns.pop(0)])
            return framework.ChatResponse(messages=[message], response_id="r")

        return response()


def agent_of(tools: Any, *calls: Any) -> Any:
    model = Scripted()
    make = framework.Content.from_function_call
    model.turns = [
        make(call_id=str(n), name=name, arguments=given)
        for n, (name, given) in enumerate(map(named, calls))
    ]
    model.turns.append(framework.Content.from_text("done"))
    return framework.Agent(model, tools=tools)


async def test_a_plan_and_a_wrong_one() -> None:
    async with engine_of() as engine:
        response = await agent_of(await orchestrator_tools(engine), WRONG, PLAN).run("go")
    check_invalid(response.messages[1].contents[0].result)
    check_partial(response.messages[3].contents[0].result)
    assert response.text == "done"
    json.dumps(PLAN)


async def approved(agent: Any, called: list[str], *, says: bool) -> Any:
    """What the model reads of its last call when a person has decided about it."""
    session = agent.create_session()
    response = await agent.run("go", session=session)
    (request,) = response.user_input_requests
    assert not called
    reply = request.to_function_approval_response(says)
    message = framework.Message(role="user", contents=[reply])
    again = await agent.run(message, session=session)
    results = [c for m in again.messages for c in m.contents if c.type == "function_result"]
    return results[-1].result


async def test_tools_that_may_write_are_approved_first() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        agent = agent_of(await orchestrator_tools(engine, approve="writes"), PLAN)
        check_partial(await approved(agent, called, says=True))
    assert "fail" in called


async def test_a_person_refuses_a_plan() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        agent = agent_of(await orchestrator_tools(engine, approve="writes"), PLAN)
        assert "rejected" in await approved(agent, called, says=False)
    assert not called


@pytest.mark.parametrize("says", [True, False])
async def test_a_person_approves_what_a_model_answers(says: bool, tmp_path: Path) -> None:
    called: list[str] = []
    async with engine_of(called, tmp_path / "runs.db") as engine:
        agent = agent_of(await orchestrator_tools(engine), ASKS, ANSWER)
        answer = await approved(agent, called, says=says)
        assert runs(tmp_path / "runs.db")[0].status == ("success" if says else "paused")
    assert called == (["double"] if says else [])
    if says:
        check_answered(answer)
