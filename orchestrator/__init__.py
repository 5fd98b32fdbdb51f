"""Runs a plan of tool calls over many MCP servers at once.

The map, from the edges to the core; imports point one way, downwards:

    cli, observers   the command line, and who watches a run
    client           Orchestrator, the front door
    pool, connection, http, config   the servers: the only files that know `mcp`
    engine           Run: decisions, calls and events, to a result
    schedules        when each task starts          calls    a call, and the policies around it
    outcomes         how a task ends; decide()      events, results   what a run tells and returns
    workflow         the file as a model            planning, graph   checked, compiled, ordered
    references       $OUTPUT[id], $INPUT.x          expressions, paths   ${...}, and places in JSON
    errors           every exception, as a tree

A schedule decides when each task starts, a pure function decides whether and with what, a caller
makes the call on one of many MCP servers, and observers are told.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.calls import Tool
    from orchestrator.client import Orchestrator
    from orchestrator.config import Server
    from orchestrator.engine import Run
    from orchestrator.errors import (
        CallError,
        ConfigError,
        OrchestratorError,
        Problem,
        ServerStartError,
        TaskError,
        WorkflowError,
    )
    from orchestrator.events import Event
    from orchestrator.results import RunResult, TaskResult
    from orchestrator.workflow import Task, Workflow

__all__ = [
    "CallError",
    "ConfigError",
    "Event",
    "Orchestrator",
    "OrchestratorError",
    "Problem",
    "Run",
    "RunResult",
    "Server",
    "ServerStartError",
    "Task",
    "TaskError",
    "TaskResult",
    "Tool",
    "Workflow",
    "WorkflowError",
]

# Imported when first asked for: a command that needs only the standard library loads nothing else.
_HOMES = {
    "calls": ("Tool",),
    "client": ("Orchestrator",),
    "config": ("Server",),
    "engine": ("Run",),
    "errors": (
        "CallError",
        "ConfigError",
        "OrchestratorError",
        "Problem",
        "ServerStartError",
        "TaskError",
        "WorkflowError",
    ),
    "events": ("Event",),
    "results": ("RunResult", "TaskResult"),
    "workflow": ("Task", "Workflow"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(f"orchestrator.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
