"""The command line: arguments in, exit code out.

Rule: results go to stdout, anything only for people to stderr, and a user's mistake is a message
and exit code 2, never a traceback.

A command imports what it needs when it runs, so that `--help` is instant and only a command that
calls a server loads the SDK.

Exit codes: 0 success; 1 at least one task failed, or a server did not start; 2 the file, the
configuration or the usage is wrong and nothing was called that may change anything; 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from orchestrator.cli.arguments import parse_arguments

FAILED, WRONG, INTERRUPTED = 1, 2, 130

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `orchestrator` and return its exit code."""
    try:
        return _run(parse_arguments(arguments))
    except KeyboardInterrupt:
        print("orchestrator: interrupted, nothing was called", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        # What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"orchestrator: stdout cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED


def _run(options: argparse.Namespace) -> int:
    from orchestrator.cli.commands import COMMANDS
    from orchestrator.cli.diagnostics import complain, tell
    from orchestrator.errors import CallError, InvalidArgumentsError, WorkflowError

    try:
        code = COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except WorkflowError as error:
        tell(options, error)
        return WRONG
    except CallError as error:
        complain(f"{error.kind}: {error}")
        return WRONG if isinstance(error, InvalidArgumentsError) else FAILED
