"""Which workflows a change of tools breaks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import Problem, Severity
from orchestrator.preflight import check_against, unknown_servers
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Definition, Lockfile
from orchestrator.workflow.model import Workflow

_SUFFIXES = (".json", ".yaml", ".yml")
_NOT_WORKFLOWS = (".test.json", ".schema.json")
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# Folders of others, with many files that are no workflows.
_NOT_OURS = ("node_modules", "__pycache__")


@dataclass(frozen=True, slots=True)
class Impact:
    """What changed tools do to a workflow.

    Attributes:
        problems: The findings that they make in it.
        uses: The tasks that use a tool that is gone, by `server:tool`.
    """

    problems: list[Problem]
    uses: Mapping[str, list[str]]

    @property
    def severity(self) -> Severity | None:
        """That of the worst finding; None without any."""
        found = {problem.severity for problem in self.problems}
        return next((each for each in _SEVERITIES if each in found), None)


def impact_on(
    workflow: Workflow, servers: Mapping[str, Server], before: Lockfile, after: Lockfile
) -> Impact:
    """What changed tools make wrong in a workflow; not what was wrong before.

    Args:
        workflow: The workflow.
        servers: The configuration of the servers.
        before: The tools as they were.
        after: The tools as they are now.
    """
    gone = removed(before, after)
    after = replace(after, source=before.source, servers_file=before.servers_file, gone=gone)
    taken_out = {name: Server(name=name) for name in before.definitions if name not in servers}
    known = _findings(workflow, {**servers, **taken_out}, before)
    found = list(_new(known, _findings(workflow, servers, after)))
    uses: dict[str, list[str]] = {}
    for task, target, _ in workflow.plan.calls:
        if target.tool in gone.get(target.server, ()):
            uses.setdefault(target.target, []).append(task.id)
    return Impact(found, uses)


def removed(before: Lockfile, after: Lockfile) -> dict[str, dict[str, Definition]]:
    """The tools of servers that are still there, which these do not list any more."""
    return {
        server: {name: of for name, of in tools.items() if name not in after.definitions[server]}
        for server, tools in before.definitions.items()
        if server in after
    }


def workflows_below(directory: Path) -> Iterator[Path]:
    """The files in a directory and those below that are workflows by their names, sorted.

    Hidden folders and those of packages are left out, and no link to a folder is followed.
    """
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _NOT_OURS
        )
        for name in sorted(files):
            if name.endswith(_SUFFIXES) and not name.endswith(_NOT_WORKFLOWS):
                yield Path(folder, name)


def _findings(workflow: Workflow, servers: Mapping[str, Server], lock: Lockfile) -> list[Problem]:
    return [*unknown_servers(workflow, servers), *check_against(workflow, servers, lock)]


def _new(known: Iterable[Problem], found: Sequence[Problem]) -> Iterator[Problem]:
    """The findings that were not known.

    A message also tells of what else there is, so a change may alter that of what was wrong before.
    """
    before, now = set(map(_key, known)), set(map(_key, found))
    altered = Counter(key[:-1] for key in before - now)
    for problem in found:
        *place, _ = key = _key(problem)
        if key in before:
            continue
        if altered[tuple(place)] > 0:
            altered[tuple(place)] -= 1
        else:
            yield problem


def _key(problem: Problem) -> tuple[str, ...]:
    """What tells a finding from others: its message comes last."""
    return problem.code, problem.severity, problem.path, problem.text, problem.message
