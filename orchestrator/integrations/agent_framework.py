"""The engine as tools of the Microsoft Agent Framework."""

from __future__ import annotations

from typing import Any, Unpack

from agent_framework import FunctionTool

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Offered, ToolOptions, text_of
from orchestrator.serve.answers import ServedTool

__all__ = ["orchestrator_tools"]


async def orchestrator_tools(
    engine: Orchestrator, **options: Unpack[ToolOptions]
) -> list[FunctionTool]:
    """The tools of an open engine, for `Agent(client, tools=...)`.

    The framework decides by tool whether a person approves: with `approve="writes"` that is each
    tool that may write, `parallel_execute` among them, whatever its plan.
    """
    offered = Offered(engine, gated=True, **options)
    return [_tool(offered, served) for served in await offered.tools()]


def _tool(offered: Offered, served: ServedTool) -> FunctionTool:
    async def run(**arguments: Any) -> str:
        return text_of(await offered.call(served.name, arguments))

    asks = offered.needs_approval(served.name)
    return FunctionTool(
        name=served.name,
        description=served.description,
        func=run,
        input_model=dict(served.input_schema),
        approval_mode="always_require" if asks else "never_require",
    )
