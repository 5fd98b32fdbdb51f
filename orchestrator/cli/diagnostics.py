"""Findings and errors on stdout as JSON and on stderr as text."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli.streams import discard, shown, write_json
from orchestrator.errors import ConfigError, Problem, WorkflowError

_LISTS = {"problems": "error", "warnings": "warning", "notes": "note"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersFileProblem(Problem):
    """An error in a servers' file among the findings in a workflow.

    Attributes:
        file: The servers' file.
        there: The error as that file has it: with its path, line and column.
    """

    file: str
    there: Problem


def document(file: str, findings: Sequence[Problem]) -> dict[str, Any]:
    """The findings in a file as a JSON object."""
    lists = {
        name: [finding.to_dict() for finding in findings if finding.severity == severity]
        for name, severity in _LISTS.items()
    }
    return {"valid": not lists["problems"], "file": file, **lists}


def show(
    file: str,
    findings: Sequence[Problem],
    *,
    so_far: str = "nothing was called",
    verbose: bool = False,
) -> None:
    """Print findings on stderr with the lines of their file, and how many there are.

    `so_far` says what was called; `verbose` shows each note, instead of each kind of note.
    """
    if not findings:
        return
    from orchestrator.cli.snippets import print_findings

    sys.stdout.flush()  # stdout and stderr may be the same terminal
    print_findings(file, findings, so_far, verbose=verbose)


def tell(options: argparse.Namespace, error: WorkflowError) -> None:
    """Print an error that ends a command, with `--json` also as a document on stdout.

    Errors in a file are shown with their lines.
    """
    workflows = [getattr(options, "file", None), *getattr(options, "files", ())]
    if any(workflows) and getattr(options, "json", False):
        write_json(document(error.source, error.problems))
    files = [str(path) for path in (*workflows, getattr(options, "inputs", None)) if path]
    if isinstance(error, ConfigError) and Path(error.source).is_file():
        from orchestrator.cli.snippets import print_findings
        from orchestrator.servers.config_source import ConfigSource  # which hides its secrets

        print_findings(error.source, error.problems, error.so_far, verbose=False, kind=ConfigSource)
    elif error.source in files and not isinstance(error, ConfigError):
        show(error.source, error.problems, so_far=error.so_far)
    elif error.source in ("usage", "servers"):  # the command line itself, and no file
        for problem in error.problems:
            complain(problem)
    else:
        complain(error)


def complain(what: object) -> None:
    """Print an error on stderr, with invisible characters escaped: a server may have written it."""
    print("orchestrator:", shown(str(what)), file=sys.stderr)


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


@contextmanager
def log_told() -> Iterator[None]:
    """Tell what the engine warns of as all else that a command has to say."""
    log, told = logging.getLogger("orchestrator"), _Told(logging.WARNING)
    log.addHandler(told)
    try:
        yield
    finally:
        log.removeHandler(told)


def give_up_stdout(error: OSError) -> None:
    """Report that stdout cannot be written, unless its reader has closed its end of a pipe."""
    discard(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        complain(f"stdout cannot be written: {error.strerror}")


def give_up_terminal() -> None:
    """Print nothing any more: the terminal is closed, and each attempt would raise."""
    for stream in (sys.stdout, sys.stderr):
        discard(stream)


def say_asking() -> None:
    """Print on a terminal what takes a while."""
    if sys.stderr.isatty():
        print("orchestrator: starting servers to list their tools ...", file=sys.stderr)


def in_servers_file(error: ConfigError) -> list[Problem]:
    """The errors in a servers' file as findings beside those in a workflow."""
    # `FILE:LINE:COLUMN` is the form that editors and terminals open.
    places = [p.path if p.line is None else f":{p.line}:{p.column}" for p in error.problems]
    return [
        ServersFileProblem(
            p.code,
            f"{error.source}{place}: {p.message}",
            alternatives=p.alternatives,
            hint=p.hint,
            file=error.source,
            there=p,
        )
        for p, place in zip(error.problems, places, strict=True)
    ]
