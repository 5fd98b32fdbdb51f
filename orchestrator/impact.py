"""Which workflows a change of tools breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.errors import Problem
from orchestrator.preflight import check_against
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow


def broken_by(
    workflow: Workflow, servers: Mapping[str, Server], before: Lockfile, after: Lockfile
) -> list[Problem]:
    """What changed tools make wrong in a workflow, with the warnings; nothing if it is no error.

    Args:
        workflow: The workflow.
        servers: The configuration of the servers.
        before: The tools as they were.
        after: The tools as they are now.
    """
    after = replace(after, source=before.source, servers_file=before.servers_file)
    known = {_key(problem) for problem in check_against(workflow, servers, before)}
    found = [each for each in check_against(workflow, servers, after) if _key(each) not in known]
    return found if any(problem.severity == "error" for problem in found) else []


def _key(problem: Problem) -> tuple[str, ...]:
    return problem.code, problem.severity, problem.path, problem.message
