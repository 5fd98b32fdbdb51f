"""`orchestrator explain`: where the time of a run went, and what would have saved some."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from orchestrator.cli.kept_run import NamedRun, named_run
from orchestrator.cli.streams import write, write_json
from orchestrator.documents.text import duration
from orchestrator.explain import sentences
from orchestrator.explain.changes import Change, best_changes
from orchestrator.explain.path import Analysis
from orchestrator.explain.story import Story
from orchestrator.explain.what_if import Settings, WhatIf
from orchestrator.journal.history import KnownRun
from orchestrator.journal.kept import KeptDocuments
from orchestrator.recordings.clock import INSTANT


def _changes(named: NamedRun, analysis: Analysis) -> tuple[float, list[Change]]:
    """What the engine takes as it was, milliseconds, and what saves most, first."""
    request = named.kept.request
    told, story = request["settings"], analysis.story
    most = told["max_concurrency"]
    most = story.workflow.max_concurrency if most is None else most
    limits = request.get("limits") or {}
    settings = Settings(told["schedule"], most, limits, estimates=told["estimates"])
    return best_changes(analysis, WhatIf(story, _reads(named.kept), INSTANT), settings)


def _reads(kept: KeptDocuments) -> Mapping[str, bool]:
    """Whether each tool that was called only reads, where that is kept."""
    found: dict[str, bool] = {}
    for key in kept.records:
        if key.kind == "tool":
            found[key.path] = kept.records.payload(key).get("read_only", True)
    return found


def explain(options: argparse.Namespace) -> int:
    """`orchestrator explain`."""
    named = named_run(options)
    run, schedule = named.run, named.kept.request["settings"]["schedule"]
    story = Story.of(named.workflow, named.tasks, run.duration_ms, schedule)
    analysis = Analysis(story)
    as_it_was_ms, changes = _changes(named, analysis)
    if options.json:
        write_json(_document(run, analysis, as_it_was_ms, changes))
        return 0
    took = duration(story.duration_ms)
    lines = [f"{run.workflow}: {run.status} in {took} (run {run.id}, {story.schedule})"]
    if not story.spans:
        write("\n".join([*lines, "No call was made.", ""]))
        return 0
    lines += ["", "What decided how long it took:"]
    lines += [f"  {line}" for line in sentences.path_lines(analysis)]
    if analysis.waits:
        lines += ["", "The longest waits:"]
        lines += [f"  {line}" for line in sentences.wait_lines(analysis)]
    if changes:
        lines += ["", "What would have saved most, by running the recorded times again:"]
        lines += [f"  {line}" for line in sentences.change_lines(changes, as_it_was_ms)]
    else:
        lines += ["", "No other schedule and no other limit would have saved anything."]
    if doubt := sentences.doubt(analysis, as_it_was_ms):
        lines += ["", doubt]
    write("\n".join([*lines, ""]))
    return 0


def _document(
    run: KnownRun, analysis: Analysis, as_it_was_ms: float, changes: list[Change]
) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "status": run.status,
        "schedule": analysis.story.schedule,
        "duration_ms": round(analysis.story.duration_ms, 3),
        "path": [step.to_dict() for step in analysis.path],
        "path_by_cause": [
            {"kind": kind, "of": of, "ms": round(ms, 3)}
            for (kind, of), ms in analysis.path_ms.items()
        ],
        "waits": [wait.to_dict() for wait in analysis.waits],
        "as_it_was_ms": round(as_it_was_ms, 3),
        "changes": [change.to_dict() for change in changes],
    }
