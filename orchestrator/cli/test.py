"""`orchestrator test`: runs the tests of workflows, and shows where they differ."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli import FAILED, WRONG
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.streams import shown, write_json
from orchestrator.cli.tool_sources import lock_of
from orchestrator.documents.text import listed, quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.recordings.case import SUFFIX
from orchestrator.testing import Verdict, find_tests, run_tests

MAX_LINES = 20  # of a test that differs
STYLES = {"passed": "green", "updated": "yellow", "failed": "bold red", "broken": "bold red"}


def test(options: argparse.Namespace) -> int:
    """`orchestrator test`.

    Raises:
        WorkflowError: There is no test.
    """
    places = options.files or [Path()]
    tests = find_tests(places)
    if not tests:
        where = listed((quoted(str(place.absolute()), 200) for place in places), 3)
        problem = Problem("usage", f"no test: expected *{SUFFIX} in {where}")
        raise WorkflowError("usage", [problem])
    verdicts = []
    for verdict in run_tests(tests, update=options.update, lock=lock_of(options)):
        verdicts.append(verdict)
        if not options.json:
            _show(verdict)
        for warning in verdict.warnings:
            complain(f"warning: {warning}")
    given = Counter[str](verdict.status for verdict in verdicts)
    counts = {status: given[status] for status in STYLES}
    if options.json:
        write_json({**counts, "tests": [verdict.to_dict() for verdict in verdicts]})
    else:
        print(", ".join(f"{count:,} {status}" for status, count in counts.items() if count))
    return _code(verdicts)


def _code(verdicts: Sequence[Verdict]) -> int:
    if any(verdict.status == "broken" for verdict in verdicts):
        return WRONG
    return 0 if all(verdict.passed for verdict in verdicts) else FAILED


def _show(verdict: Verdict) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        mark = Text(f"{verdict.status:8}", STYLES[verdict.status])
        Console(highlight=False, soft_wrap=True).print(mark + Text(shown(str(verdict.file))))
    else:
        print(f"{verdict.status:8}{shown(str(verdict.file))}")
    lines = [line for text in verdict.lines() for line in shown(text).split("\n")]
    for line in lines[:MAX_LINES]:
        print(f"        {line}")
    if (more := len(lines) - MAX_LINES) > 0:
        print(f"        and {more:,} more lines; --json has all of them")
