"""The engine as tools of smolagents, which is synchronous: the engine runs in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal
from smolagents import Tool

from orchestrator.client import Orchestrator
from orchestrator.integrations.offered import Offered, ToolOptions, text_of, whole
from orchestrator.serve.answers import Answer, ServedTool

__all__ = ["Document", "OrchestratorTool", "orchestrator_tools"]

_TYPES = ("string", "boolean", "integer", "number", "array", "object")


@contextmanager
def orchestrator_tools(
    source: str | Path | Orchestrator, **options: Unpack[ToolOptions]
) -> Iterator[list[OrchestratorTool]]:
    """The tools of an engine that is open in the block, for `CodeAgent(tools=...)`.

    smolagents asks no person before a call, so no tool answers the questions of runs: they come
    back in a result that is `paused`.

    Args:
        source: A servers.toml, or an engine that is not open yet.
        options: As for every adapter.
    """
    if not isinstance(source, Orchestrator):
        source = Orchestrator.from_config(source)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(source) as engine:
        offered = Offered(engine, gated=False, **options)
        yield [OrchestratorTool(offered, each, portal) for each in portal.call(offered.tools)]


class Document(dict[str, Any]):
    """What a call gives: an object for code, JSON as text, and in `result` the `RunResult`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.document)
        self.result = whole(answer)
        self._text = text_of(answer)

    def __str__(self) -> str:  # a ToolCallingAgent shows this to the model
        return self._text


class OrchestratorTool(Tool):
    """One of the tools."""

    name = description = "orchestrator"  # smolagents checks that the class has them
    inputs: dict[str, Any] = {}  # noqa: RUF012
    output_type = "object"
    skip_forward_signature_validation = True

    def __init__(self, offered: Offered, served: ServedTool, portal: BlockingPortal) -> None:
        self.name = served.name.replace("-", "_")  # a name in Python, for CodeAgent
        self.description, self.inputs = served.description, _inputs(served.input_schema)
        self._offered, self._served, self._portal = offered, served.name, portal
        super().__init__()

    def forward(self, *_: Any, **arguments: Any) -> Document:
        """Call it."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return Document(self._portal.call(self._offered.call, self._served, given))


def _inputs(schema: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    inputs = {}
    for name, property_ in schema.get("properties", {}).items():
        about = dict(property_) if isinstance(property_, Mapping) else {}
        if about.get("type") not in _TYPES:
            about["type"] = "any"
        about.setdefault("description", name)
        if name not in required:
            about["nullable"] = True
        inputs[name] = about
    return inputs
