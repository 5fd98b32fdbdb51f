"""The engine as a toolset of Pydantic AI."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, Unpack

from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.messages import (
    PartDeltaEvent,
    PartStartEvent,
    ToolCallPart,
    ToolCallPartDelta,
    ToolReturn,
)
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from orchestrator.client import Orchestrator
from orchestrator.documents.encode import to_json
from orchestrator.integrations.offered import Engine, Offered, ToolOptions, whole
from orchestrator.integrations.plan_streams import PlanStreams

__all__ = ["OrchestratorToolset", "note_event"]

MAX_RETRIES = 3
_ANYTHING = SchemaValidator(core_schema.any_schema())


def note_event(streams: PlanStreams, event: Any) -> None:
    """Take an event of a stream of the model's response, as `event_stream_handler` gets them."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, ToolCallPart):
        streams.begin(event.index, event.part.tool_name)
        written = event.part.args
    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, ToolCallPartDelta):
        written = event.delta.args_delta
    else:
        return
    if isinstance(written, str):
        streams.write(event.index, written)


class OrchestratorToolset(AbstractToolset[Any]):
    """The tools of the engine, for `Agent(toolsets=[...])`.

    Findings go back to the model as `ModelRetry`. `metadata` of a tool's return is the `RunResult`.
    Calls that a person approves are `DeferredToolRequests`: have them in the agent's `output_type`.

    Args:
        source: The servers.toml of an engine that is open as long as the toolset is; or an engine
            that is open.
        options: As for every adapter.
    """

    def __init__(self, source: str | Path | Orchestrator, **options: Unpack[ToolOptions]) -> None:
        self._engine, self._options = Engine(source), options
        self._offered: Offered | None = None

    @property
    def id(self) -> str:
        """Its name among the toolsets of an agent."""
        return "orchestrator"

    async def __aenter__(self) -> Self:
        engine = await self._engine.acquire()
        if self._offered is None:
            self._offered = Offered(engine, gated=True, **self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        if await self._engine.release():
            self._offered = None

    async def get_instructions(self, ctx: RunContext[Any]) -> str:  # noqa: ARG002
        """How to use the tools."""
        return self._opened().toolset.instructions()

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:  # noqa: ARG002
        """The tools by name."""
        tools = {}
        for served in await self._opened().tools():
            definition = ToolDefinition(
                name=served.name,
                description=served.description,
                parameters_json_schema=dict(served.input_schema),
            )
            tools[served.name] = ToolsetTool(
                toolset=self,
                tool_def=definition,
                max_retries=MAX_RETRIES,
                args_validator=_ANYTHING,  # the toolset checks them, and says what is valid
            )
        return tools

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool."""
        del tool
        offered = self._opened()
        if not ctx.tool_call_approved and offered.needs_approval(name, tool_args):
            raise ApprovalRequired
        answer = await offered.call(name, tool_args)
        if answer.document.get("status") == "invalid":
            raise ModelRetry(to_json(answer.document["findings"]))
        return ToolReturn(return_value=answer.document, metadata=whole(answer))

    def _opened(self) -> Offered:
        if self._offered is None:
            raise RuntimeError("use 'async with agent', or let a run of the agent open the toolset")
        return self._offered
