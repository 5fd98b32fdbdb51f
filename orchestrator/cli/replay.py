"""`orchestrator run --replay`: a run that starts no server."""

from __future__ import annotations

import argparse
import sys

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.run import run_workflow
from orchestrator.cli.tool_sources import DEFAULT_SERVERS
from orchestrator.cli.values import inputs_of
from orchestrator.client import Orchestrator
from orchestrator.errors import Problem, WorkflowError
from orchestrator.recordings.recording import Recording
from orchestrator.recordings.replay import ReplayPool
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow


def replay(options: argparse.Namespace) -> int:
    """Run a workflow with the answers of a recording; the inputs are those of then, if not given.

    Raises:
        WorkflowError: The workflow, its inputs or the recording are wrong.
    """
    found = [
        Problem("usage", f"--{name} and --replay exclude each other: a replay is {why}")
        for name, why in (("journal", "not kept"), ("statistics", "not measured"))
        if getattr(options, name)
    ]
    if found:
        raise WorkflowError("usage", found)
    workflow = Workflow.load(options.file)
    recording = Recording.load(options.replay)
    inputs = recording.inputs_of(workflow) | inputs_of(options, workflow.inputs.get)
    lock = None if options.no_lock else Lockfile.beside(options.servers or DEFAULT_SERVERS)
    for change in () if lock is None else recording.changes(lock):
        complain(f"warning: {change}")
    if not options.quiet:
        print(f"orchestrator: a replay of {options.replay}: no tool is called", file=sys.stderr)
    return run_workflow(options, workflow, inputs, Orchestrator(ReplayPool(recording)))
