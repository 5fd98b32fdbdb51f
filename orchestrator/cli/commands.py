"""What each command does.

The rule of this file: a command loads, asks the package, and prints; it decides nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.encoding import to_json
from orchestrator.errors import (
    ConfigError,
    OrchestratorError,
    Problem,
    WorkflowError,
)
from orchestrator.loading import uncollected

if TYPE_CHECKING:
    from orchestrator.config import Server
    from orchestrator.forecast import Forecast
    from orchestrator.workflow import Workflow

DEFAULT_SERVERS = Path("servers.toml")


def run(options: argparse.Namespace) -> int:
    """`orchestrator run`."""
    if options.json and options.events == "-":
        message = "--json and --events - both want stdout: give the events a file"
        raise WorkflowError("usage", [Problem("usage", message)])
    with uncollected():  # until the first server is started, every moment counts
        from orchestrator.cli.running import run_workflow
        from orchestrator.config import load_config
        from orchestrator.workflow import Workflow

        workflow, servers = _both(
            lambda: Workflow.load(options.file),
            lambda: load_config(options.servers or DEFAULT_SERVERS),
        )
        inputs = _inputs(options, workflow)
    return run_workflow(options, workflow, servers, inputs)


def _both(
    load_workflow: Callable[[], Workflow], load_servers: Callable[[], dict[str, Server]]
) -> tuple[Workflow, dict[str, Server]]:
    """Load two files; if both are wrong, the user hears of both at once."""
    try:
        workflow = load_workflow()
    except WorkflowError as error:
        try:
            load_servers()
        except ConfigError as other:
            print(f"orchestrator: {other}", file=sys.stderr)
        raise error from None
    return workflow, load_servers()


def _inputs(options: argparse.Namespace, workflow: Workflow) -> dict[str, Any]:
    from orchestrator.documents import read_document
    from orchestrator.inputs import parse_input

    inputs: dict[str, Any] = {}
    if options.inputs is not None:
        inputs = read_document(options.inputs)
        if not isinstance(inputs, dict):
            problem = Problem("wrong_type", "has to be an object of inputs by name")
            raise WorkflowError(str(options.inputs), [problem])
    for name, value in options.input:
        inputs[name] = parse_input(value, workflow.inputs.get(name))
    return inputs


def validate(options: argparse.Namespace) -> int:
    """`orchestrator validate`."""
    from orchestrator.workflow import Workflow

    problems: list[Problem] = []
    warnings: list[Problem] = []
    workflow = None
    try:
        workflow = Workflow.load(options.file)
    except WorkflowError as error:
        problems += error.problems
    problems += _server_problems(options, workflow)
    if workflow is not None and not problems:
        warnings, problems = _ask_servers(options, workflow)
    if options.json:
        findings = {
            "valid": not problems,
            "problems": [problem.to_dict() for problem in problems],
            "warnings": [warning.to_dict() for warning in warnings],
        }
        print(to_json(findings, indent=2))
        return 2 if problems else 0
    _print_warnings(warnings)
    if problems:
        raise WorkflowError(str(options.file), problems)
    assert workflow is not None
    plan = workflow.plan
    print(
        f"{options.file}: valid: {_count(len(plan.tasks), 'task')} in "
        f"{_count(len(plan.generations), 'generation')} on {_count(len(plan.servers), 'server')}"
    )
    return 0


def _ask_servers(
    options: argparse.Namespace, workflow: Workflow
) -> tuple[list[Problem], list[Problem]]:
    """Warnings and problems that show only against the servers' tools, if they may be asked."""
    from orchestrator.cli.knowing import known_of

    known = known_of(options, workflow)
    return known.warnings, known.problems


def _print_warnings(warnings: list[Problem]) -> None:
    for warning in warnings:
        print(f"orchestrator: warning: {warning}", file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _server_problems(options: argparse.Namespace, workflow: Workflow | None) -> list[Problem]:
    """What is wrong with the servers' file, and with the servers that tasks name."""
    from orchestrator.config import load_config
    from orchestrator.planning import unknown_server

    if options.servers is None and not DEFAULT_SERVERS.exists():
        return []
    path = options.servers or DEFAULT_SERVERS
    try:
        servers = load_config(path)
    except ConfigError as error:
        return [
            Problem(p.code, f"{path}{p.path}: {p.message}", "", None, p.alternatives, p.hint)
            for p in error.problems
        ]
    return [
        unknown_server(target.server, servers, f" in {path}", task, at)
        for task, target, at in (workflow.plan.calls if workflow else ())
        if target.server not in servers
    ]


def plan(options: argparse.Namespace) -> int:
    """`orchestrator plan`."""
    from orchestrator.cli.knowing import known_of
    from orchestrator.forecast import forecast
    from orchestrator.workflow import Workflow

    workflow = Workflow.load(options.file)
    inputs, estimates = _given_inputs(options, workflow), _estimates(options, workflow)
    if sys.stderr.isatty() and not options.offline:
        print("orchestrator: asking the servers for their tools ...", file=sys.stderr)
    known = known_of(options, workflow)
    foreseen = forecast(workflow, known.tools, known.servers, inputs, estimates)
    warnings = [*known.problems, *known.warnings]  # a plan can be looked at without its servers
    _print_forecast(options, foreseen, warnings)
    if not options.json:
        _print_warnings(warnings)
    return 0


def _print_forecast(
    options: argparse.Namespace, foreseen: Forecast, warnings: list[Problem]
) -> None:
    """The plan on stdout, in the form that is asked for."""
    if options.svg:
        from orchestrator.svg import svg

        print(svg(foreseen))
    elif options.mermaid or options.dot:
        from orchestrator import diagrams

        print(diagrams.mermaid(foreseen) if options.mermaid else diagrams.dot(foreseen))
    elif options.json:
        from orchestrator.diagrams import plan_document

        found = [warning.to_dict() for warning in warnings]
        print(to_json({**plan_document(foreseen), "warnings": found}, indent=2))
    else:
        from orchestrator.cli.plan_report import print_plan

        print_plan(foreseen)
    sys.stdout.flush()


def _given_inputs(options: argparse.Namespace, workflow: Workflow) -> dict[str, Any]:
    """The inputs that were given, which have to fit; a plan can do without the others."""
    given = _inputs(options, workflow)
    if not given:
        return {}
    from orchestrator.inputs import complete_inputs

    declared = {
        name: schema
        for name, schema in workflow.inputs.items()
        if name in given or (isinstance(schema, dict) and "default" in schema)
    }
    return complete_inputs(declared, given, str(options.file))


def _estimates(options: argparse.Namespace, workflow: Workflow) -> dict[str, float]:
    if options.statistics is None:
        return {}
    from orchestrator.statistics import Statistics

    if not options.statistics.exists():
        message = f"{options.statistics} is not there yet: no times are known"
        print(f"orchestrator: warning: {message}", file=sys.stderr)
    return Statistics.load(options.statistics).estimates(workflow)


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    from orchestrator.cli.running import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.config import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)

    async def ask() -> tuple[list[Any], list[OrchestratorError]]:
        async with Orchestrator(servers) as orchestrator:
            found = await orchestrator.tools(options.server)
            failures = [orchestrator.failure(name) for name in servers]
            return found, [failure for failure in failures if failure is not None]

    found, failures = in_event_loop(ask)
    if options.json:
        from orchestrator.cli.report import tool_document

        print(to_json([tool_document(tool) for tool in found], indent=2))
    else:
        from orchestrator.cli.report import print_tools

        print_tools(found)
    for failure in failures:
        print(f"orchestrator: {failure}", file=sys.stderr)
    return 1 if failures else 0


def call(options: argparse.Namespace) -> int:
    """`orchestrator call`."""
    from orchestrator.cli.running import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.config import load_config
    from orchestrator.inputs import parse_input

    server, colon, name = options.target.partition(":")
    if not colon or not server or not name:
        problem = Problem("usage", f"{options.target!r} names no tool: it is written server:tool")
        raise WorkflowError("usage", [problem])
    servers = load_config(options.servers or DEFAULT_SERVERS)

    async def ask() -> Any:
        async with Orchestrator(servers) as orchestrator:
            known = {tool.name: tool.input_schema for tool in await orchestrator.tools(server)}
            properties = known.get(name, {}).get("properties", {})
            arguments = {
                argument: parse_input(value, properties.get(argument))
                for argument, value in options.arguments
            }
            return await orchestrator.call(options.target, arguments, options.timeout)

    output = in_event_loop(ask)
    print(output if isinstance(output, str) and not options.json else to_json(output, indent=2))
    return 0


def schema(_: argparse.Namespace) -> int:
    """`orchestrator schema`."""
    from orchestrator.workflow import workflow_schema

    print(to_json(workflow_schema(), indent=2))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "validate": validate,
    "plan": plan,
    "tools": tools,
    "call": call,
    "schema": schema,
}
