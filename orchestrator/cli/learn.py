"""`orchestrator learn`: a workflow from recorded tool calls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import FAILED
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of
from orchestrator.cli.streams import write
from orchestrator.documents.encode import folded_json
from orchestrator.documents.files import STDIN, check_writable, write_text
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.authoring.transcript import Transcript

WIDTH = 100


def learn(options: argparse.Namespace) -> int:
    """`orchestrator learn`."""
    if options.output is not None:
        check_writable(options.output)
    from orchestrator.authoring.learn import learn as learned_from

    path: Path | None = options.transcript
    transcript = _transcript(options, path)
    learned = learned_from(transcript, "learned" if path in (None, STDIN) else path.stem)
    text = folded_json(learned.workflow, WIDTH)
    if options.output is None:
        write(text)
    else:
        write_text(options.output, f"{text}\n")
    print(learned.summary, file=sys.stderr)
    for doubt in learned.doubts:
        print(f"unsure: {doubt}", file=sys.stderr)
    for each in learned.unproved:
        complain(f"not proved: {each}")
    if learned.unproved:
        return FAILED
    print(
        "proved: run against the recorded answers, each call and answer is the same",
        file=sys.stderr,
    )
    return 0


def _transcript(options: argparse.Namespace, path: Path | None) -> Transcript:
    """The calls of the file, or of runs in the journal."""
    asks_for_runs = bool(options.runs) or options.since is not None
    if (path is None) is not asks_for_runs:
        message = "expected a FILE of calls, or runs with --run or --since"
        raise WorkflowError("usage", [Problem("usage", message)])
    if path is not None:
        from orchestrator.authoring.transcript import read_transcript

        return read_transcript(path)
    from orchestrator.authoring.kept_runs import transcript_of

    return transcript_of(path_of(options, configured(options)), options.runs, options.since)
