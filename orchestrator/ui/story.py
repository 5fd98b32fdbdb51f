"""Where the time of a run went, as `orchestrator explain` tells it, and its report as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from orchestrator.durable import workflow_of
from orchestrator.engine.result import RunResult
from orchestrator.errors import JournalError
from orchestrator.explain.path import Analysis, Step
from orchestrator.explain.sentences import step_words
from orchestrator.explain.story import Story
from orchestrator.journal.history import KnownRun
from orchestrator.journal.kept import documents_of, results_of
from orchestrator.journal.location import Location
from orchestrator.journal.orders import is_submitted
from orchestrator.report.run_history import RunHistory
from orchestrator.report.run_page import page

MAX_STEPS = 200
MAX_WAITS = 50


def told(journal: Location, run: KnownRun) -> dict[str, Any]:
    """What decided how long a run took, as far as it has come, and its longest waits.

    Raises:
        JournalError: The journal cannot be read.
    """
    kept = documents_of(journal, run.id)
    if not kept.tasks:
        return {"duration_ms": 0.0, "path": [], "waits": [], "more": 0}
    workflow, schedule = workflow_of(kept.request["workflow"]), kept.request["settings"]["schedule"]
    analysis = Analysis(Story.of(workflow, kept.tasks, run.duration_ms, schedule))
    path = [step for step in analysis.path if step.took_ms > 0]
    return {
        "duration_ms": analysis.story.duration_ms,
        "path": [_step(step) for step in path[-MAX_STEPS:]],
        "waits": [_step(step) for step in islice(analysis.waits, MAX_WAITS)],
        "more": max(0, len(analysis.waits) - MAX_WAITS),
    }


def _step(step: Step) -> dict[str, Any]:
    return step.to_dict() | {"path": step.span.where, "words": step_words(step)}


def report(journal: Location, run: KnownRun, hide: Callable[[Any], Any]) -> str:
    """The report of a run that has ended, as one HTML file.

    Raises:
        JournalError: It has not ended, or the journal cannot be read.
    """
    kept = documents_of(journal, run.id)
    if kept.result is None:
        raise JournalError(f"run {run.id} has not ended (status {run.status})")
    workflow = workflow_of(kept.request["workflow"])
    tasks = results_of(kept, workflow.plan, run.status)
    result = replace(RunResult.from_dict(kept.result | {"tasks": {}}), tasks=tasks)
    history = RunHistory(result, workflow, kept.request["inputs"])
    text: str = hide(page(history, by_worker=is_submitted(journal, run.id)))
    return text
