"""The commands for runs on several machines.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

from orchestrator.cli.parser import count, flag

OF_CLUSTER: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "submit": (
        "put a run into the queue of a database, for a worker to carry",
        "Prints the id of the run. Its inputs are checked, its servers are not started.",
        "file values --servers --no-pool --env-file --no-lock --input --inputs --schedule "
        "--max-concurrency --journal --wait --json",
        {
            "--wait": flag("wait until it has ended, and print its output"),
            "--json": flag("with --wait: print the result document"),
        },
    ),
    "worker": (
        "carry the runs that were submitted to a database",
        "Takes over those of workers that are gone. Ctrl-C or SIGTERM hands over what it carries.",
        "--servers --no-pool --env-file --no-lock --at-once --unknown --journal",
        {
            "--at-once": {
                "type": count,
                "default": 4,
                "metavar": "N",
                "help": "how many runs at once (default: 4)",
            },
            "--unknown": {
                "choices": ["ask", "repeat", "fail"],
                "default": "ask",
                "help": "calls that may have been carried out, of tools that do not declare that "
                "repeating them is safe (default: ask a person)",
            },
        },
    ),
}
