"""The engine as tools of the OpenAI Agents SDK."""

from __future__ import annotations

from typing import Any, Unpack

from agents import FunctionTool

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Offered, ToolOptions, text_of
from orchestrator.integrations.plan_streams import PlanStreams
from orchestrator.serve.answers import ServedTool

__all__ = ["note_event", "orchestrator_tools"]


async def orchestrator_tools(
    engine: Orchestrator, **options: Unpack[ToolOptions]
) -> list[FunctionTool]:
    """The tools of an open engine, for `Agent(tools=...)`.

    Calls that a person approves are interruptions of the run (`result.interruptions`).
    """
    offered = Offered(engine, gated=True, **options)
    return [_tool(offered, served) for served in await offered.tools()]


def note_event(streams: PlanStreams, event: Any) -> None:
    """Take an event of `Runner.run_streamed(...).stream_events()`."""
    if event.type != "raw_response_event":
        return
    data = event.data
    if data.type == "response.output_item.added" and data.item.type == "function_call":
        streams.begin(data.output_index, data.item.name)
    elif data.type == "response.function_call_arguments.delta":
        streams.write(data.output_index, data.delta)


def _tool(offered: Offered, served: ServedTool) -> FunctionTool:
    async def invoke(_: Any, arguments: str) -> str:
        return text_of(await offered.call_text(served.name, arguments))

    async def needs_approval(_: Any, arguments: dict[str, Any], __: str) -> bool:
        return offered.needs_approval(served.name, arguments)

    return FunctionTool(
        name=served.name,
        description=served.description,
        params_json_schema=dict(served.input_schema),
        on_invoke_tool=invoke,
        # Strict would close all objects, so that arguments in plans had no properties.
        strict_json_schema=False,
        # With a function, the SDK asks a person about arguments that are no object, too.
        needs_approval=needs_approval if offered.needs_approval(served.name) else False,
    )
