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
from orchestrator.cli.findings import document, of_servers, show
from orchestrator.encoding import to_json
from orchestrator.errors import ConfigError, Problem, WorkflowError
from orchestrator.loading import uncollected
from orchestrator.sources import located

if TYPE_CHECKING:
    from orchestrator.config import Server
    from orchestrator.lockfile import Lock
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
        lock = _lock(options)
    return run_workflow(options, workflow, servers, inputs, lock)


def _lock(options: argparse.Namespace) -> Lock | None:
    """The lock file beside the servers' file, if there is one and it is wanted."""
    if options.no_lock:
        return None
    from orchestrator.lockfile import Lock

    return Lock.beside(options.servers or DEFAULT_SERVERS)


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
    findings = located([*problems, *warnings], options.file)
    if options.json:
        print(to_json(document(str(options.file), findings), indent=2))
        return 2 if problems else 0
    show(str(options.file), findings, verbose=options.verbose)
    if problems:
        return 2
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
    """Warnings and problems that show only against the servers' tools.

    The tools are those of the lock if there is one; else the servers are asked, if they may be.
    """
    from orchestrator.config import load_config
    from orchestrator.preflight import check_against, findings

    path = options.servers or DEFAULT_SERVERS
    if options.servers is None and not path.exists():
        return _split(findings(workflow, {}, {}))
    servers = load_config(path)
    if (lock := _lock(options)) is not None:
        return _split(check_against(workflow, servers, lock))
    if options.offline:
        return _split(findings(workflow, servers, {}))
    from orchestrator.cli.running import in_event_loop
    from orchestrator.client import Orchestrator

    async def ask() -> tuple[list[Problem], list[Problem]]:
        async with Orchestrator(servers) as orchestrator:
            return _split(await orchestrator.findings(workflow))

    return in_event_loop(ask)


def _split(found: list[Problem]) -> tuple[list[Problem], list[Problem]]:
    """What is no error, and what is."""
    errors = [problem for problem in found if problem.severity == "error"]
    return [problem for problem in found if problem.severity != "error"], errors


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
        return of_servers(path, error)
    return [
        unknown_server(target.server, servers, f" in {path}", task, at, target.tool)
        for task, target, at in (workflow.plan.calls if workflow else ())
        if target.server not in servers
    ]


def plan(options: argparse.Namespace) -> int:
    """`orchestrator plan`."""
    from orchestrator import diagrams
    from orchestrator.workflow import Workflow

    workflow = Workflow.load(options.file)
    if options.mermaid:
        print(diagrams.mermaid(workflow.plan))
        return 0
    if options.dot:
        print(diagrams.dot(workflow.plan, workflow.name))
        return 0
    if not options.json:
        from orchestrator.cli.report import print_plan

        print_plan(workflow)
        sys.stdout.flush()  # before the servers are asked, which takes a while
    warnings, problems = _ask_servers(options, workflow)
    # A plan can be looked at without its servers, so nothing makes it fail here.
    findings = located([*problems, *warnings], options.file)
    if options.json:
        found = [finding.to_dict() for finding in findings]
        print(to_json({**diagrams.plan_document(workflow), "warnings": found}, indent=2))
    else:
        show(str(options.file), findings, verbose=options.verbose)
    return 0


def tools(options: argparse.Namespace) -> int:
    """`orchestrator tools`."""
    from orchestrator.config import load_config

    servers = load_config(options.servers or DEFAULT_SERVERS)
    found, failures = found_tools(servers, [] if options.server is None else [options.server])
    if options.json:
        from orchestrator.cli.report import tool_document

        print(to_json([tool_document(tool) for tool in found], indent=2))
    else:
        from orchestrator.cli.report import print_tools

        print_tools(found)
    for failure in failures:
        print(f"orchestrator: {failure}", file=sys.stderr)
    return 1 if failures else 0


def lock(options: argparse.Namespace) -> int:
    """`orchestrator lock`."""
    from orchestrator.cli.locking import lock_servers

    return lock_servers(options, options.servers or DEFAULT_SERVERS)


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
    lock = _lock(options)

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
    from orchestrator.workflow import workflow_schema

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
