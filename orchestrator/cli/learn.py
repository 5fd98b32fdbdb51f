"""`orchestrator learn`: a workflow from recorded tool calls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestrator.cli import FAILED
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.streams import write
from orchestrator.documents.encode import folded_json
from orchestrator.documents.files import STDIN, check_writable, write_text

WIDTH = 100


def learn(options: argparse.Namespace) -> int:
    """`orchestrator learn`."""
    if options.output is not None:
        check_writable(options.output)
    from orchestrator.authoring.learn import learn as learned_from
    from orchestrator.authoring.transcript import read_transcript

    transcript = read_transcript(options.transcript)
    path: Path = options.transcript
    learned = learned_from(transcript, "learned" if path == STDIN else path.stem)
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
