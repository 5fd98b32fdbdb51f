"""The engine as tools of LangChain and LangGraph; needs `langchain-core` alone."""

from __future__ import annotations

from typing import Any, Unpack

from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Offered, ToolOptions, text_of, whole
from orchestrator.integrations.plan_streams import PlanStreams
from orchestrator.serve.answers import Answer, ServedTool

__all__ = ["note_chunk", "orchestrator_tools", "tools_of"]


async def orchestrator_tools(
    engine: Orchestrator, **options: Unpack[ToolOptions]
) -> list[StructuredTool]:
    """The tools of an open engine, for `create_agent` or a `ToolNode`; asynchronous calls only.

    The `artifact` of a `ToolMessage` is the `RunResult`. Nothing here asks a person before a call,
    so no tool answers the questions of runs: for approvals see `langchain_middleware`.
    """
    return await tools_of(Offered(engine, gated=False, **options))


def note_chunk(streams: PlanStreams, chunk: Any) -> None:
    """Take a message of `agent.astream(..., stream_mode="messages")`."""
    for piece in getattr(chunk, "tool_call_chunks", ()):
        if piece["name"]:
            streams.begin(piece["index"], piece["name"])
        streams.write(piece["index"], piece["args"] or "")


async def tools_of(offered: Offered) -> list[StructuredTool]:
    """The tools that are offered, as those of LangChain."""
    return [_tool(offered, served) for served in await offered.tools()]


class _Tool(StructuredTool):
    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        message = await super().arun(*args, **kwargs)
        if isinstance(message, ToolMessage) and isinstance(message.artifact, Answer):
            # A raised ToolException would say so too, but the result would be lost.
            message.status = "error" if message.artifact.is_error else "success"
            message.artifact = whole(message.artifact)
        return message


def _tool(offered: Offered, served: ServedTool) -> StructuredTool:
    async def run(**arguments: Any) -> tuple[str, Answer]:
        answer = await offered.call(served.name, arguments)
        return text_of(answer), answer

    return _Tool(
        name=served.name,
        description=served.description,
        args_schema=dict(served.input_schema),
        func=None,
        coroutine=run,
        response_format="content_and_artifact",
        metadata=dict(served.annotations),
    )
