"""What each command does.

The rule of this file: a command loads, asks the package, and prints; it decides nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.catalog import catalog, found_tools
from orchestrator.cli.diagnostics import complain, document, of_servers, show
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, check_servers, known_of, lock_of
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import counted
from orchestrator.errors import ConfigError, Problem, WorkflowError
from orchestrator.servers.loading import uncollected
from orchestrator.workflow.source_map import located

if TYPE_CHECKING:
    from orchestrator.report.forecast import Forecast
    from orchestrator.servers.config import Server
    from orchestrator.workflow.model import Workflow


def run(options: argparse.Namespace) -> int:
    """`orchestrator run`."""
    if options.json and options.events == "-":
        message = "--json and --events - both want stdout: give the events a file"
        raise WorkflowError("usage", [Problem("usage", message)])
    with uncollected():  # until the first server is started, every moment counts
        from orchestrator.cli.run import run_workflow
        from orchestrator.servers.config import load_config
        from orchestrator.workflow.model import Workflow

        workflow, servers = _both(
            lambda: Workflow.load(options.file),
            lambda: load_config(options.servers or DEFAULT_SERVERS),
        )
        inputs = _inputs(options, workflow)
        lock = lock_of(options)
    return run_workflow(options, workflow, servers, inputs, lock)


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
            problems = [*error.problems, *of_servers(Path(other.source), other)]
            raise WorkflowError(error.source, problems) from None
        raise error from None
    return workflow, load_servers()


def _inputs(options: argparse.Namespace, workflow: Workflow) -> dict[str, Any]:
    from orchestrator.documents.parse import read_document
    from orchestrator.workflow.inputs import parse_input

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
    with uncollected():  # all that is made is kept until the end
        workflow, findings = _found_in(options)
    is_wrong = any(finding.severity == "error" for finding in findings)
    if options.json:
        print(to_json(document(str(options.file), findings), indent=2))
        return 2 if is_wrong else 0
    unchecked = [finding for finding in findings if finding.code == "tools_not_checked"]
    told = findings if is_wrong else [found for found in findings if found not in unchecked]
    show(str(options.file), told, verbose=options.verbose)
    if is_wrong:
        return 2
    assert workflow is not None
    plan = workflow.plan
    tasks, generations = len(plan.tasks), len(plan.generations)
    how = f"valid in itself ({unchecked[0].message})" if unchecked else "valid"
    print(
        f"{options.file}: {how}: {counted(tasks, 'task')} in {counted(generations, 'generation')} "
        f"on {counted(len(plan.servers), 'server')}"
    )
    return 0


def _found_in(options: argparse.Namespace) -> tuple[Workflow | None, list[Problem]]:
    """The workflow, if it is one, and everything that is found in it."""
    from orchestrator.workflow.model import Workflow

    workflow = left = None
    found: list[Problem] = []
    try:
        workflow = Workflow.load(options.file)
    except WorkflowError as error:
        from orchestrator.workflow.recovery import read_again, recover

        found += error.problems
        left = recover(read_again(options.file), found)
    try:
        if workflow is not None:
            found += known_of(options, workflow).findings
        elif left is not None:
            found += left.telling(known_of(options, left.workflow).findings)
        else:
            check_servers(options)
    except ConfigError as error:
        found += of_servers(options.servers or DEFAULT_SERVERS, error)
    return workflow, located(found, options.file)


def plan(options: argparse.Namespace) -> int:
    """`orchestrator plan`."""
    from orchestrator.report.forecast import forecast
    from orchestrator.workflow.model import Workflow

    workflow = Workflow.load(options.file)
    inputs, estimates = _given_inputs(options, workflow), _estimates(options, workflow)
    known = known_of(options, workflow)
    foreseen = forecast(workflow, known.tools, known.servers, inputs, estimates)
    # A plan can be looked at without its servers, so nothing makes it fail here.
    findings = located(known.findings, options.file)
    _print_forecast(options, foreseen, findings)
    if not options.json:
        show(str(options.file), findings, verbose=options.verbose)
    return 0


def _print_forecast(
    options: argparse.Namespace, foreseen: Forecast, findings: list[Problem]
) -> None:
    """The plan on stdout, in the form that is asked for."""
    if options.svg:
        from orchestrator.report.svg import svg

        print(svg(foreseen))
    elif options.mermaid or options.dot:
        from orchestrator.report import diagrams

        print(diagrams.mermaid(foreseen) if options.mermaid else diagrams.dot(foreseen))
    elif options.json:
        from orchestrator.report.diagrams import plan_document

        found = [finding.to_dict() for finding in findings]
        print(to_json({**plan_document(foreseen), "warnings": found}, indent=2))
    else:
        from orchestrator.cli.tables import print_plan

        print_plan(foreseen)
    sys.stdout.flush()


def _given_inputs(options: argparse.Namespace, workflow: Workflow) -> dict[str, Any]:
    """The inputs that were given, which have to fit; a plan can do without the others."""
    given = _inputs(options, workflow)
    if not given:
        return {}
    from orchestrator.workflow.inputs import complete_inputs

    return complete_inputs(workflow.inputs, given, str(options.file), may_miss=True)


def _estimates(options: argparse.Namespace, workflow: Workflow) -> dict[str, float]:
    if options.statistics is None:
        return {}
    from orchestrator.observers.statistics import Statistics

    if not options.statistics.exists():
        message = f"{options.statistics} is not there yet: no times are known"
        print(f"orchestrator: warning: {message}", file=sys.stderr)
    return Statistics.load(options.statistics).estimates(workflow)


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    from orchestrator.servers.config import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)
    found, failures = found_tools(servers, options.server)
    if options.json:
        from orchestrator.cli.tables import tool_document

        print(to_json([tool_document(tool) for tool in found], indent=2))
    else:
        from orchestrator.cli.tables import print_tools

        print_tools(found)
    for failure in failures:
        complain(failure)
    return 1 if failures else 0


def lock(options: argparse.Namespace) -> int:
    """`orchestrator lock`."""
    from orchestrator.cli.lock import lock_servers

    return lock_servers(options, options.servers or DEFAULT_SERVERS)


def call(options: argparse.Namespace) -> int:
    """`orchestrator call`."""
    from orchestrator.cli.run import in_event_loop
    from orchestrator.client import Orchestrator
    from orchestrator.servers.config import load_config
    from orchestrator.workflow.inputs import parse_input

    server, colon, name = options.target.partition(":")
    if not colon or not server or not name:
        problem = Problem("usage", f"{options.target!r} names no tool: it is written server:tool")
        raise WorkflowError("usage", [problem])
    servers = load_config(options.servers or DEFAULT_SERVERS)
    lock = lock_of(options)

    async def ask() -> Any:
        async with Orchestrator(servers, lock) as orchestrator:
            known = {tool.name: tool.input_schema for tool in await orchestrator.tools(server)}
            schema = known.get(name, {})
            arguments = {
                argument: parse_input(value, _schema_of(argument, schema))
                for argument, value in options.arguments
            }
            return await orchestrator.call(options.target, arguments, options.timeout)

    output = in_event_loop(ask)
    print(output if isinstance(output, str) and not options.json else to_json(output, indent=2))
    return 0


def _schema_of(argument: str, schema: Mapping[str, Any]) -> Any:
    """The schema of one argument, with the definitions that it may refer to."""
    found = schema.get("properties", {}).get(argument)
    shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return {**shared, **found} if isinstance(found, dict) else found


def schema(_: argparse.Namespace) -> int:
    """`orchestrator schema`."""
    from orchestrator.workflow.model import workflow_schema

    print(to_json(workflow_schema(), indent=2))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "validate": validate,
    "plan": plan,
    "tools": tools,
    "lock": lock,
    "catalog": catalog,
    "call": call,
    "schema": schema,
}
