"""`orchestrator report`, and the reports that `orchestrator run` writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of
from orchestrator.cli.streams import hidden
from orchestrator.documents.files import check_writable, write_text
from orchestrator.errors import JournalError
from orchestrator.report.run_history import RunHistory


def report(options: argparse.Namespace) -> int:
    """`orchestrator report`."""
    for path in (options.output, options.perfetto):
        if path is not None:
            check_writable(path)
    history = history_of(path_of(options, configured(options)), options.run)
    if options.output is None and options.perfetto is None:
        from orchestrator.cli.streams import write
        from orchestrator.report.run_page import page

        write(page(history), end="")
        return 0
    return 0 if write_reports(history, options.output, options.perfetto, kept=True) else 1


def history_of(journal: Path, name: str) -> RunHistory:
    """What happened in a run of a journal.

    Raises:
        JournalError: There is no such run, or it has not ended.
    """
    from orchestrator.cli.journal import tasks_of
    from orchestrator.durable import workflow_of
    from orchestrator.engine.result import RunResult
    from orchestrator.journal.history import find
    from orchestrator.journal.kept import documents_of

    run = find(journal, name)
    kept = documents_of(journal, run.id)
    if kept.result is None:
        shows = f'"orchestrator show {run.id}" has what has settled'
        raise JournalError(f"run {run.id} has not ended (status {run.status}); {shows}")
    result = RunResult.from_dict(kept.result | {"tasks": tasks_of(run, kept)})
    workflow, inputs = workflow_of(kept.request["workflow"]), kept.request["inputs"]
    return RunHistory(result, workflow, inputs, kept.tasks)


def write_reports(
    history: RunHistory, html: Path | None, perfetto: Path | None, *, kept: bool
) -> bool:
    """Write a report and a trace where a path is given; whether that worked."""
    written = True
    if html is not None:
        from orchestrator.report.run_page import page

        written = _write(html, page(history, kept=kept))
    if perfetto is not None:
        from orchestrator.report.perfetto import trace

        written = _write(perfetto, json.dumps(hidden(trace(history)))) and written
    return written


def _write(path: Path, text: str) -> bool:
    try:
        write_text(path, hidden(text))
    except OSError as error:
        complain(f"{path} cannot be written: {error.strerror or error}")
        return False
    return True
