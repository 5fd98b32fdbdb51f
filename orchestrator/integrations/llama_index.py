"""The engine as tools of LlamaIndex."""

from __future__ import annotations

from typing import Any, Unpack

from llama_index.core.tools import AsyncBaseTool, ToolMetadata, ToolOutput

from orchestrator.client import Orchestrator
from orchestrator.documents.text import cut
from orchestrator.integrations.offered import Offered, ToolOptions, text_of, whole
from orchestrator.serve.answers import ServedTool

__all__ = ["OrchestratorTool", "orchestrator_tools"]

MAX_DESCRIPTION = 1024  # LlamaIndex refuses longer ones


async def orchestrator_tools(
    engine: Orchestrator, **options: Unpack[ToolOptions]
) -> list[OrchestratorTool]:
    """The tools of an open engine, for `FunctionAgent(tools=...)`.

    `raw_output` of a `ToolOutput` is the `RunResult`. LlamaIndex asks no person before a call, so
    no tool answers the questions of runs: they come back in a result that is `paused`.
    """
    offered = Offered(engine, gated=False, **options)
    return [OrchestratorTool(offered, served) for served in await offered.tools()]


class _Metadata(ToolMetadata):
    """Metadata with a JSON Schema as it is, in place of a class of pydantic."""

    def __init__(self, served: ServedTool) -> None:
        description = cut(served.description, MAX_DESCRIPTION)
        super().__init__(description, name=served.name, fn_schema=None)
        self._schema = dict(served.input_schema)

    def get_parameters_dict(self) -> dict[str, Any]:
        return self._schema


class OrchestratorTool(AsyncBaseTool):
    """One of the tools; asynchronous calls only."""

    def __init__(self, offered: Offered, served: ServedTool) -> None:
        self._offered, self._metadata = offered, _Metadata(served)
        self._name = served.name

    @property
    def metadata(self) -> ToolMetadata:
        """Its name, description and schema."""
        return self._metadata

    def call(self, *_: Any, **arguments: Any) -> ToolOutput:
        """Say that the call has to be asynchronous."""
        text = "this tool runs in an event loop: call it with 'await tool.acall(...)'"
        return self._output(text, arguments, None, is_error=True)

    async def acall(self, *_: Any, **arguments: Any) -> ToolOutput:
        """Call it."""
        answer = await self._offered.call(self._name, arguments)
        return self._output(text_of(answer), arguments, whole(answer), is_error=answer.is_error)

    def _output(
        self, text: str, arguments: dict[str, Any], raw: Any, *, is_error: bool
    ) -> ToolOutput:
        return ToolOutput(
            content=text,
            tool_name=self._name,
            raw_input=arguments,
            raw_output=raw,
            is_error=is_error,
        )
