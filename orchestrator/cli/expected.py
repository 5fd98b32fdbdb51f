"""What a workflow is expected to take, by the journal that a command names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from orchestrator.cli.history import configured, path_of
from orchestrator.cli.tool_sources import servers_for
from orchestrator.errors import OrchestratorError
from orchestrator.journal.statistics import Expected, expected
from orchestrator.report.timing import Timing, timing
from orchestrator.workflow.model import Workflow

KNOWN_SHARE = 0.5  # of the tasks, of which times are known: with fewer, nothing is foreseen


def expected_of(options: argparse.Namespace, workflow: Workflow) -> Expected:
    """What each task is expected to take."""
    return expected(path_of(options, configured(options)), workflow)


def timing_of(
    options: argparse.Namespace, workflow: Workflow, inputs: Mapping[str, Any]
) -> Timing | None:
    """What a run is expected to take; None if too little is known."""
    try:
        found, servers = expected_of(options, workflow), servers_for(options, workflow)
    except OrchestratorError:  # servers.toml has changed since the run began, which has read it
        return None
    if len(found.seconds) < KNOWN_SHARE * len(workflow.plan.tasks):
        return None
    most = getattr(options, "max_concurrency", None)
    if most is not None:
        workflow = workflow.model_copy(update={"max_concurrency": most})
    return timing(workflow, servers, inputs, found.seconds, found.calls)
