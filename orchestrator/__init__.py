"""Runs a plan of tool calls over many MCP servers at once.

The map, from the edges to the core; imports point one way, downwards:

    cli, observers   the command line, and who watches a run
    client           Orchestrator, the front door   opening   servers that start while tasks run
    briefing         what a model is told           guide, example_plan   how to write a workflow
    forecast, svg    what a plan will do            rehearsal a caller for dry runs, samples
    pool, keeper, breaker, config   the servers     connection, stdio, http   one session, its bytes
    lockfile         what tools have to be like     definitions, differences   as JSON; between two
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
    from orchestrator.briefing import catalog_text
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
    from orchestrator.lockfile import Lock
    from orchestrator.outcomes import ItemResult
    from orchestrator.proof import prove
    from orchestrator.results import RunResult, TaskResult
    from orchestrator.statistics import Statistics
    from orchestrator.workflow import Task, Workflow, workflow_schema

__all__ = [
    "Activity",
    "CallError",
    "ConfigError",
    "Event",
    "ItemResult",
    "Lock",
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
    "catalog_text",
    "prove",
    "workflow_schema",
]

# Imported when first asked for: a command that needs only the standard library loads nothing else.
_HOMES = {
    "briefing": ("catalog_text",),
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
    "lockfile": ("Lock",),
    "outcomes": ("ItemResult",),
    "proof": ("prove",),
    "results": ("RunResult", "TaskResult"),
    "statistics": ("Statistics",),
    "workflow": ("Task", "Workflow", "workflow_schema"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(f"orchestrator.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
