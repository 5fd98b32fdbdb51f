"""The engine as a toolset of the Google ADK."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from google.adk.tools.base_tool import BaseTool
from google.adk.tools.base_toolset import BaseToolset
from google.genai.types import FunctionDeclaration

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Engine, Offered, ToolOptions
from orchestrator.serve.answers import ServedTool

__all__ = ["OrchestratorToolset"]


class OrchestratorToolset(BaseToolset):
    """The tools of the engine, for `LlmAgent(tools=[...])`.

    ADK lists and closes toolsets in different tasks, so an engine of its own lives in a third one.
    Calls that a person approves are requests for confirmation, as of `require_confirmation`.

    Args:
        source: The servers.toml of an engine that is open until `close`; or an engine that is open.
        options: As for every adapter.
    """

    def __init__(self, source: str | Path | Orchestrator, **options: Unpack[ToolOptions]) -> None:
        super().__init__()
        self._engine, self._options = Engine(source), options
        self._offered: Offered | None = None

    async def get_tools(self, readonly_context: Any = None) -> list[BaseTool]:  # noqa: ARG002
        """The tools; opens the engine."""
        if self._offered is None:
            engine = await self._engine.acquire()
            self._offered = Offered(engine, gated=True, **self._options)
        offered = self._offered
        return [_Tool(offered, served) for served in await offered.tools()]

    async def close(self) -> None:
        """Close the engine."""
        self._offered = None
        await self._engine.release(entirely=True)


class _Tool(BaseTool):
    def __init__(self, offered: Offered, served: ServedTool) -> None:
        super().__init__(name=served.name, description=served.description)
        self._offered, self._served = offered, served

    def _get_declaration(self) -> FunctionDeclaration:
        return FunctionDeclaration(
            name=self.name,
            description=self.description,
            parameters_json_schema=dict(self._served.input_schema),
        )

    async def run_async(self, *, args: dict[str, Any], tool_context: Any) -> dict[str, Any]:
        """Call it; a call that has to be confirmed is made when it is."""
        if self._offered.needs_approval(self._served.name, args):
            confirmation = tool_context.tool_confirmation
            if not confirmation:
                tool_context.request_confirmation(hint=f"Allow the call of {self.name}?")
                tool_context.actions.skip_summarization = True
                return {"status": "waiting", "error": "a person has to confirm this call"}
            if not confirmation.confirmed:
                return {"status": "refused", "error": "a person refused this call"}
        return (await self._offered.call(self._served.name, args)).document
