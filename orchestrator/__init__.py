"""Runs a plan of tool calls over many MCP servers at once.

A schedule decides when each task starts, a pure function decides whether and with what, a caller
makes the call on one of many MCP servers, and observers receive the events.

The rooms, from the edges to the ground; a room imports only rooms below it:

    cli            arguments in, exit code out
    integrations   the same tools in agent frameworks
    serve          the engine as tools for models
    authoring      workflows made from what was done by hand
    client         Orchestrator, the front door: wires the rooms together
    observers      receive events: terminal, JSON Lines
    recordings     calls and their answers in a file
    report         text and pictures of a plan
    servers        sessions: which servers are alive, what they list
    transport      bytes to and from one server
    engine         when, whether and with what: from a Plan to a RunResult
    calls          one call and the middleware around it
    check          static analysis against the tools' schemas
    workflow       the file as a valid Workflow with its Plan
    schema         JSON Schemas and tool definitions
    expressions    $OUTPUT[...] and ${...}
    documents      JSON and YAML as text, values and places in them
    errors         every exception, as a tree
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.check.checker import prove
    from orchestrator.client import Orchestrator
    from orchestrator.engine.events import Event, Observer
    from orchestrator.engine.question import Question
    from orchestrator.engine.result import ItemResult, RunResult, TaskResult
    from orchestrator.engine.run import Run
    from orchestrator.engine.task_state import Activity, RunState
    from orchestrator.errors import (
        AnswerError,
        CallError,
        ConfigError,
        JournalError,
        OrchestratorError,
        Problem,
        RefusedError,
        ServerStartError,
        TaskError,
        WorkflowError,
    )
    from orchestrator.journal.orders import Order
    from orchestrator.journal.schedules import Schedule
    from orchestrator.report.prompt import catalog_text
    from orchestrator.schema.tool import Tool
    from orchestrator.servers.config import Server
    from orchestrator.servers.lockfile import Lockfile
    from orchestrator.testing import run_test
    from orchestrator.workflow.model import Workflow, workflow_schema
    from orchestrator.workflow.task import Task

__all__ = [
    "Activity",
    "AnswerError",
    "CallError",
    "ConfigError",
    "Event",
    "ItemResult",
    "JournalError",
    "Lockfile",
    "Observer",
    "Orchestrator",
    "OrchestratorError",
    "Order",
    "Problem",
    "Question",
    "RefusedError",
    "Run",
    "RunResult",
    "RunState",
    "Schedule",
    "Server",
    "ServerStartError",
    "Task",
    "TaskError",
    "TaskResult",
    "Tool",
    "Workflow",
    "WorkflowError",
    "catalog_text",
    "prove",
    "run_test",
    "workflow_schema",
]

# Imported when first asked for: a command that needs only the standard library loads nothing else.
_HOMES = {
    "client": ("Orchestrator",),
    "check.checker": ("prove",),
    "engine.events": ("Event", "Observer"),
    "engine.question": ("Question",),
    "engine.result": ("ItemResult", "RunResult", "TaskResult"),
    "engine.run": ("Run",),
    "engine.task_state": ("Activity", "RunState"),
    "errors": (
        "AnswerError",
        "CallError",
        "JournalError",
        "ConfigError",
        "OrchestratorError",
        "Problem",
        "RefusedError",
        "ServerStartError",
        "TaskError",
        "WorkflowError",
    ),
    "journal.orders": ("Order",),
    "journal.schedules": ("Schedule",),
    "report.prompt": ("catalog_text",),
    "schema.tool": ("Tool",),
    "servers.config": ("Server",),
    "servers.lockfile": ("Lockfile",),
    "testing": ("run_test",),
    "workflow.model": ("Workflow", "workflow_schema"),
    "workflow.task": ("Task",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(f"orchestrator.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
