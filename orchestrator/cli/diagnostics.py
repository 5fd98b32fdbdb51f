"""What was found in a file, for programs and for people.

The rule of this file: it counts, sorts and prints; how one finding looks is in `snippets`, which is
imported when there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.errors import ConfigError, Problem, WorkflowError

NOTHING = "nothing was called"


def of_severity(findings: Sequence[Problem], severity: str) -> list[Problem]:
    """The findings of that severity."""
    return [finding for finding in findings if finding.severity == severity]


def document(file: str, findings: Sequence[Problem]) -> dict[str, Any]:
    """The findings in a file as a JSON object."""
    lists = {"problems": "error", "warnings": "warning", "notes": "note"}
    listed = {
        name: [finding.to_dict() for finding in of_severity(findings, severity)]
        for name, severity in lists.items()
    }
    return {"valid": not listed["problems"], "file": file, **listed}


def show(
    file: str, findings: Sequence[Problem], *, so_far: str = NOTHING, verbose: bool = False
) -> None:
    """Show the findings in a file on stderr, with its lines, and how many they are.

    Args:
        file: The file, as the user knows it.
        findings: What was found, in the order of the file.
        so_far: What was called.
        verbose: Whether each note is shown, and not each kind of note.
    """
    if not findings:
        return
    from orchestrator.cli.snippets import print_findings

    sys.stdout.flush()  # on a terminal both are one
    print_findings(file, findings, so_far, verbose=verbose)


def tell(options: argparse.Namespace, error: WorkflowError) -> None:
    """Tell of an error that ends a command: as a document on stdout with `--json`, and to people.

    What is wrong with a workflow or with its inputs is shown in its lines; a servers' file is not,
    since it may hold secrets.
    """
    file = getattr(options, "file", None)
    if file is not None and getattr(options, "json", False):
        print(to_json(document(error.source, error.problems), indent=2))
    files = [str(path) for path in (file, getattr(options, "inputs", None)) if path is not None]
    if error.source in files and not isinstance(error, ConfigError):
        show(error.source, error.problems, so_far=error.so_far)
    else:
        complain(error)


def complain(what: object) -> None:
    """Say on stderr what went wrong. A server may have had a say in it, so nothing is obeyed."""
    from orchestrator.documents.text import visible

    print("orchestrator:", visible(str(what), keep="\n"), file=sys.stderr)


def say_asking() -> None:
    """Say to who sits at a terminal why nothing happens for a while."""
    if sys.stderr.isatty():
        print("orchestrator: asking the servers for their tools ...", file=sys.stderr)


def of_servers(path: Path, error: ConfigError) -> list[Problem]:
    """What is wrong with the servers' file, as findings beside those of a workflow."""
    return [
        Problem(p.code, f"{path}{p.path}: {p.message}", "", None, p.alternatives, p.hint)
        for p in error.problems
    ]
