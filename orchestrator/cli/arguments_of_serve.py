"""The commands that serve the engine to models, and its runs to people.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.cli.parser import count, file, flag

OF_SERVE: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "serve": (
        "serve the engine to models, as an MCP server",
        "Over stdin and stdout, or with --http over HTTP. Its tools run and check plans of tool "
        "calls, find tools, show results, and run the workflows of a directory.",
        "--servers --no-pool --env-file --no-lock --workflows --http --token-file --allow-host "
        "--single-tools --max-tools --max-inline-kb --metrics --journal|--no-journal",
        {
            "--workflows": {
                "type": Path,
                "metavar": "DIR",
                "help": "each workflow in this directory is a tool; changes are noticed",
            },
            "--http": {"metavar": "HOST:PORT", "help": "listen there; clients use /mcp"},
            "--token-file": file(
                "a file with the token that HTTP clients send as Authorization: Bearer TOKEN "
                "(default: $ORCHESTRATOR_TOKEN); required unless only this machine can connect"
            ),
            "--allow-host": {
                "action": "append",
                "default": [],
                "metavar": "NAME",
                "help": "a name under which HTTP clients reach this machine, such as that of a "
                "proxy (repeatable)",
            },
            "--single-tools": flag("offer the tools of the servers as tools of their own, too"),
            "--max-tools": {
                "type": count,
                "metavar": "N",
                "default": 128,
                "help": "list at most so many tools; find_tools finds the others (default: 128)",
            },
            "--max-inline-kb": {
                "type": count,
                "metavar": "KB",
                "default": 24,
                "help": "cut results that are larger; get_result has the rest (default: 24)",
            },
            "--metrics": {
                "metavar": "HOST:PORT",
                "help": "show metrics there for Prometheus, under /metrics; all who can connect "
                "read them, so take 127.0.0.1",
            },
            "--no-journal": flag("keep runs only as long as the process"),
        },
    ),
    "ui": (
        "show the runs in a browser: the list, one run live, its tasks, its questions",
        "A page on this machine, for you alone: open the link that is printed. Runs of other "
        "processes are shown as they go on, and can be answered, cancelled, resumed and retried.",
        "--servers --no-pool --env-file --no-lock --journal --port --no-browser",
        {
            "--port": {
                "type": count,
                "metavar": "N",
                "default": 0,
                "help": "listen there (default: any that is free)",
            },
            "--no-browser": flag("only print the link"),
        },
    ),
}
