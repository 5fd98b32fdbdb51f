"""The adapter for LlamaIndex, with the real one and a scripted model."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import (
    ChatMessage,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.mock import MockFunctionCallingLLM

from orchestrator.integrations.llama_index import orchestrator_tools
from tests.conftest import ON_ASYNCIO
from tests.integrations.scene import (
    PLAN,
    RUN,
    WRONG,
    check_invalid,
    check_partial,
    engine_of,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


async def test_a_plan_and_a_wrong_one() -> None:
    turns: list[Any] = [
        ToolCallBlock(tool_call_id=str(n), tool_name=RUN, tool_kwargs=call)
        for n, call in enumerate((WRONG, PLAN))
    ]
    turns.append(TextBlock(text="done"))
    model = MockFunctionCallingLLM(
        response_generator=lambda _, **__: ChatMessage(role="assistant", blocks=[turns.pop(0)])
    )
    async with engine_of() as engine:
        tools: Any = await orchestrator_tools(engine)
        handler = FunctionAgent(tools=tools, llm=model, streaming=False).run("go")
        results = [e async for e in handler.stream_events() if isinstance(e, ToolCallResult)]
        assert all(json.dumps(tool.metadata.to_openai_tool()) for tool in tools)
    wrong, right = (result.tool_output for result in results)
    check_invalid(wrong.content)
    assert wrong.is_error
    check_partial(right.content)
    assert not right.is_error
    assert right.raw_output["b"].output == {"n": 8}


async def test_a_call_that_is_not_asynchronous_says_so() -> None:
    async with engine_of() as engine:
        output = (await orchestrator_tools(engine))[0].call()
    assert output.is_error
    assert "acall" in output.content
