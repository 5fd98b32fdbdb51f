"""The tools of servers and the saved workflows, and what follows from them until one changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.client import Orchestrator
from orchestrator.schema.tool import Tool
from orchestrator.serve.answers import ServedTool
from orchestrator.serve.saved import Saved, SavedWorkflow, described, effects, served, tool_name
from orchestrator.serve.search import Entry, Index
from orchestrator.workflow.model import Workflow


class Known:
    """What models can call, as of now; computed when it is asked for, and again after a change.

    Args:
        engine: Knows the tools of its servers.
        saved: The workflows of a directory.
        taken: Names that tools of servers cannot have.
        has_single: Whether the tools of the servers are tools of their own, too.
    """

    def __init__(
        self, engine: Orchestrator, saved: Saved, taken: Iterable[str], *, has_single: bool
    ) -> None:
        self._engine, self._saved, self._taken = engine, saved, frozenset(taken)
        self.has_single = has_single
        self._version: object = None
        self._tools: Mapping[str, Tool] = {}
        self._single: dict[str, Tool] = {}
        self._served: dict[str, ServedTool] = {}
        self._indexes: dict[str | None, Index] = {}

    def tools(self) -> Mapping[str, Tool]:
        """The known tools of the servers, by `server:tool`."""
        self._look()
        return self._tools

    def single(self) -> Mapping[str, Tool]:
        """Those that are tools of their own, by the name under which they are offered."""
        self._look()
        return self._single

    def served(self, saved: SavedWorkflow) -> ServedTool:
        """The tool of a saved workflow."""
        tools = self.tools()
        if saved.name not in self._served:
            self._served[saved.name] = served(saved, tools)
        return self._served[saved.name]

    def may_write(self, workflow: Workflow) -> bool:
        """Whether a workflow may call a tool that does not declare that it only reads."""
        return not effects(workflow, self.tools())["readOnlyHint"]

    def index(self, server: str | None) -> Index:
        """What can be found: all, or what there is of one server."""
        calls = {tool.target: name for name, tool in self.single().items()}
        if server not in self._indexes:
            entries = [Entry(tool, calls.get(target, "")) for target, tool in self._tools.items()]
            entries += (
                Entry(described(each.workflow), name)
                for name, each in self._saved.workflows.items()
            )
            of_server = (each for each in entries if server in (None, each.tool.server))
            self._indexes[server] = Index(of_server)
        return self._indexes[server]

    def _look(self) -> None:
        version = self._engine.tools_version, self._saved.workflows
        if version == self._version:
            return
        by_server = self._engine.known_tools()
        self._version = version
        self._tools = {tool.target: tool for of in by_server.values() for tool in of.values()}
        self._single, self._served, self._indexes = {}, {}, {}
        taken = {*self._taken, *self._saved.workflows}
        for tool in self._tools.values() if self.has_single else ():
            name = tool_name(f"{tool.server}__{tool.name}", taken)
            taken.add(name)
            self._single[name] = tool
