"""The command line: arguments in, exit code out.

Rule: results go to stdout, everything else to stderr; a user's error is a message, never a
traceback. `cli/arguments.py` lists the exit codes.

A command imports what it needs when it runs, so that `--help` is instant and the SDK is loaded only
to start a server.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from orchestrator.cli.arguments import build_parser
from orchestrator.documents.collector import tune

FAILED, WRONG, WAITING = 1, 2, 3
# Where the function of each command is; of the others, in `commands`.
MODULES = {
    **dict.fromkeys(("tools", "catalog"), "catalog"),
    **dict.fromkeys(("servers", "resources", "prompts"), "server_lists"),
    **dict.fromkeys(("show", "resume", "retry", "fork", "cancel"), "journal"),
    **dict.fromkeys(("submit", "worker"), "cluster"),
    **dict.fromkeys(("schedule", "schedules"), "schedules"),
    **dict.fromkeys(("up", "down"), "pool"),
    **dict.fromkeys(("login", "logout"), "login"),
    "answer": "asking",
    "runs": "history",
    **{
        name: name
        for name in (
            "call",
            "completion",
            "explain",
            "init",
            "learn",
            "lock",
            "locks",
            "report",
            "serve",
            "stats",
            "test",
            "ui",
            "validate",
        )
    },
}

__all__ = ["main"]


class EndedBySignalError(Exception):
    """A signal has ended the command."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"interrupted by {number.name}")
        self.number = number


def exit_code(number: int) -> int:
    """The exit code of a command that a signal has ended, as shells have it."""
    return 128 + number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `orchestrator` and return its exit code."""
    from orchestrator.cli.diagnostics import log_told
    from orchestrator.cli.streams import standing

    if not (sys.argv[1:] if arguments is None else arguments):
        build_parser().print_help(sys.stderr)
        return WRONG
    tune()
    began = argparse.Namespace(began=time.monotonic())
    with standing(), log_told():
        try:
            return _run(build_parser().parse_args(arguments, began))
        except KeyboardInterrupt:
            print("orchestrator: interrupted, nothing was called", file=sys.stderr)
            return exit_code(signal.SIGINT)
        except OSError as error:
            from orchestrator.cli.diagnostics import give_up_stdout

            give_up_stdout(error)
            return FAILED


def _run(options: argparse.Namespace) -> int:
    from orchestrator.cli.diagnostics import complain, tell
    from orchestrator.errors import (
        CallError,
        InvalidArgumentsError,
        OrchestratorError,
        WorkflowError,
    )

    try:
        module = import_module(f"orchestrator.cli.{MODULES.get(options.command, 'commands')}")
        code: int = getattr(module, options.command)(options)
        sys.stdout.flush()
        return code
    except WorkflowError as error:
        tell(options, error)
        sys.stdout.flush()
        return WRONG
    except EndedBySignalError as ended:
        complain(ended)
        return exit_code(ended.number)
    except CallError as error:
        complain(f"{error.kind}: {error}")
        return WRONG if isinstance(error, InvalidArgumentsError) else FAILED
    except OrchestratorError as error:  # a journal that cannot be read, a run that is not in it
        complain(error)
        return WRONG
