"""The adapter for LangChain and LangGraph, with the real ones and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain.agents", reason="langchain is not installed")

import anyio
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from orchestrator.integrations.langchain import note_chunk, orchestrator_tools
from orchestrator.integrations.langchain_middleware import orchestrator_middleware
from orchestrator.integrations.plan_streams import PlanStreams
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


class Scripted(GenericFakeChatModel):
    """Replies what it is told to, and keeps what it was told."""

    seen: list[Any] = []  # noqa: RUF012

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)


def scripted(*calls: Any) -> Scripted:
    turns = [
        AIMessage("", tool_calls=[{"name": name, "args": given, "id": str(n)}])
        for n, (name, given) in enumerate(map(named, calls))
    ]
    return Scripted(messages=iter([*turns, AIMessage("done")]), seen=[])


async def test_a_plan_and_a_wrong_one() -> None:
    async with engine_of() as engine:
        agent = create_agent(scripted(WRONG, PLAN), tools=await orchestrator_tools(engine))
        state = await agent.ainvoke({"messages": "go"})
    wrong, right = state["messages"][2], state["messages"][4]
    check_invalid(wrong.content)
    assert wrong.status == "error"
    check_partial(right.content)
    assert right.status == "success"
    assert right.artifact["b"].output == {"n": 8}


async def test_the_middleware_brings_tools_and_catalogue() -> None:
    async with engine_of() as engine:
        model = scripted(PLAN)
        agent = create_agent(
            model, middleware=[await orchestrator_middleware(engine)], system_prompt="Be kind."
        )
        state = await agent.ainvoke({"messages": "go"})
    check_partial(state["messages"][2].content)
    told = json.dumps(model.seen[0][0].content)
    assert "Be kind." in told
    assert "mock:double" in told


async def decided(middleware: Any, called: list[str], what: str, *calls: Any) -> Any:
    """What the model reads of its last call when a person has decided about it."""
    agent = create_agent(scripted(*calls), middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    state = await agent.ainvoke({"messages": "go"}, config)
    assert state["__interrupt__"]
    assert not called
    state = await agent.ainvoke(Command(resume={"decisions": [{"type": what}]}), config)
    assert state["messages"][-1].content == "done"
    return state["messages"][-2].content


async def test_a_plan_that_writes_is_approved_first() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        middleware = await orchestrator_middleware(engine, approve="writes")
        check_partial(await decided(middleware, called, "approve", PLAN))


async def test_a_person_refuses_a_plan() -> None:
    called: list[str] = []
    async with engine_of(called) as engine:
        middleware = await orchestrator_middleware(engine, approve="writes")
        assert "rejected" in await decided(middleware, called, "reject", PLAN)
    assert not called


@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_a_person_approves_what_a_model_answers(what: str, tmp_path: Path) -> None:
    called: list[str] = []
    async with engine_of(called, tmp_path / "runs.db") as engine:
        middleware = await orchestrator_middleware(engine)
        answer = await decided(middleware, called, what, ASKS, ANSWER)
        (known,) = runs(tmp_path / "runs.db")
    if what == "approve":
        check_answered(answer)
        assert (known.status, called) == ("success", ["double"])
    else:
        assert (known.status, called) == ("paused", [])


class Streaming(Scripted):
    """Writes its first call in pieces."""

    turns: list[Any] = []  # noqa: RUF012
    called: list[str] = []  # noqa: RUF012

    async def _astream(self, *_: Any, **__: Any) -> Any:
        for chunk in self.turns.pop(0):
            yield ChatGenerationChunk(message=chunk)
        while self.turns and self.called != ["double", "double"]:  # before the call is complete
            await anyio.lowlevel.checkpoint()


async def test_a_plan_runs_while_the_model_writes_it() -> None:
    called: list[str] = []
    streams, text = PlanStreams(), json.dumps(PLAN)
    first = tool_call_chunk(name=RUN, args=text[:9], id="1", index=0)
    rest = tool_call_chunk(name=None, args=text[9:], id=None, index=0)
    chunks = [AIMessageChunk(content="", tool_call_chunks=[each]) for each in (first, rest)]
    model = Streaming(messages=iter([]), seen=[], called=called)
    model.turns, model.called = [chunks, [AIMessageChunk(content="done")]], called
    state: Any = {}
    async with engine_of(called) as engine:
        agent = create_agent(model, tools=await orchestrator_tools(engine, streams=streams))
        stream = agent.astream({"messages": "go"}, stream_mode=["messages", "values"])
        async for mode, seen in stream:
            if mode == "messages":
                note_chunk(streams, seen[0])
            else:
                state = seen
    assert called == ["double", "double", "fail"]
    check_partial(state["messages"][2].content)
