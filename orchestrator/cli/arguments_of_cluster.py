"""The commands for runs on several machines.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

from orchestrator.cli.parser import at, count, delay, flag, integer, label, name, place, positive

_DUE: dict[str, Any] = {"dest": "due", "default": 0.0, "metavar": "TIME"}
_DATABASE: dict[str, Any] = {
    "type": place,
    "metavar": "URL",
    "help": "the PostgreSQL database with the queue, postgresql://USER@HOST/DATABASE (default: "
    "$ORCHESTRATOR_JOURNAL, else that of servers.toml)",
}
ORDERS: dict[str, dict[str, Any]] = {
    "--key": {
        "metavar": "KEY",
        "help": "only one run has this key: submitted again, it is the run that has it",
    },
    "--priority": {
        "type": integer,
        "default": 0,
        "metavar": "N",
        "help": "a higher one goes first, from -1000 to 1000 (default: 0)",
    },
    "--delay": _DUE | {"type": delay, "help": "begin so long from now: 30s, 10m, 12h, 7d"},
    "--at": _DUE
    | {"type": at, "help": "begin then: 2026-01-31T03:00, or the next 03:00; also 03:00+02:00"},
    "--max-runs": {
        "type": positive,
        "metavar": "N",
        "help": "begin while fewer than N submitted runs of this workflow are under way",
    },
    "--needs": {
        "dest": "labels",
        "action": "append",
        "default": [],
        "type": label,
        "metavar": "LABEL",
        "help": "only a worker with this label carries it (repeatable)",
    },
}

OF_CLUSTER: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "submit": (
        "put a run into the queue of a database, for a worker to carry",
        "Prints the id of the run. Its inputs are checked, its servers are not started.",
        "file values --servers --no-pool --env-file --no-lock --input --inputs --schedule "
        "--max-concurrency --journal --key --priority --delay|--at --max-runs --needs --wait "
        "--json",
        {
            **ORDERS,
            "--journal": _DATABASE,
            "--wait": flag("wait until it has ended, and print its output"),
            "--json": flag("with --wait: print the result document"),
        },
    ),
    "schedule": (
        "have workers run a workflow again and again",
        "Each time is one run, over all workers. The workflow and its inputs are those of now. A "
        "schedule of the same name is changed.",
        "file values --cron --zone --name --catch-up --priority --max-runs --needs --servers "
        "--no-pool --env-file --no-lock --input --inputs --schedule --max-concurrency --journal",
        {
            **ORDERS,
            "--journal": _DATABASE,
            "--schedule": {
                "choices": ["generations", "dataflow"],
                "help": "when the tasks of a run start: overrides that of the workflow",
            },
            "--cron": {
                "required": True,
                "metavar": "EXPR",
                "help": "when: minute hour day month weekday, such as '0 3 * * *', or @daily",
            },
            "--zone": {
                "default": "UTC",
                "metavar": "ZONE",
                "help": "the time zone, such as Europe/Berlin (default: UTC)",
            },
            "--name": {
                "type": name,
                "metavar": "NAME",
                "help": "its name (default: that of the workflow)",
            },
            "--catch-up": flag("make up for the last time that passed while no worker was there"),
        },
    ),
    "schedules": (
        "list the schedules, or remove one",
        "With when each is next, its last run, and how many times passed without a worker.",
        "--remove --servers --env-file --journal --json",
        {
            "--journal": _DATABASE,
            "--remove": {"metavar": "NAME", "help": "remove this one; its runs stay"},
            "--json": flag("print the schedules as JSON"),
        },
    ),
    "worker": (
        "carry the runs that were submitted to a database",
        "Takes over those of workers that are gone. Ctrl-C or SIGTERM lets the calls end that are "
        "under way, and hands over the runs; a second one cancels these calls.",
        "--servers --no-pool --env-file --no-lock --at-once --label --drain-s --unknown --journal",
        {
            "--journal": _DATABASE,
            "--label": {
                "dest": "labels",
                "action": "append",
                "default": [],
                "type": label,
                "metavar": "LABEL",
                "help": "carry runs that need this label, too (repeatable)",
            },
            "--at-once": {
                "type": positive,
                "default": 4,
                "metavar": "N",
                "help": "how many runs at once (default: 4)",
            },
            "--drain-s": {
                "type": count,
                "default": 30,
                "metavar": "N",
                "help": "how long calls under way may take when it is asked to end, seconds "
                "(default: 30)",
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
