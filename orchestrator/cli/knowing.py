"""What is known about a workflow's tools and servers, for the commands that call no tool.

The rule of this file: the one place where `validate`, `plan` and a dry run learn of tools. It calls
none; what cannot be asked is not known, and that is no error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.advice import warnings_of
from orchestrator.errors import ConfigError, Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.calls import Tool
    from orchestrator.config import Server
    from orchestrator.workflow import Workflow

DEFAULT_SERVERS = Path("servers.toml")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known.

    Attributes:
        warnings: What is most likely not meant, and `problems`: what is wrong.
        tools: Each tool that is known, by `server:tool`.
        servers: The settings of the servers, by name; empty if there are none to be had.
    """

    warnings: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    servers: Mapping[str, Server] = field(default_factory=dict)


def known_of(options: argparse.Namespace, workflow: Workflow) -> Known:
    """What the servers say of their tools, if they may be asked.

    Raises:
        ConfigError: The file of the servers is wrong, and is needed or was named.
    """
    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return Known(warnings_of(workflow, {}))
    if options.offline:
        return _offline(options, workflow, path)
    from orchestrator.cli.running import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.config import load_config

    servers = load_config(path)

    async def ask() -> Known:
        async with Orchestrator(servers) as orchestrator:
            warnings, problems = [], []
            try:
                warnings = await orchestrator.check(workflow)
            except WorkflowError as error:
                problems = list(error.problems)
            named = [name for name in workflow.plan.servers if name in servers]
            tools = [tool for name in named for tool in await orchestrator.tools(name)]
            known = {tool.target: tool for tool in tools}
            return Known(warnings, problems, known, servers)

    return in_event_loop(ask)


def _offline(options: argparse.Namespace, workflow: Workflow, path: Path) -> Known:
    """What is known without the servers. A file that nobody named may be wrong."""
    from orchestrator.config import load_config

    try:
        servers = load_config(path)
    except ConfigError:
        if options.servers is not None:
            raise
        servers = {}
    return Known(warnings_of(workflow, {}), servers=servers)
