"""`orchestrator validate`: all findings in some workflows, without calling a tool."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import WRONG
from orchestrator.cli.diagnostics import document, in_servers_file, show
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import KnownTools, known_of_all
from orchestrator.cli.values import inputs_of
from orchestrator.documents.text import alternatives, counted, quoted
from orchestrator.errors import ConfigError, Problem, WorkflowError
from orchestrator.workflow.source_map import located

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.recovery import Recovered


@dataclass(slots=True)
class _Checked:
    """A workflow file, or what is left of it without its mistakes, and the findings in it."""

    file: Path
    workflow: Workflow | None  # None if it has mistakes
    rest: Recovered | None
    findings: list[Problem]
    tools: Mapping[str, Tool] = field(default_factory=dict)

    @property
    def readable(self) -> Workflow | None:
        """What can be checked against the tools."""
        return self.rest.workflow if self.rest is not None else self.workflow

    def add(self, known: KnownTools) -> None:
        """Add what the tools of the servers tell."""
        found, self.tools = known.findings, known.tools
        self.findings += found if self.rest is None else self.rest.telling(found)


def validate(options: argparse.Namespace) -> int:
    """`orchestrator validate`."""
    checked = [_loaded(options, file) for file in options.files]
    readable = [each for each in checked if each.readable is not None]
    try:
        known = known_of_all(options, [each.readable for each in readable if each.readable])
        for each, of_it in zip(readable, known, strict=True):
            each.add(of_it)
    except ConfigError as error:
        for each in checked:
            each.findings += in_servers_file(error)
    for each in checked:
        each.findings = _in_order(each, strict=options.strict)
    if options.json:
        documents = [document(str(each.file), each.findings) for each in checked]
        write_json(documents if len(documents) > 1 else documents[0])
    else:
        for each in checked:
            _show(each, verbose=options.verbose)
    return WRONG if any(map(_is_wrong, checked)) else 0


def _loaded(options: argparse.Namespace, file: Path) -> _Checked:
    from orchestrator.workflow.inputs import complete_inputs
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.recovery import read_again, recover

    try:
        workflow = Workflow.load(file)
    except WorkflowError as error:
        # What is left without the errors is checked too, so that all errors show at once.
        rest = recover(read_again(file), error.problems)
        return _Checked(file, None, rest, list(error.problems))
    found: list[Problem] = []
    if options.input or options.inputs is not None:
        given = inputs_of(options, workflow.inputs.get)
        try:
            complete_inputs(workflow.inputs, given, str(file))
        except WorkflowError as error:
            found += error.problems
    return _Checked(file, workflow, None, found)


def _in_order(checked: _Checked, *, strict: bool) -> list[Problem]:
    """The findings in a file with their places; with `strict`, warnings are errors."""
    from orchestrator.check.proof import proved
    from orchestrator.workflow.recovery import read_again

    found = checked.findings
    if any(problem.replacement for problem in found):
        found = proved(found, partial(read_again, checked.file), checked.tools)
    return [
        replace(each, severity="error") if strict and each.severity == "warning" else each
        for each in located(found, checked.file)
    ]


def _is_wrong(checked: _Checked) -> bool:
    return any(finding.severity == "error" for finding in checked.findings)


def _show(checked: _Checked, *, verbose: bool) -> None:
    file, findings, is_wrong = checked.file, checked.findings, _is_wrong(checked)
    # A valid workflow has that note in its own line.
    unchecked = [f for f in findings if f.code == "tools_not_checked" and not is_wrong]
    show(str(file), [each for each in findings if each not in unchecked], verbose=verbose)
    if is_wrong:
        return
    assert checked.workflow is not None
    plan = checked.workflow.plan
    down = [quoted(finding.text) for finding in findings if finding.code == "server_unavailable"]
    write(
        f"{file}: valid, {plan.shape} on "
        f"{counted(len(plan.servers), 'server')}"
        + "".join(f"; {f.message}" for f in unchecked)
        + (f"; no tool of {'server' if len(down) == 1 else 'servers'} " if down else "")
        + (f"{alternatives(down)} was checked" if down else "")
    )
