"""Runs a plan of tool calls over many MCP servers at once.

The map, from the edges to the core; imports point one way, downwards:

    cli, observers   the command line, and who watches a run
    client           Orchestrator, the front door   opening   servers that start while tasks run
    forecast, svg    what a plan will do            rehearsal a caller for dry runs, samples
    pool, keeper, breaker, config   the servers     connection, stdio, http   one session, its bytes
    engine           Run: decisions, calls and events, to a result
    performing       one task: its call, one for each item, and the fallback's
    schedules        when each task starts          calls     a call, and the policies around it
    priorities       which goes first under a limit statistics   what calls took in earlier runs
    limits, retries  slots, locks, rates; whether a call is made again
    outcomes         how a task ends; decide()      events, results   what a run tells and returns
    workflow         the file as a model            checking, planning, graph   compiled, ordered
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
    from orchestrator.jobs import Activity, RunState
    from orchestrator.outcomes import ItemResult
    from orchestrator.results import RunResult, TaskResult
    from orchestrator.statistics import Statistics
    from orchestrator.workflow import Task, Workflow

__all__ = [
    "Activity",
    "CallError",
    "ConfigError",
    "Event",
    "ItemResult",
    "Orchestrator",
    "OrchestratorError",
    "Problem",
    "Run",
    "RunResult",
    "RunState",
    "Server",
    "ServerStartError",
    "Statistics",
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
    "jobs": ("Activity", "RunState"),
    "outcomes": ("ItemResult",),
    "results": ("RunResult", "TaskResult"),
    "statistics": ("Statistics",),
    "workflow": ("Task", "Workflow"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(f"orchestrator.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
