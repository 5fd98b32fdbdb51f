"""`orchestrator explain`: where the time of a run went, and what would have saved some."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.history import configured, path_of
from orchestrator.cli.streams import write, write_json
from orchestrator.documents.text import duration
from orchestrator.durable import workflow_of
from orchestrator.explain import sentences
from orchestrator.explain.changes import Change, best_changes
from orchestrator.explain.path import Analysis
from orchestrator.explain.story import Story
from orchestrator.explain.what_if import Settings, WhatIf
from orchestrator.journal import history
from orchestrator.journal.history import KnownRun
from orchestrator.journal.kept import KeptDocuments, documents_of
from orchestrator.recordings.clock import INSTANT


@dataclass(frozen=True, slots=True)
class Explained:
    """A run of the journal, with where its time went.

    Attributes:
        run: Which run.
        kept: What is kept of it.
        analysis: Where its time went.
    """

    run: KnownRun
    kept: KeptDocuments
    analysis: Analysis

    def changes(self) -> tuple[float, list[Change]]:
        """What the engine takes as it was, milliseconds, and what saves most, first."""
        told = self.kept.request["settings"]
        most, story = told["max_concurrency"], self.analysis.story
        most = story.workflow.max_concurrency if most is None else most
        limits = self.kept.request.get("limits") or {}
        settings = Settings(told["schedule"], most, limits, estimates=told["estimates"])
        what_if = WhatIf(story, _reads(self.kept), INSTANT)
        return best_changes(self.analysis, what_if, settings)


def explained(options: argparse.Namespace) -> Explained:
    """The run that a command names. Raises `JournalError`."""
    path = path_of(options, configured(options))
    run = history.find(path, options.run)
    kept = documents_of(path, run.id)
    workflow = workflow_of(kept.request["workflow"])
    schedule = kept.request["settings"]["schedule"]
    story = Story.of(workflow, kept.tasks, run.duration_ms, schedule)
    return Explained(run, kept, Analysis(story))


def _reads(kept: KeptDocuments) -> Mapping[str, bool]:
    """Whether each tool that was called only reads, where that is kept."""
    found: dict[str, bool] = {}
    for key in kept.records:
        if key.kind == "tool":
            found[key.path] = kept.records.payload(key).get("read_only", True)
    return found


def explain(options: argparse.Namespace) -> int:
    """`orchestrator explain`."""
    about = explained(options)
    run, analysis, story = about.run, about.analysis, about.analysis.story
    as_it_was_ms, changes = about.changes()
    if options.json:
        write_json(_document(about, as_it_was_ms, changes))
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


def _document(about: Explained, as_it_was_ms: float, changes: list[Change]) -> dict[str, Any]:
    run, analysis = about.run, about.analysis
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
