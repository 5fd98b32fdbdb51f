"""What each command does: it loads files, asks the package and prints."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import in_servers_file, show
from orchestrator.cli.pool import pool_of
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import known_of, lock_of, read_servers, servers_for
from orchestrator.cli.values import inputs_of
from orchestrator.documents.files import write_text
from orchestrator.errors import ConfigError, Problem, WorkflowError
from orchestrator.workflow.source_map import located

if TYPE_CHECKING:
    from orchestrator.client import Orchestrator
    from orchestrator.report.forecast import Forecast
    from orchestrator.servers.config import Server
    from orchestrator.workflow.model import Workflow


def run(options: argparse.Namespace) -> int:
    """`orchestrator run`."""
    if options.json and options.events == "-":
        message = "--json and --events - both write to stdout"
        raise WorkflowError("usage", [Problem("usage", message, hint="give the events a file")])
    if options.on is not None:
        from orchestrator.cli.cluster import run_on

        return run_on(options)
    if options.stream:
        _check_stream(options)
    if options.replay is not None:
        from orchestrator.cli.replay import replay

        return replay(options)
    from orchestrator.cli.run import run_workflow

    if options.stream:
        from orchestrator.cli.stream import run_stream

        return run_stream(options, _orchestrator(options, read_servers(options)))
    workflow, servers = _load(options)
    inputs = inputs_of(options, workflow.inputs.get)
    return run_workflow(options, workflow, inputs, _orchestrator(options, servers))


def _orchestrator(options: argparse.Namespace, servers: dict[str, Server]) -> Orchestrator:
    """What runs a workflow as the options of `run` say."""
    from orchestrator.cli.journal import journal_for
    from orchestrator.client import Orchestrator

    lock = lock_of(options)
    journal = None if options.dry_run else journal_for(options, servers)
    if options.record is None:
        return Orchestrator(pool_of(options, servers, lock), journal=journal)
    return Orchestrator(servers, lock, journal=journal, record=options.record)


def _check_stream(options: argparse.Namespace) -> None:
    """Refuse what needs the whole plan before its first task."""
    for name in ("dry_run", "replay", "statistics"):
        if getattr(options, name):
            message = f"--{name.replace('_', '-')} needs the whole plan, and --stream has none yet"
            raise WorkflowError("usage", [Problem("usage", message, hint="write the plan first")])


def _load(options: argparse.Namespace) -> tuple[Workflow, dict[str, Server]]:
    """The workflow and the servers; the errors of both files are raised together."""
    from orchestrator.workflow.model import Workflow

    try:
        workflow = Workflow.load(options.file)
    except WorkflowError as error:
        # Show the errors of both files, so that fixing one does not reveal those of the other.
        try:
            read_servers(options)
        except ConfigError as other:
            problems = [*error.problems, *in_servers_file(other)]
            raise WorkflowError(error.source, problems) from None
        raise
    return workflow, servers_for(options, workflow)


def plan(options: argparse.Namespace) -> int:
    """`orchestrator plan`. Findings are shown, but do not make it fail."""
    from orchestrator.cli.expected import expected_of
    from orchestrator.report.forecast import forecast
    from orchestrator.workflow.inputs import complete_inputs
    from orchestrator.workflow.model import Workflow

    workflow = Workflow.load(options.file)
    if options.schedule is not None:
        workflow = workflow.model_copy(update={"schedule": options.schedule})
    given = inputs_of(options, workflow.inputs.get)
    inputs = complete_inputs(workflow.inputs, given, str(options.file), may_miss=True)
    seconds, runs, _ = expected_of(options, workflow)
    known = known_of(options, workflow)
    foreseen = forecast(workflow, known.tools, known.servers, inputs, seconds, runs)
    findings = located(known.findings, options.file)
    if options.output is None:
        _print_forecast(options, foreseen, findings)
    else:
        with redirect_stdout(io.StringIO()) as text:
            _print_forecast(options, foreseen, findings)
        _save(options.output, text.getvalue())
    if not options.json:
        show(str(options.file), findings, verbose=options.verbose)
    return 0


def _print_forecast(
    options: argparse.Namespace, foreseen: Forecast, findings: list[Problem]
) -> None:
    if options.svg or options.mermaid or options.dot:
        from orchestrator.report import diagrams, svg

        draw = svg.svg if options.svg else diagrams.mermaid if options.mermaid else diagrams.dot
        write(draw(foreseen))
    else:
        _print_plan(options, foreseen, findings)
    sys.stdout.flush()  # before the findings, which go to stderr


def _print_plan(options: argparse.Namespace, foreseen: Forecast, findings: list[Problem]) -> None:
    from orchestrator.servers.config import ServerTable
    from orchestrator.trust import trusted_in_use

    servers = foreseen.servers
    budget = servers.budget if isinstance(servers, ServerTable) else None
    trusted = trusted_in_use(foreseen.workflow, servers)
    if options.json:
        from orchestrator.report.diagrams import plan_document

        of_operator = {
            "operator_budget": budget and budget.model_dump(exclude_none=True),
            "trusted": [{"task": each.task, "because": each.because} for each in trusted],
        }
        warnings = [finding.to_dict() for finding in findings]
        write_json({**plan_document(foreseen), **of_operator, "warnings": warnings})
    else:
        from orchestrator.cli.tables import print_plan
        from orchestrator.report.plan_text import operator_lines

        print_plan(foreseen, operator_lines(budget, trusted), unfold=options.unfold)


def _save(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(str(path), [Problem("unwritable_file", message)]) from None


def schema(options: argparse.Namespace) -> int:
    """`orchestrator schema`."""
    if options.of == "workflow":
        from orchestrator.workflow.model import workflow_schema

        write_json(workflow_schema())
    else:
        from orchestrator.recordings.schemas import schema_of

        write_json(schema_of(options.of))
    return 0
