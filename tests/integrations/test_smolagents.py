"""The adapter for smolagents, with the real one and a scripted model."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("smolagents", reason="smolagents is not installed")

from smolagents import CodeAgent, Model, ToolCallingAgent
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
)

from orchestrator.integrations.smolagents import orchestrator_tools
from tests.integrations.scene import (
    PLAN,
    RUN,
    WRONG,
    check_invalid,
    check_partial,
    engine_of,
)


class Scripted(Model):
    """Replies what it is told to."""

    turns: list[Any]

    def generate(self, messages: Any, **_: Any) -> Any:
        turn = self.turns.pop(0)
        if isinstance(turn, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=turn)
        function = ChatMessageToolCallFunction(name=turn[0], arguments=turn[1])
        call = ChatMessageToolCall(id="1", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


def test_a_plan_and_a_wrong_one() -> None:
    model = Scripted(model_id="scripted")
    model.turns = [(RUN, WRONG), (RUN, PLAN), ("final_answer", {"answer": "done"})]
    with orchestrator_tools(engine_of()) as tools:
        agent = ToolCallingAgent(tools=tools, model=model, verbosity_level=0)
        assert agent.run("go") == "done"
    texts = [step.observations for step in agent.memory.steps[1:3]]
    check_invalid(texts[0][texts[0].index("{") :])
    check_partial(texts[1][texts[1].index("{") :])


def test_code_gets_an_object() -> None:
    model = Scripted(model_id="scripted")
    code = f"r = {RUN}(tasks={PLAN['tasks']!r})\nfinal_answer(r['output']['b']['n'])"
    model.turns = [f"<code>\n{code}\n</code>"]
    with orchestrator_tools(engine_of(), single_tools=True) as tools:
        agent = CodeAgent(tools=tools, model=model, verbosity_level=0)
        assert agent.run("go") == 8
        document = next(tool for tool in tools if tool.name == RUN)(**PLAN)
        assert document.result["b"].output == {"n": 8}
        json.dumps(document)
