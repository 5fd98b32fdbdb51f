"""`orchestrator report`, and the reports that `orchestrator run` writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.kept_run import named_run
from orchestrator.cli.streams import hidden
from orchestrator.documents.files import check_writable, write_text
from orchestrator.journal.orders import is_submitted
from orchestrator.report.run_history import RunHistory


def report(options: argparse.Namespace) -> int:
    """`orchestrator report`."""
    for path in (options.output, options.perfetto):
        if path is not None:
            check_writable(path)
    named = named_run(options)
    history = RunHistory(named.result, named.workflow, named.kept.request["inputs"])
    how = {"kept": True, "by_worker": is_submitted(named.journal, named.run.id)}
    if options.output is None and options.perfetto is None:
        from orchestrator.cli.streams import write
        from orchestrator.report.run_page import page

        write(page(history, **how), end="")
        return 0
    return 0 if write_reports(history, options.output, options.perfetto, **how) else 1


def write_reports(
    history: RunHistory,
    html: Path | None,
    perfetto: Path | None,
    *,
    kept: bool,
    by_worker: bool = False,
) -> bool:
    """Write a report and a trace where a path is given; whether that worked.

    For `kept` and `by_worker` see `page`.
    """
    written = True
    if html is not None:
        from orchestrator.report.run_page import page

        written = _write(html, page(history, kept=kept, by_worker=by_worker))
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
