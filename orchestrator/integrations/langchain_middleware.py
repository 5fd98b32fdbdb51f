"""A middleware of LangChain's `create_agent`: tools, what lies behind them, and approvals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import SystemMessage
from langchain_core.tools import StructuredTool

from orchestrator.client import Orchestrator
from orchestrator.integrations.langchain import tools_of
from orchestrator.integrations.offered import Offered, ToolOptions
from orchestrator.report.prompt import catalog_text

__all__ = ["OrchestratorMiddleware", "orchestrator_middleware"]

MAX_CATALOG = 8000  # characters: a longer one costs more in each prompt than find_tools does


async def orchestrator_middleware(
    engine: Orchestrator, **options: Unpack[ToolOptions]
) -> OrchestratorMiddleware:
    """The middleware for an open engine, for `create_agent(model, middleware=[...])`.

    Calls that a person approves are interrupts, as of `HumanInTheLoopMiddleware`.
    """
    offered = Offered(engine, gated=True, **options)
    tools = await tools_of(offered)
    about = offered.toolset.instructions()
    catalog = catalog_text(offered.toolset.known.tools().values(), guide=False)
    if len(catalog) <= MAX_CATALOG:
        about += f"\n\n{catalog}"
    return OrchestratorMiddleware(offered, tools, about)


class OrchestratorMiddleware(HumanInTheLoopMiddleware):
    """Brings the tools, tells the model of them, and asks a person before calls that need it."""

    def __init__(self, offered: Offered, tools: Sequence[StructuredTool], about: str) -> None:
        def asks(request: Any) -> bool:
            call = request.tool_call
            return offered.needs_approval(call["name"], call["args"])

        decisions = ["approve", "edit", "reject"]
        config = {"allowed_decisions": decisions, "when": asks}
        super().__init__(interrupt_on={tool.name: config for tool in tools})
        self.tools, self._about = list(tools), about

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        """Add to the system message how the tools are used."""
        given = request.system_message
        blocks = [] if given is None else list(given.content_blocks)
        blocks.append({"type": "text", "text": self._about})
        return await handler(request.override(system_message=SystemMessage(content=blocks)))
