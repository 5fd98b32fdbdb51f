"""`orchestrator lock --workflows DIR`: the saved workflows that a change of tools breaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.cli.diagnostics import complain, show
from orchestrator.cli.streams import write
from orchestrator.documents.text import counted, listed
from orchestrator.errors import ConfigError, Problem, WorkflowError
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile

MAX_NAMES = 10


def check_directory(directory: Path | None) -> None:
    """Raise a `ConfigError` if it is none."""
    if directory is not None and not directory.is_dir():
        raise ConfigError("usage", [Problem("usage", f"--workflows {directory} is no directory")])


def show_impact(
    directory: Path, servers: Mapping[str, Server], before: Lockfile, after: Lockfile
) -> None:
    """Show which workflows of a directory a change of tools breaks, with what it makes wrong.

    What was wrong before is not shown.
    """
    from orchestrator.impact import broken_by
    from orchestrator.serve.saved import workflow_files
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.source_map import located

    broken, checked = [], 0
    for path in workflow_files(directory):
        try:
            workflow = Workflow.load(path)
        except WorkflowError as error:
            complain(f"{path} was not checked: {counted(len(error.problems), 'error')} in it")
            continue
        checked += 1
        if found := broken_by(workflow, servers, before, after):
            broken.append(str(path))
            show(str(path), located(found, path))
    named = f"{len(broken)} of {counted(checked, 'workflow')} broken by these changes"
    write(f"{directory}: {named}{': ' if broken else ''}{listed(broken, MAX_NAMES)}")
