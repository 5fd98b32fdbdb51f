"""The commands that are about runs in the journal, and about calls that were recorded.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

from orchestrator.cli.arguments_of_serve import OF_SERVE
from orchestrator.cli.parser import count, file, flag, moment, pair, pair_or_object, seconds

STATUSES = [
    "queued",
    "running",
    "interrupted",
    "paused",
    "success",
    "partial",
    "failed",
    "cancelled",
]
_AGAIN = (
    "--servers --no-pool --env-file --no-lock --json --output --events --report --perfetto "
    "--metrics --journal --wait --verbose|--quiet"
)
SCREENS: dict[str, dict[str, Any]] = {
    "--verbose": flag("a line on stderr for each call, retry, wait and server"),
    "--json": flag("print the result document on stdout"),
}
STREAMS: dict[str, dict[str, Any]] = {
    "--stream": flag("FILE is still being written: start each task as soon as it is there"),
    "--hold": {
        "choices": ["writes"],
        "help": "with --stream: call tools that may write when the plan is complete",
    },
}
REPORTS: dict[str, dict[str, Any]] = {
    "--events": {"metavar": "FILE", "help": "write each event as a line of JSON; - is stdout"},
    "--report": file("write a report of the run to this file, HTML that needs no network"),
    "--perfetto": file("write its timeline to this file, for https://ui.perfetto.dev"),
    "--metrics": file("write its metrics to this file, for the textfile collector of Prometheus"),
}
OF_RUNS: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "runs": (
        "list the runs that were kept, or delete old ones",
        "The newest first. `runs prune` deletes those that are older, or more, than [journal] in "
        "servers.toml says: by default 30 days and 1,000 runs.",
        "action --status --workflow --limit --watch --dry-run --servers --env-file --journal "
        "--json",
        {
            "action": {"nargs": "?", "choices": ["prune"], "help": "delete old runs"},
            "--status": {
                "choices": STATUSES,
                "help": "only those; interrupted: no process carries them, `resume` can",
            },
            "--workflow": {"metavar": "NAME", "help": "only those of this workflow"},
            "--limit": {
                "type": count,
                "default": 20,
                "metavar": "N",
                "help": "how many (default: 20)",
            },
            "--watch": flag("show them as they come and end, until Ctrl-C; in a pipe, a line each"),
            "--dry-run": flag("with prune: delete nothing, only list"),
            "--json": flag("print the runs as JSON"),
        },
    ),
    "stats": (
        "show what the runs that were kept have in common",
        "How many ended how, and what they took (P50 and P95: half of them, and 95 %, took no "
        "longer), by workflow, task, server and tool. A time is that with retries, without waits.",
        "--since --workflow --servers --env-file --journal --json",
        {
            "--since": {
                "type": moment,
                "default": 0.0,
                "metavar": "WHEN",
                "help": "only of runs since then: a date such as 2026-01-31, or so long ago: 7d, "
                "12h, 30m",
            },
            "--workflow": {"metavar": "NAME", "help": "only of runs of this workflow"},
            "--json": flag("print the totals as JSON"),
        },
    ),
    "explain": (
        "show where the time of a run went, and what would have saved some",
        "The calls and waits that decided how long it took, who held what was waited for, and what "
        "another schedule, other limits or a faster server would have saved: the recorded times "
        "run through the engine again.",
        "run --servers --env-file --journal --json",
        {"--json": flag("print all steps, waits and changes as JSON")},
    ),
    "report": (
        "write a run that was kept as one HTML file",
        "Graph, timeline, what decided how long it took, where the time went, the errors, the "
        "tasks. The file needs no network and has no script: it can be sent by mail.",
        "run --output --perfetto --servers --env-file --journal",
        {"--output": file("write it to a file instead of stdout")},
    ),
    "show": (
        "show a run that was kept, or one task of it",
        "Its output goes to stdout as JSON, a table of the tasks to stderr; of a task, its part of "
        "the result document.",
        "run task --servers --env-file --journal --json",
        {
            "task": {"nargs": "?", "metavar": "TASK", "help": "only this task"},
            "--json": flag("print the result document"),
        },
    ),
    "resume": (
        "go on with a run whose process ended",
        "What had settled is not called again. The workflow, its inputs and settings are those it "
        "began with; no file is read again.",
        f"run --unknown {_AGAIN}",
        {
            "--unknown": {
                "choices": ["ask", "repeat", "fail"],
                "default": "ask",
                "help": "calls that may have been carried out, of tools that do not declare that "
                "repeating them is safe (default: ask a person)",
            },
            **SCREENS,
        },
    ),
    "retry": (
        "run a workflow again, and reuse what succeeded",
        "A new run, which makes again what failed, was cancelled or was skipped for that, and of a "
        "for_each only the items that did not succeed.",
        f"run --failed --task --from {_AGAIN}",
        {
            "--failed": flag("only that (default)"),
            "--task": {
                "dest": "alone",
                "action": "append",
                "default": [],
                "metavar": "TASK",
                "help": "make this task again too, but not those that depend on it (repeatable)",
            },
            "--from": {
                "dest": "again",
                "action": "append",
                "default": [],
                "metavar": "TASK",
                "help": "make this task again too, and all that depend on it (repeatable)",
            },
            **SCREENS,
        },
    ),
    "fork": (
        "run a changed workflow, and reuse what did not change",
        "A new run that takes over each task of an earlier one that succeeded, if its definition "
        "and its resolved arguments are the same.",
        f"run values --file --input --inputs {_AGAIN}",
        {
            "--file": file("the workflow (default: that of the earlier run)", read=True),
            "values": {
                "nargs": "*",
                "default": [],
                "type": pair_or_object,
                "metavar": "NAME=VALUE",
                "help": "an input that replaces that of the earlier run",
            },
            "--input": {
                "action": "append",
                "default": [],
                "type": pair,
                "metavar": "NAME=VALUE",
                "help": "the same",
            },
            **SCREENS,
        },
    ),
    "answer": (
        "answer the question that a run waits with",
        "Without a value: yes to an approval, or the default. A run that a process carries, or "
        "that was submitted to workers, goes on by itself, any other with `resume`.",
        "run task words --item|--all-items --no --servers --env-file --journal",
        {
            "task": {"metavar": "TASK", "help": "the task that waits"},
            "words": {
                "nargs": "*",
                "default": [],
                "metavar": "VALUE",
                "help": "the answer: JSON, plain text, yes, no, or NAME=VALUE ...; of a call whose "
                'outcome is unknown: repeat, fail or {"output": ...}',
            },
            "--item": {"type": count, "metavar": "N", "help": "of this item of its for_each"},
            "--all-items": flag("of all items, those that will be asked about later, too"),
            "--no": flag("refuse: the task fails with an error of kind refused"),
        },
    ),
    "cancel": (
        "end a run of another process, or one that waits",
        "Its calls are cancelled, the tasks of finally run, and it writes its result. A run that "
        "no process carries, paused or interrupted, is ended here.",
        "run --wait --servers --no-pool --env-file --no-lock --journal",
        {
            "--wait": {
                "type": seconds,
                "default": 10.0,
                "metavar": "S",
                "help": "how long to wait for its end, seconds (default: 10)",
            },
        },
    ),
    **OF_SERVE,
    "learn": (
        "write the workflow that does what recorded tool calls did",
        "FILE has a call a line, {tool, arguments, result}, or is a recording of run --record. "
        "With --run or --since the calls are those of runs that were kept, such as all that an "
        "agent did through `serve`. "
        "What came from earlier results becomes a reference, what looks like one an input, calls "
        "for each item of a list one task. The workflow is run against the recorded answers.",
        "transcript --run --since --output --servers --env-file --journal",
        {
            "transcript": file("the calls; - is stdin", read=True) | {"nargs": "?"},
            "--run": {
                "dest": "runs",
                "action": "append",
                "default": [],
                "metavar": "RUN",
                "help": "the id of a run, the beginning of one, or last (repeatable)",
            },
            "--since": {
                "type": moment,
                "metavar": "WHEN",
                "help": "all runs since then: a date such as 2026-01-31, or so long ago: 7d, 30m",
            },
            "--output": file("write the workflow to a file instead of stdout"),
        },
    ),
}
