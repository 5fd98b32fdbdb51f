"""The commands that keep servers running.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

from orchestrator.cli.parser import flag, minutes

OF_POOL: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "up": (
        "keep the servers running in the background, so that other commands start at once",
        "run, call, tools, validate, serve and others use them as long as their configuration is "
        "the same. If they are up already, only the servers whose configuration changed are "
        "started anew.",
        "--servers --env-file --idle --foreground --json",
        {
            "--idle": {
                "type": minutes,
                "metavar": "MINUTES",
                "help": "end when no command used them for so long (default: 30)",
            },
            "--foreground": flag("stay in this terminal, for a service manager; Ctrl-C ends it"),
            "--json": flag("print the servers as JSON"),
        },
    ),
    "down": (
        "end what up began",
        "Calls in flight are lost; the commands that made them go on with servers of their own.",
        "--servers",
        {},
    ),
    "locks": (
        "show the holders and the waiters of the locks of tasks",
        "Those that commands share through the warm pool, and those that the servers' file has "
        'all processes of this machine share (scope = "host"), or all with the same journal in '
        'PostgreSQL (scope = "cluster").',
        "--watch --servers --env-file --journal --json",
        {
            "--watch": flag("show them as they change, until Ctrl-C; in a pipe, a line each"),
            "--json": flag("print them as JSON"),
        },
    ),
}
