"""`orchestrator lock --workflows DIR`: the saved workflows that a change of tools breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
) -> dict[str, Any]:
    """Show which workflows below a directory a change of tools breaks, with what it makes wrong.

    What was wrong before is not shown.

    Returns:
        The same for programs: how many were checked, the files that have new findings, by the worst
        of these, and what uses each tool that is gone.
    """
    from orchestrator.impact import impact_on, removed, workflows_below
    from orchestrator.workflow.model import Workflow
    from orchestrator.workflow.source_map import located

    checked, worst = 0, dict[str, list[str]]()
    gone = removed(before, after)
    users: dict[str, list[str]] = {f"{name}:{tool}": [] for name in gone for tool in gone[name]}
    for path in workflows_below(directory):
        try:
            if not path.is_file():
                complain(f"{path} was not checked: it is not a file")
                continue
            workflow = Workflow.load(path)
        except WorkflowError as error:
            complain(f"{path} was not checked: {counted(len(error.problems), 'error')} in it")
            continue
        checked += 1
        impact = impact_on(workflow, servers, before, after)
        for target, tasks in impact.uses.items():
            users[target].append(f"{path} ({listed(dict.fromkeys(tasks), MAX_NAMES)})")
        if impact.severity is not None:
            worst.setdefault(impact.severity, []).append(str(path))
            show(str(path), located(impact.problems, path), verbose=True)
    for target, where in users.items():
        used = f"used by {listed(where, MAX_NAMES)}" if where else "no workflow uses it"
        write(f"{target}: its server does not offer it any more; {used}")
    write(f"{directory}: {_summary(checked, worst)}")
    files = {f"new_{severity}s": worst.get(severity, []) for severity in ("warning", "note")}
    return {"checked": checked, "broken": worst.get("error", []), **files, "gone": users}


def _summary(checked: int, worst: Mapping[str, Sequence[str]]) -> str:
    broken = worst.get("error", [])
    said = f"{len(broken)} of {counted(checked, 'workflow')} broken by these changes"
    said += f": {listed(broken, MAX_NAMES)}" if broken else ""
    for severity in ("warning", "note"):
        if names := worst.get(severity):
            said += f"; new {severity}s in {len(names)}: {listed(names, MAX_NAMES)}"
    return said
